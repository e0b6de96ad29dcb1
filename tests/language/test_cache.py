"""The file of accepted answers: one run has it, no link is followed, a full disk and an old version do no harm."""
import errno
import os
import subprocess
import sys

import pytest

from claver_mm.clip import count_tokens
from claver_mm.language.cache import Cache
from claver_mm.language.generate import generate
from claver_mm.language.instruction import Wanted, ask
from claver_mm.language.writers import Answer, Sampling

SAMPLING, CLASSES = Sampling("toy"), ["jumping"]
WANTED = Wanted("jumping", "synonym", 0)


@pytest.fixture
def cache(tmp_path):
    cache = Cache(tmp_path / "answers.jsonl", SAMPLING)
    yield cache
    cache.close()


@pytest.mark.parametrize("text", ["I'm unable to help with that request.", "**leaping** off the", "two\nlines of it"])
def test_an_answer_of_an_older_version_that_breaks_a_rule_is_asked_for_again(cache, text):
    """A refusal that was kept once was never asked for again."""
    cache.add(cache.key(WANTED, ask(WANTED, CLASSES)), WANTED, text)
    bank, report = generate(CLASSES, lambda messages, seed: Answer("leaping off the ground"), cache, count_tokens,
                            ("synonym",), 1, 1)
    broken = not text.startswith("**")
    assert bank == {"jumping": {"synonym": ["leaping off the ground" if broken else "leaping off the"]}}
    assert (report.cached, report.written, report.refused.total()) == ((0, 1, 1) if broken else (1, 0, 0))


def test_a_link_is_not_followed(tmp_path):
    mine = tmp_path / "mine"
    (tmp_path / "answers.jsonl").symlink_to(mine)
    with pytest.raises(ValueError, match="answers.jsonl is a link, which is not followed; name the file itself"):
        Cache(tmp_path / "answers.jsonl", SAMPLING)
    assert not mine.exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / "answers.jsonl")
    with pytest.raises(ValueError, match="is no file that answers could be kept in"):
        Cache(tmp_path / "answers.jsonl", SAMPLING)


def test_two_runs_do_not_share_a_cache(cache):
    other = ("import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)")
    assert subprocess.run([sys.executable, "-c", other, cache.path], stderr=subprocess.DEVNULL).returncode == 1


def test_a_file_that_another_run_has_is_refused(tmp_path):
    path = tmp_path / "answers.jsonl"
    hold = ("import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); "
            "sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", hold, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(ValueError, match="another run writes to .*answers.jsonl; wait for it, or name another"):
            Cache(path, SAMPLING)
        other.stdin.close()


def test_a_full_disk_is_named_and_leaves_whole_lines(cache, monkeypatch):
    cache.add("a", WANTED, "leaping up")
    before, write = cache.path.read_bytes(), os.write

    def full(file, content):
        if len(content) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[:-10])
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="answers.jsonl cannot be written: No space left on device"):
        cache.add("b", WANTED, "hopping up")
    assert cache.path.read_bytes() == before


def test_a_record_nested_without_end_is_no_record(tmp_path):
    (tmp_path / "answers.jsonl").write_text("[" * 10 ** 5 + "\n")
    with pytest.raises(ValueError, match="line 1 is no record") as error:
        Cache(tmp_path / "answers.jsonl", SAMPLING)
    assert len(str(error.value)) < 400
