"""Tokens on disk: found by content and recipe, whole, shared, bounded."""
import os
import subprocess
import sys
import time

import pytest
import torch

from claver_mm.adapt import store as module
from claver_mm.adapt.store import TokenStore, sized


def test_what_is_put_is_got_to_the_bit_and_by_another_run(tmp_path):
    tokens = torch.randn(4, 5, 6).half()
    TokenStore(tmp_path, dict(tower="a")).put("0" * 40, tokens)
    assert torch.equal(TokenStore(tmp_path, dict(tower="a")).get("0" * 40), tokens)


def test_another_recipe_video_stretch_or_view_is_another_place(tmp_path):
    store = TokenStore(tmp_path, dict(tower="a"))
    keys = {store.key(*what) for what in (("d", None, None, 0), ("e", None, None, 0), ("d", 1.0, None, 0),
                                          ("d", None, 1.0, 0), ("d", None, None, 1))}
    assert len(keys) == 5
    store.put("0" * 40, torch.zeros(1))
    other = TokenStore(tmp_path, dict(tower="b"))
    assert "0" * 40 not in other and other.get("0" * 40) is None


def test_a_damaged_file_is_said_and_counts_as_none(tmp_path):
    store = TokenStore(tmp_path, {})
    store.put("0" * 40, torch.zeros(100))
    path, = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.warns(UserWarning, match="is damaged .*encoded anew"):
        assert store.get("0" * 40) is None


def test_a_bound_takes_what_was_not_used_for_longest_and_never_what_is_needed(tmp_path):
    old, new = TokenStore(tmp_path, dict(n=1)), TokenStore(tmp_path, dict(n=2), max_bytes=3000)
    for number, store in enumerate((old, old, new)):
        store.put(f"{number}" * 40, torch.zeros(200))
        path, = tmp_path.rglob(f"{number}*.safetensors")
        os.utime(path, (number, number))
    old.touch(["0" * 40])
    new.make_room(1, 1000, ["2" * 40, "3" * 40])
    assert "0" * 40 in old and "1" * 40 not in old and "2" * 40 in new


def test_more_than_the_bound_or_the_disk_is_refused_before_anything_goes(tmp_path, monkeypatch):
    store = TokenStore(tmp_path, {}, max_bytes=1000)
    with pytest.raises(ValueError, match=r"take 5 kB, more than the cache may hold \(1 kB\); raise --cache-gb"):
        store.make_room(5, 1000, [])
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), dict(free=10)))
    with pytest.raises(OSError, match="the tokens of 5 clips take 500 B.*has 10 B left; make room"):
        TokenStore(tmp_path, {}).make_room(5, 100, [])


def test_a_full_disk_is_named_and_what_was_there_stays(tmp_path, monkeypatch):
    store = TokenStore(tmp_path, {})
    store.put("0" * 40, torch.zeros(3))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("claver_mm.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device.*make room there, name another folder"):
        store.put("1" * 40, torch.zeros(3))
    assert torch.equal(store.get("0" * 40), torch.zeros(3)) and "1" * 40 not in store
    assert not list(tmp_path.rglob("*.unfinished"))


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    """What notes the use of a file says "Read-only file system", and not where."""
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module.os, "utime", refuse)
    with pytest.raises(OSError, match="000.safetensors cannot be written to .Read-only file system.*--cache"):
        TokenStore(tmp_path, {}).touch(["0" * 40])


def test_killed_writers_leave_whole_files_alone(tmp_path):
    """Two processes write the same clips until they are killed; all that is there can be read."""
    code = ("import sys, torch\nfrom claver_mm.adapt.store import TokenStore\n"
            "store = TokenStore(sys.argv[1], {})\nprint('begun', flush=True)\n"
            "while True:\n    for n in range(20): store.put(f'{n:040}', torch.full((50_000,), float(n)))\n")
    runs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(2)]
    for process in runs:
        process.stdout.readline()
    time.sleep(0.5)
    for process in runs:
        process.kill()
        process.wait()
        process.stdout.close()
    store = TokenStore(tmp_path, {})
    found = [number for number in range(20) if f"{number:040}" in store]
    assert found and all(torch.equal(store.get(f"{n:040}"), torch.full((50_000,), float(n))) for n in found)
    for path in tmp_path.rglob("*.unfinished"):
        os.utime(path, (0, 0))
    count, nbytes = store.size()
    assert count == len(found) and nbytes > 200_000 * count and not list(tmp_path.rglob("*.unfinished"))


@pytest.mark.parametrize("nbytes, words", [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (21_081_600, "21.1 MB"),
                                           (5e15, "5e+03 TB")])
def test_sizes_are_words(nbytes, words):
    assert sized(nbytes) == words
