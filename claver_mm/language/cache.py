"""Answers of a language model in a file that only grows, so that a run that is stopped loses none.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
from dataclasses import asdict
from pathlib import Path

from ..messages import quoted
from .instruction import Wanted
from .writers import Sampling


class Cache:
    """Accepted answers as JSON lines, and the digests of the banks that were made of them.

    A last line that a killed run left unfinished is cut off; anything else that cannot be read is an error. One run at
    a time has the file, which must be one: a link is not followed, so that nobody can have another file written to.

    Raises:
        ValueError: Another run has the file, it is no file, or no cache; the place is named.
        OSError: It cannot be read or written.
    """

    def __init__(self, path: Path, sampling: Sampling) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._sampling = asdict(sampling)
        self.texts: dict[str, str] = {}
        self.banks: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            raise ValueError(f"{path} is a link, which is not followed; name the file itself with --cache")
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is no file that answers could be kept in; name another with --cache")
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
                         | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
        self._file = open(number, "r+b", buffering=0)
        try:
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                raise ValueError(f"{path} is no file that answers could be kept in; name another with --cache")
            _have_alone(self._file.fileno(), path)
            content = self._file.readall()  # by this descriptor: the lock goes when any other of the file is closed
            self._file.truncate(len(content) - self._read(content))
        except BaseException:
            self.close()
            raise

    def _read(self, content: bytes) -> int:
        """Take in what the file holds; the bytes of an unfinished last line."""
        *lines, last = content.split(b"\n")
        if not last.startswith(b'{"key": "'[:len(last)]):  # nothing that a killed run could have left
            lines.append(last)
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                if "bank" in record:
                    self.banks.add(record["key"])
                else:
                    self.texts[record["key"]] = record["text"].strip()
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise ValueError(f"{self.path}, line {number} is no record of this cache; move the file away, or mend "
                                 f"the line: {quoted(line, 80)}") from error
        return len(last)

    def key(self, wanted: Wanted, messages: list[dict[str, str]]) -> str:
        """What an answer depends on: model, sampling, messages, and the number of the sample."""
        content = json.dumps([self._sampling, messages, wanted], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def add(self, key: str, wanted: Wanted, text: str) -> None:
        """Keep an answer; it is on the disk when this returns."""
        with self._lock:
            self.texts[key] = text
            self._append(dict(key=key, **wanted._asdict(), text=text, model=self._sampling["model"],
                              time=round(time.time())))

    def add_bank(self, digest: str, name: str) -> None:
        """Remember a bank, so that what others do to its file can be told from what was written."""
        if digest not in self.banks:
            self.banks.add(digest)
            self._append(dict(key=digest, bank=name))

    def _append(self, record: dict) -> None:
        """Write a line whole, or leave the file as it was."""
        line = json.dumps(record).encode() + b"\n"
        file = self._file.fileno()
        before = os.fstat(file).st_size
        try:
            while line:
                line = line[os.write(file, line):]
            os.fsync(file)
        except OSError as error:
            os.ftruncate(file, before)
            raise type(error)(error.errno, f"{self.path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        self._file.close()


def _have_alone(file: int, path: Path) -> None:
    """Keep other processes from the file until it is closed."""
    try:
        import fcntl
    except ImportError:  # Windows, where such locks keep the holder out as well
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(f"another run writes to {path}; wait for it, or name another file with --cache") from error
    except OSError as error:
        raise OSError(error.errno, f"{path} cannot be locked ({error.strerror}); with --cache, name a file on a disk "
                      "that can") from error
