"""Prompt banks that come with the project, found by the classes that they know.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ..catalog import PROMPTS
from ..files import read_text
from .bank import PromptBank, read_bank
from .prompts import readable


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


def with_shipped_prompts(labels: object) -> object:
    """A prompt bank of these labels alone, where they are names that a shipped bank has texts for, all of them; the
    argument else."""
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str) for label in labels):
        return labels
    path = find_bank(labels) if labels else None
    return labels if path is None else _read_once(path).of(labels)


@lru_cache(maxsize=4)
def _read_once(path: str) -> PromptBank:
    return read_bank(path)
