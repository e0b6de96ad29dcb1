"""Class lists and prompt banks that come with the project, found by name or by the classes that they know.

Pure: imports the standard library alone.
"""
from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ..catalog import PROMPTS
from ..files import read_text
from .prompts import readable


def find_classes(classes: str | Path | Sequence[str]) -> str | list[str]:
    """A class list as it was given, or the path of the shipped one that a bare word names (``kinetics400``).

    Raises:
        FileNotFoundError: A bare word that is neither a shipped list nor a file.
    """
    if not isinstance(classes, str | Path):
        return list(classes)
    shipped = {path.stem: path for path in sorted((PROMPTS / "classes").glob("*.txt"))}
    name = os.fspath(classes)
    if name in shipped and not os.path.isfile(name):
        return str(shipped[name])
    if not Path(name).suffix and Path(name).name == name and not os.path.isfile(name):
        raise FileNotFoundError(f"no class list {name!r}: give a file with one class a line, or one of those that come "
                                f"with the project: {', '.join(shipped)}")
    return name


def find_bank(classes: Sequence[str]) -> str | None:
    """Path of the shipped bank with texts for all of these classes, or None.

    Of several the one that has the names as they are spelled, then the one with the fewest classes.
    """
    found = []
    for path in sorted(PROMPTS.glob("*.yaml")):
        names = bank_names(path)
        if {readable(name).casefold() for name in classes} <= {readable(name).casefold() for name in names}:
            found.append((not set(classes) <= names, len(names), str(path)))
    return min(found)[-1] if found else None


@lru_cache
def bank_names(path: Path) -> frozenset[str]:
    """Classes of a bank that ``write_bank`` laid out: what stands at the start of a line. Reading all its texts takes
    seconds."""
    lines = [line for line in read_text(path, "prompt bank").splitlines() if line[:1] not in ("", " ", "#", "-")]
    return frozenset(line.rpartition(":")[0].strip("'\"") for line in lines)
