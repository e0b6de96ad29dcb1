"""Prompt banks: interpretive texts of action classes as data (paper section 3.3), read, chosen from and written.

Pure: imports nothing of ``mm*``.
A bank is a file a person can read and correct, one class in one place::

    opening bottle:
      decomposition:
        - One hand holds the bottle while the other twists the cap until it comes loose, and lifts it off.
      synonym:
        - unscrewing the cap of a bottle
      body_parts:
        - Fingers close around the cap and the wrist turns outward.

in YAML, as the same mapping in JSON, or as CSV with the columns ``class``, ``kind`` and ``text``. A class may also have
its texts as a plain list, or in a CSV without ``kind``: they are of the kind ``text``. A YAML alias (``*name``) gives a
class the texts of another.
"""
from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from ..files import write_text
from ..messages import listed, quoted, shown
from .bank_files import Problem, Row, Text, rows_of, rows_of_mapping
from .prompts import readable

KINDS = ("decomposition", "synonym", "body_parts")
"""The three kinds of interpretive prompts of the paper."""

MOST_ROWS = 1_000_000
"""Texts and kinds of a bank, those of aliases counted with each class; that of Kinetics has 9,400."""


@dataclass(frozen=True)
class PromptBank:
    """Texts of classes, by kind.

    Attributes:
        source: The file that it was read from, for messages.
        entries: ``entries[class][kind]`` are the texts.
        lines: Line of each class in the file.
    """
    source: str
    entries: Mapping[str, Mapping[str, tuple[Text, ...]]]
    lines: Mapping[str, int]

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Every kind that occurs, in the order of the first class that has it."""
        return tuple(dict.fromkeys(kind for entry in self.entries.values() for kind in entry))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of classes, kinds and texts, whatever file format they came in; hexadecimal."""
        content = {name: {kind: [text for text, _ in texts] for kind, texts in entry.items()}
                   for name, entry in self.entries.items()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _by_readable_name(self) -> dict[str, str]:
        return {readable(name).casefold(): name for name in self.entries}

    def entry(self, name: str) -> Mapping[str, tuple[Text, ...]] | None:
        """Texts of a class by kind, looked up by its name, else by its readable form (``BabyCrawling``, ``baby
        crawling``); None where it has none."""
        return self.entries.get(name) or self.entries.get(self._by_readable_name.get(readable(name).casefold(), ""))

    def of(self, classes: Sequence[str]) -> PromptBank:
        """A bank of these classes alone, under the names as they are given; all must be known."""
        entries = {name: self.entry(name) for name in classes}
        return PromptBank(self.source, {name: entry for name, entry in entries.items() if entry is not None}, {})

    def texts(self, classes: Sequence[str], kinds: Sequence[str] | None = None,
              per_kind: int | None = None) -> list[list[str]]:
        """The texts of each of ``C`` classes, as many of a kind for one class as for another, kind after kind.

        Args:
            classes: Class names in label order.
            kinds: Which kinds, in this order; all where None.
            per_kind: The first so many texts of each kind; all where None.

        Raises:
            ValueError: A class that the bank has not, an unknown kind, or too few texts of a kind.
        """
        if isinstance(kinds, str):
            raise ValueError(f"kinds={quoted(kinds)} is one string; give a list, [{quoted(kinds)}]")
        unknown = [kind for kind in kinds or () if kind not in self.kinds]
        if unknown:
            raise ValueError(f"{self.source} has no texts of the kind {quoted(unknown[0])}; it has "
                             f"{shown(', '.join(self.kinds[:20]))}")
        if per_kind is not None and per_kind < 1:
            raise ValueError(f"per_kind must be at least 1, got {per_kind}; kinds=() takes no text")
        entries = [entry for entry in map(self.entry, classes) if entry is not None]
        if len(entries) < len(classes):
            missing = [name for name in classes if self.entry(name) is None]
            raise ValueError(f"{self.source} has no texts for {len(missing)} of {len(classes)} classes: "
                             f"{listed(missing)}; add them to the bank, or go without it: templates serve any class")
        chosen: list[list[str]] = [[] for _ in classes]
        for kind in self.kinds if kinds is None else kinds:
            counts = [len(entry.get(kind, ())) for entry in entries]
            fewest = min(counts, default=0)
            if fewest < (per_kind or max(counts, default=0)):
                name = classes[counts.index(fewest)]
                raise ValueError(f"{self.source}: class {quoted(name)} has {fewest} texts of the kind {quoted(kind)}, "
                                 f"{per_kind or max(counts)} are asked for, since every class needs as many; "
                                 + (f"set per_kind={fewest}" if fewest else f"leave {quoted(kind)} out of kinds")
                                 + ", or add texts")
            for texts, entry in zip(chosen, entries):
                texts.extend(text for text, _ in entry.get(kind, ())[:per_kind])
        return chosen


def read_bank(source: str | Path | Mapping) -> PromptBank:
    """Read a bank from a file (``.yaml``, ``.json`` or ``.csv``) or from a mapping like the one in such a file.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another suffix, a file that is too large or no text in UTF-8, broken syntax, a name or an entry that
            is no text, or more than ``MOST_ROWS``; the first places are named.
    """
    name = "the bank" if isinstance(source, Mapping) else str(source)
    entries: dict[str, dict[str, list[Text]]] = {}
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    for number, row in enumerate(rows_of_mapping(source) if isinstance(source, Mapping) else rows_of(Path(source))):
        if number == MOST_ROWS:
            raise ValueError(f"{name} has more than {MOST_ROWS:,} texts, those of aliases counted with each class")
        row = row if isinstance(row, Problem) else _sound(row)
        if isinstance(row, Problem):
            problems.append(row._replace(source=name))
            continue
        line, class_name, kind, text = row
        lines.setdefault(class_name, line)
        texts = entries.setdefault(class_name, {}).setdefault(kind, [])
        if text is not None:
            texts.append(text)
    if problems:
        more = [f"and {len(problems) - 20} problems more"] if len(problems) > 20 else []
        raise ValueError("\n".join([*map(str, problems[:20]), *more]))
    if not entries:
        raise ValueError(f"{name} holds no class")
    return PromptBank(name, {class_name: {kind: tuple(texts) for kind, texts in entry.items()}
                             for class_name, entry in entries.items()}, lines)


def _sound(row: Row) -> Row | Problem:
    """The row, or what is wrong with its words whatever file they come from."""
    line, name, kind, text = row
    words = f"{name}{kind}{'' if text is None else text.text}"
    if not name:
        return Problem("", line, "?", "a class without a name")
    if not words.isascii() and any("\ud800" <= char <= "\udfff" for char in words):
        return Problem("", text.line if text else line, name, "half of a surrogate pair, which is no character")
    return row


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # else texts stand right below their kind


# line ends other than \n, which PyYAML writes as they are and reads as spaces, are kept by double quotes
_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(
    "tag:yaml.org,2002:str", text, None if text.isprintable() else '"'))


def write_bank(texts: Mapping[str, Mapping[str, Sequence[str]]], path: str | Path) -> None:
    """Write texts by class and kind as YAML, one text a line; a file at ``path`` is replaced at once or not at all."""
    path = Path(path)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise ValueError(f"{path}: a bank is written in .yaml")
    content = {name: {kind: list(some) for kind, some in entry.items()} for name, entry in texts.items()}
    write_text(path, yaml.dump(content, None, _Dumper, allow_unicode=True, sort_keys=False, width=math.inf))
