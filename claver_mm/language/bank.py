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

import csv
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import yaml

from .prompts import readable

KINDS = ("decomposition", "synonym", "body_parts")
"""The three kinds of interpretive prompts of the paper."""


class Text(NamedTuple):
    """A text of a bank and the line of the file where it stands; 0 where there is no file."""
    text: str
    line: int = 0


class Problem(NamedTuple):
    """Something to mend in a bank."""
    source: str
    line: int
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.name}: {self.message}"


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
            raise ValueError(f"kinds={kinds!r} is one string; give a list, [{kinds!r}]")
        unknown = [kind for kind in kinds or () if kind not in self.kinds]
        if unknown:
            raise ValueError(f"{self.source} has no texts of the kind {unknown[0]!r}; it has {', '.join(self.kinds)}")
        if per_kind is not None and per_kind < 1:
            raise ValueError(f"per_kind must be at least 1, got {per_kind}; kinds=() takes no text")
        missing = [name for name in classes if self.entry(name) is None]
        if missing:
            some = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
            raise ValueError(f"{self.source} has no texts for {len(missing)} of {len(classes)} classes: {some}; add "
                             "them to the bank, or go without it: templates serve any class")
        entries = [self.entry(name) for name in classes]
        chosen: list[list[str]] = [[] for _ in classes]
        for kind in self.kinds if kinds is None else kinds:
            counts = [len(entry.get(kind, ())) for entry in entries]
            fewest = min(counts, default=0)
            if fewest < (per_kind or max(counts, default=0)):
                name = classes[counts.index(fewest)]
                raise ValueError(f"{self.source}: class {name!r} has {fewest} texts of the kind {kind!r}, "
                                 f"{per_kind or max(counts)} are asked for, since every class needs as many; "
                                 + (f"set per_kind={fewest}" if fewest else f"leave {kind!r} out of kinds")
                                 + ", or add texts")
            for texts, entry in zip(chosen, entries):
                texts.extend(text for text, _ in entry.get(kind, ())[:per_kind])
        return chosen


def read_bank(source: str | Path | Mapping) -> PromptBank:
    """Read a bank from a file (``.yaml``, ``.json`` or ``.csv``) or from a mapping like the one in such a file.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another suffix, broken syntax, or an entry that is no text; every place is named.
    """
    if isinstance(source, Mapping):
        rows, name = _from_mapping(source), "the bank"
    else:
        path, name = Path(source), str(source)
        readers = {".yaml": _from_yaml, ".yml": _from_yaml, ".json": _from_yaml, ".csv": _from_csv}
        if path.suffix.lower() not in readers:
            raise ValueError(f"{path}: a bank is a file in .yaml, .json or .csv")
        if not path.is_file():
            raise FileNotFoundError(f"no prompt bank at {path}")
        try:
            rows = list(readers[path.suffix.lower()](path))
        except (yaml.YAMLError, UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
    entries: dict[str, dict[str, list[Text]]] = {}
    lines: dict[str, int] = {}
    problems = []
    for row in rows:
        if isinstance(row, Problem):
            problems.append(row._replace(source=name))
            continue
        line, class_name, kind, text = row
        lines.setdefault(class_name, line)
        texts = entries.setdefault(class_name, {}).setdefault(kind, [])
        if text is not None:
            texts.append(text)
    if problems:
        raise ValueError("\n".join(map(str, problems)))
    if not entries:
        raise ValueError(f"{name} holds no class")
    return PromptBank(name, {class_name: {kind: tuple(texts) for kind, texts in entry.items()}
                             for class_name, entry in entries.items()}, lines)


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
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        yaml.dump(content, file, _Dumper, allow_unicode=True, sort_keys=False, width=math.inf)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


_Row = tuple[int, str, str, Text | None] | Problem


def _from_mapping(bank: Mapping) -> Iterator[_Row]:
    for name, entry in bank.items():
        for kind, texts in (entry.items() if isinstance(entry, Mapping) else [("text", entry)]):
            texts = [texts] if isinstance(texts, str) else texts
            if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
                yield Problem("", 0, str(name), f"{kind} must be a list of texts, got {texts!r}")
            else:
                yield 0, str(name), kind, None
                yield from ((0, str(name), kind, Text(text)) for text in texts)


def _from_yaml(path: Path) -> Iterator[_Row]:
    """JSON too: YAML contains it. Nodes, not values, since nodes know their lines and keep ``no`` and ``2`` as
    written."""
    with path.open(encoding="utf-8-sig") as file:
        root = yaml.compose(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if not isinstance(root, yaml.MappingNode):
        yield Problem("", 1, "the file", "must be a mapping from class names to texts")
        return
    seen: dict[str, int] = {}
    for name, line, entry in _items(root):
        if name in seen:
            yield Problem("", line, name, f"stands in line {seen[name]} already")
            continue
        seen[name] = line
        kinds: set[str] = set()
        for kind, number, texts in (_items(entry) if isinstance(entry, yaml.MappingNode) else [("text", line, entry)]):
            if kind in kinds:
                yield Problem("", number, name, f"{kind} stands there twice")
                continue
            kinds.add(kind)
            yield line, name, kind, None
            for node in texts.value if isinstance(texts, yaml.SequenceNode) else [texts]:
                number = node.start_mark.line + 1
                if not isinstance(node, yaml.ScalarNode):
                    yield Problem("", number, name,
                                  f"an entry of {kind} is no text; does it hold ': '? Then put it in quotes")
                elif not node.style and not node.value:  # nothing at all; "" in quotes is a text, if a bad one
                    yield Problem("", number, name, f"an entry of {kind} is empty; write a text, or leave it out")
                else:
                    yield line, name, kind, Text(node.value, number)


def _items(mapping: yaml.MappingNode) -> Iterator[tuple[str, int, yaml.Node]]:
    """Name, line and value of each entry."""
    for key, value in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a name is no text; put it in quotes", problem_mark=key.start_mark)
        yield key.value, key.start_mark.line + 1, value


def _from_csv(path: Path) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = [column.strip() for column in reader.fieldnames or ()]
        if not {"class", "text"} <= set(columns):
            yield Problem("", 1, "the head line",
                          f"must name the columns class, text and, if wanted, kind; got {columns}")
            return
        reader.fieldnames = columns
        for row in reader:
            name, text = (row["class"] or "").strip(), row["text"]
            if not name or not text or None in row:
                yield Problem("", reader.line_num, name or "?",
                              "not a class and a text; a text with a comma needs quotes")
            else:
                yield reader.line_num, name, (row.get("kind") or "").strip() or "text", Text(text, reader.line_num)
