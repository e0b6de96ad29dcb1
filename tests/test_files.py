"""Text files are read with errors that name them, and files are written whole or not at all."""
from __future__ import annotations

import errno
import os

import pytest

from claver_mm.files import read_text, write_text, written_whole


def test_a_text_file_is_replaced_whole_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "new folder" / "list.txt"
    write_text(path, "a\n")
    path.chmod(0o600)
    write_text(path, "brush hair\u2028\n")
    assert read_text(path) == "brush hair\u2028\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["list.txt"]


def test_a_file_whose_writing_fails_is_left_as_it_was(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"whole")
    with pytest.raises(RuntimeError, match="stopped"), written_whole(path) as file:
        file.write(b"ha")
        raise RuntimeError("stopped")
    assert path.read_bytes() == b"whole" and os.listdir(tmp_path) == ["weights.pth"]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(OSError, match="weights.pth cannot be written: No space left") as raised, \
            written_whole(tmp_path / "weights.pth"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.errno == errno.ENOSPC and not os.listdir(tmp_path)


def test_a_link_planted_beside_the_file_is_not_followed(tmp_path):
    """OUT.unfinished, a name that could be foreseen, was opened although it was a link to another file."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("bank.yaml.unfinished", ".bank.yaml.unfinished", "bank.yaml"):
        (tmp_path / name).symlink_to(victim)
    write_text(tmp_path / "bank.yaml", "a: [b]\n")
    assert victim.read_text() == "precious"
    assert (tmp_path / "bank.yaml").read_text() == "a: [b]\n"


def test_files_that_are_no_text_are_named(tmp_path):
    (tmp_path / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt is no text in UTF-8"):
        read_text(tmp_path / "latin.txt")
    with pytest.raises(FileNotFoundError, match=r"no class list at .*none\.txt"):
        read_text(tmp_path / "none.txt", "class list")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_text(tmp_path, "")
