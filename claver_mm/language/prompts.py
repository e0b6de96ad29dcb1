"""Texts of classes: names from a list, put into templates (paper section 3.3, prefixes and suffixes).

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ACTION_TEMPLATES = (
    "{}",
    "a video of {}.",
    "a clip that shows {}.",
    "a person is {}.",
    "someone {} on camera.",
    "the action of {}.",
    "human action: {}.",
    "footage of a person {}.",
    "this is {}, an action.",
    "people seen {} in a video.",
    "watch how the {} is done.",
    "{}, filmed from start to end.",
)
"""Default templates; ``{}`` takes the readable class name."""


def readable(name: str) -> str:
    """A class name as one would write it: ``brush_hair`` -> ``brush hair``, ``BabyCrawling`` -> ``baby crawling``."""
    words = "".join(f" {letter}" if letter.isupper() and before.islower() else letter
                    for before, letter in zip(" " + name, name)).replace("_", " ").split()
    camel_case = "_" not in name and " " not in name
    return " ".join(word.lower() if camel_case and word[1:].islower() else word for word in words)


def read_lines(source: str | Path | Sequence[str], what: str) -> list[str]:
    """Entries of a text file, one a line, or of a list.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: No entry, an empty one (the line is named), one that stands twice, or a file that is not UTF-8.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"no file of {what} at {path}")
        try:
            entries, where = path.read_text(encoding="utf-8-sig").splitlines(), f"{path}, line "
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no text in UTF-8: {error}") from error
    else:
        entries, where = source, f"{what}, entry "
    entries = [entry.strip() for entry in entries]
    if not entries:
        raise ValueError(f"no {what} in {source!r}")
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        if not entry:
            raise ValueError(f"{where}{number}: empty")
        if entry in seen:
            raise ValueError(f"{where}{number}: {entry!r} stands in line {seen[entry]} already")
        seen[entry] = number
    return entries


def class_texts(classes: Sequence[str], templates: Sequence[str] = ACTION_TEMPLATES) -> list[list[str]]:
    """The ``M`` texts of each of ``C`` classes, as ``C`` lists of ``M``.

    Raises:
        ValueError: A template without exactly one ``{}``.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"template {template!r} must hold '{{}}' exactly once, where the class name goes")
    return [[template.replace("{}", readable(name)) for template in templates] for name in classes]
