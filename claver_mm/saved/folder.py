"""The folder of a saved recogniser: written whole, read with its pieces checked against each other.

Pure: imports nothing of ``mm*``.

    config.json          what it is (``contract.py``), with the SHA-256 of the files below
    model.safetensors    its weights, or what differs from its tower's public ones
    texts.json           its classes and their texts, a prompt bank
    tokenizer/           of a tower with one of its own, where the weights are whole
    record.json          of the run that trained it
    README.md            a model card, with metafile.yml as MMAction2 has them
"""
from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files import read_text, sha256_of_file
from .contract import FILES, FORMAT, Contract, check

CONFIG, WEIGHTS, TEXTS, RECORD, CARD, METAFILE = ("config.json", "model.safetensors", "texts.json", "record.json",
                                                  "README.md", "metafile.yml")
TOKENIZER = "tokenizer"
ALL = (CONFIG, WEIGHTS, TEXTS, RECORD, CARD, METAFILE, f"{TOKENIZER}/*")
"""Patterns of all that belongs to a saved recogniser."""
LARGEST = 1 << 24
"""Bytes of a ``config.json`` that is read."""


def is_saved(folder: str | Path) -> bool:
    """Whether a folder holds a recogniser that was saved here, in whatever state."""
    path = Path(folder).expanduser() / CONFIG
    if not path.is_file() or path.stat().st_size > LARGEST:
        return False
    try:
        said = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("format") == FORMAT


def read(folder: str | Path) -> Contract:
    """What a folder says of itself, its pieces looked at.

    Raises:
        FileNotFoundError: A piece is missing.
        ValueError: It is no saved recogniser, or its pieces are not of one.
    """
    folder = Path(folder).expanduser()
    path = folder / CONFIG
    if path.is_file() and path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size >> 20} MiB, which no {CONFIG} of a recogniser has")
    try:
        said = json.loads(read_text(path, CONFIG))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    contract = check(said, str(path))
    for name, digest in contract["files"].items():
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no {name} in {folder}: it was not copied or downloaded to its end")
        if sha256_of_file(folder / name) != digest:
            raise ValueError(f"{folder} is of two recognisers, or damaged: {name} is not the one that its {CONFIG} was "
                             "written beside; save, copy or download all of it again")
    return contract


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of those files that a contract has it of."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: sha256_of_file(folder / name) for name in names if re.fullmatch(FILES, name)}


def check_free(folder: str | Path) -> Path:
    """A folder that a recogniser can be saved into: none yet, an empty one, or one that holds a recogniser.

    Raises:
        NotADirectoryError: A file.
        FileExistsError: It holds other things.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; name a folder")
    if folder.is_dir() and not is_saved(folder) and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds other things than a saved recogniser; name another folder, or empty it")
    return folder


@contextmanager
def written(folder: str | Path) -> Iterator[Path]:
    """A folder to write a recogniser's files into, which take their place when the block ends without an error.

    Until then they lie beside it, so that an error or a full disk leaves what was there as it was. A new folder
    appears at once. In one that held another recogniser ``config.json`` comes last: whoever is stopped right there has
    weights that their ``config.json`` does not know, which ``read`` refuses by name.

    Raises:
        OSError: As ``check_free``, or it cannot be written.
    """
    folder = check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name[:100]}.{secrets.token_hex(8)}.unfinished")
    unfinished.mkdir()
    try:
        yield unfinished
        for path in unfinished.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        if folder.is_dir():
            _replace(unfinished, folder)
        else:
            os.rename(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _replace(new: Path, old: Path) -> None:
    """File by file, since a folder may hold what is not ours, a git repository say."""
    names = [path.relative_to(new) for path in new.rglob("*") if path.is_file()]
    for name in sorted(names, key=lambda name: name == Path(CONFIG)):
        (old / name).parent.mkdir(exist_ok=True)
        os.replace(new / name, old / name)
    for pattern in ALL:
        for path in old.glob(pattern):
            if path.relative_to(old) not in names and path.is_file():
                path.unlink()
