"""Texts of classes: names from a list, put into templates (paper section 3.3, prefixes and suffixes).

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ..files import read_text
from ..messages import quoted

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
    """A class name as one would write it: ``brush_hair`` -> ``brush hair``, ``BabyCrawling`` -> ``baby crawling``; in
    any script, letters and marks composed (names of folders on a Mac are not)."""
    name = unicodedata.normalize("NFC", name)
    words = "".join(f" {letter}" if letter.isupper() and before.islower() else letter
                    for before, letter in zip(" " + name, name)).replace("_", " ").split()
    camel_case = "_" not in name and " " not in name
    return " ".join(word.lower() if camel_case and word[1:].islower() else word for word in words)


def read_lines(source: str | Path | Sequence[str], what: str) -> list[str]:
    """Entries of a text file, one a line, or of a list, without the white space around them.

    Blank lines of a file are no entries: entry ``n`` of a class list is its ``n``-th name, wherever blank lines stand.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: No entry, one of a list that is empty or no text, one that stands twice, or a file that is not
            UTF-8; the line or entry is named.
    """
    if isinstance(source, str | Path):
        where = f"{source}, line "
        lines = read_text(source, f"file of {what}").splitlines()
        numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    else:
        where, numbered = f"{what}, entry ", []
        for number, entry in enumerate(source, start=1):
            if not isinstance(entry, str):
                raise ValueError(f"{where}{number}: {quoted(entry)} is a {type(entry).__name__}, not a text")
            if not entry.strip():
                raise ValueError(f"{where}{number}: empty")
            numbered.append((number, entry.strip()))
    if not numbered:
        raise ValueError(f"no {what} in {quoted(source)}")
    seen: dict[str, int] = {}
    for number, entry in numbered:
        if entry in seen:
            raise ValueError(f"{where}{number}: {quoted(entry)} stands in line {seen[entry]} already")
        seen[entry] = number
    return [entry for _, entry in numbered]


def class_texts(classes: Sequence[str], templates: Sequence[str] = ACTION_TEMPLATES) -> list[list[str]]:
    """The ``M`` texts of each of ``C`` classes, as ``C`` lists of ``M``.

    Raises:
        ValueError: One string in place of a list, or a template without exactly one ``{}``.
    """
    if isinstance(templates, str):
        raise ValueError(f"templates={quoted(templates)} is one string; give a list of templates")
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise ValueError(f"template {quoted(template)} must hold '{{}}' exactly once, where the class name goes")
    return [[template.replace("{}", readable(name)) for template in templates] for name in classes]
