"""Text files read with errors that name them, and files written whole or not at all.

Pure: imports the standard library alone.
"""
from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def read_text(path: str | Path, what: str = "file") -> str:
    """A text file in UTF-8, with or without a byte order mark; line ends become ``\\n``.

    Args:
        path: The file.
        what: What to call it in messages.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A file that is no text in UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no {what} at {path}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error


def sha256_of_file(path: str | Path) -> str:
    """SHA-256 of a file of any size, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole, in UTF-8 with the line ends that ``text`` has; see ``written_whole``."""
    with written_whole(path) as file:
        file.write(text.encode())


@contextmanager
def written_whole(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file to write into, which takes its place at ``path`` when the block ends without an error.

    Until then it lies beside it under a name of its own that did not exist, so that no other process sees half of it,
    no link is followed, and a run that is killed, or a disk that is full, leaves what was at ``path`` as it was. It is
    on the disk when the block has ended. The folder is made.

    Raises:
        IsADirectoryError: A folder of that name.
        OSError: It cannot be written; the message names ``path``.

    Example:
        >>> with written_whole("weights.pth") as file:
        ...     torch.save(weights, file)
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.unfinished")
        number = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _mode(path))
    except OSError as error:
        raise type(error)(error.errno, f"{path} cannot be written: {error.strerror}") from error
    try:
        with open(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        os.unlink(unfinished)
        if isinstance(error, OSError) and error.filename in (None, unfinished, str(unfinished)):
            raise type(error)(error.errno, f"{path} cannot be written: {error.strerror or error}") from error
        raise
    _sync_folder(path.parent)


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced, else those of any new file; the process's umask takes its part."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return 0o666


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk, where the system can."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(number)
    except OSError:  # some network file systems sync no folders
        pass
    finally:
        os.close(number)
