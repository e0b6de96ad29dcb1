"""The rows of a prompt bank in YAML, JSON and CSV, of whatever content, with the lines where they stand.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..files import read_text
from ..messages import listed, quoted, shown

LARGEST_FILE = 32 * 2 ** 20
"""Bytes of a file that is read as a bank; that of Kinetics has 0.7 million."""


class Text(NamedTuple):
    """A text of a bank and the line of the file where it stands; 0 where there is no file."""
    text: str
    line: int = 0


class Problem(NamedTuple):
    """Something to mend in a bank, or, as a ``note``, something that may be meant."""
    source: str
    line: int
    name: str
    message: str
    note: bool = False

    def __str__(self) -> str:
        return f"{shown(self.source)}:{self.line}: {shown(self.name, 80)}: {'note: ' * self.note}{self.message}"


Row = tuple[int, str, str, Text | None]
"""Line and name of a class, kind, and a text of it, or None for the kind alone."""


def rows_of(path: Path) -> Iterator[Row | Problem]:
    """The rows of a bank's file.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another suffix, a file that is too large or no text in UTF-8, or broken syntax.
    """
    readers = {".yaml": _from_yaml, ".yml": _from_yaml, ".json": _from_json, ".csv": _from_csv}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: a bank is a file in .yaml, .json or .csv")
    if path.is_file() and path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} has {path.stat().st_size >> 20} MiB, a bank at most {LARGEST_FILE >> 20}")
    content = read_text(path, "prompt bank")
    if "\0" in content:
        raise ValueError(f"{path} holds NUL bytes; is it a text file, in UTF-8?")
    try:
        yield from readers[path.suffix.lower()](content)
    except (yaml.YAMLError, csv.Error, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {_why(error)}") from error
    except RecursionError as error:
        raise ValueError(f"{path} cannot be read: it is nested too deeply for a bank") from error


def rows_of_mapping(bank: Mapping) -> Iterator[Row | Problem]:
    """The rows of a mapping like the one in a file."""
    for name, entry in bank.items():
        if not isinstance(name, str):
            yield Problem("", 0, quoted(name), "a class name is no text; put it in quotes")
            continue
        for kind, texts in (entry.items() if isinstance(entry, Mapping) else [("text", entry)]):
            texts = [texts] if isinstance(texts, str) else texts
            if not isinstance(kind, str):
                yield Problem("", 0, name, f"the kind {quoted(kind)} is no text; put it in quotes")
            elif isinstance(texts, bytes) or not isinstance(texts, Sequence) or not all(
                    isinstance(text, str) for text in texts):
                yield Problem("", 0, name, f"{shown(kind, 80)} must be a list of texts, got {quoted(texts)}")
            else:
                yield 0, name, kind, None
                yield from ((0, name, kind, Text(text)) for text in texts)


def _why(error: Exception) -> str:
    """What a parser found, and where."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"\n  line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return ", ".join(shown(part) for part in (error.context, error.problem) if part) + where
    if isinstance(error, json.JSONDecodeError):
        before, after = error.doc[:error.pos].rstrip()[-1:], error.doc[error.pos:].lstrip()[:1]
        trailing = before == "," and after in ("]", "}") or error.msg.startswith("Illegal trailing comma")
        message = "a comma after the last entry" if trailing else error.msg
        return f"line {error.lineno}, column {error.colno}: {message}"
    return shown(error)


_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "value")}


def _from_yaml(content: str) -> Iterator[Row | Problem]:
    """Nodes, not values, since nodes know their lines and keep ``no`` and ``2`` as written, and nothing is built."""
    yield from _from_nodes(yaml.compose(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


class _Pairs(list):
    """An object of JSON with what stands twice in it."""


class _Number(str):
    """A number of JSON, as written."""


class _Line(NamedTuple):
    line: int
    column: int = 0


def _from_json(content: str) -> Iterator[Row | Problem]:
    """JSON as nodes of YAML. Its strings stand in the file in the order in which they are come by here, so that their
    lines can be told."""
    root = json.loads(content, object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number)
    strings = re.finditer(r'"[^"\\]*(?:\\.[^"\\]*)*"', content, re.DOTALL)
    line, at = 0, 0

    def mark(of_a_string: bool) -> Any:  # a mark of YAML, in what is read of one
        nonlocal line, at
        if of_a_string:
            start = next(strings).start()
            line, at = line + content.count("\n", at, start), start
        return _Line(line)

    def node(value: Any) -> yaml.Node:
        if isinstance(value, _Pairs):
            items = [(yaml.ScalarNode(_TAG + "str", key, mark(True), style='"'), node(item)) for key, item in value]
            return yaml.MappingNode(_TAG + "map", items, mark(False))
        if isinstance(value, list):
            return yaml.SequenceNode(_TAG + "seq", [node(item) for item in value], mark(False))
        text = isinstance(value, str) and not isinstance(value, _Number)
        written = value if isinstance(value, str) else json.dumps(value)
        return yaml.ScalarNode(_TAG + "str" if text else "JSON", written, mark(text), style='"')
    yield from _from_nodes(node(root))


def _from_nodes(root: yaml.Node | None) -> Iterator[Row | Problem]:
    if not isinstance(root, yaml.MappingNode) or root.tag != _TAG + "map":
        yield Problem("", 1, "the file", "must be a mapping from class names to texts"
                      + ("; it is empty" if root is None else ""))
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
                yield Problem("", number, name, f"{shown(kind, 80)} stands there twice")
                continue
            kinds.add(kind)
            yield line, name, kind, None
            for node in texts.value if isinstance(texts, yaml.SequenceNode) else [texts]:
                fault = _fault(node)
                if fault:
                    yield Problem("", node.start_mark.line + 1, name, f"an entry of {shown(kind, 80)} {fault}")
                else:
                    yield line, name, kind, Text(node.value, node.start_mark.line + 1)


def _items(mapping: yaml.MappingNode) -> Iterator[tuple[str, int, yaml.Node]]:
    """Name, line and value of each entry."""
    for key, value in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a name is no text; put it in quotes", problem_mark=key.start_mark)
        if key.tag == _TAG + "merge":
            raise yaml.MarkedYAMLError(problem="<< merges nothing into a bank; give a class the texts of another by an "
                                       "alias (*name), or put << in quotes", problem_mark=key.start_mark)
        if key.tag not in _PLAIN_TAGS:
            raise yaml.MarkedYAMLError(problem=f"the tag {key.tag} makes no name; leave it out",
                                       problem_mark=key.start_mark)
        if isinstance(value, yaml.CollectionNode) and value.tag not in (_TAG + "map", _TAG + "seq"):
            raise yaml.MarkedYAMLError(problem=f"the tag {value.tag} makes no texts; leave it out",
                                       problem_mark=value.start_mark)
        yield key.value, key.start_mark.line + 1, value


def _fault(node: yaml.Node) -> str | None:
    """What keeps a node from being a text."""
    if not isinstance(node, yaml.ScalarNode):
        return "is no text; does it hold ': '? Then put it in quotes"
    if not node.style and not node.value:  # nothing at all; "" in quotes is a text, if a bad one
        return "is empty; write a text, or leave it out"
    if node.tag == "JSON":
        return f"is no text: {shown(node.value, 40)}; put it in quotes, or leave it out"
    return None if node.tag in _PLAIN_TAGS else f"has the tag {shown(node.tag, 60)}; leave it out"


def _from_csv(content: str) -> Iterator[Row | Problem]:
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    columns = [column.strip() for column in reader.fieldnames or ()]
    if not {"class", "text"} <= set(columns) or len(set(columns)) < len(columns):
        yield Problem("", 1, "the head line",
                      f"must name the columns class, text and, if wanted, kind, once each; got {listed(columns)}")
        return
    reader.fieldnames = columns
    try:
        for row in reader:
            line = reader.line_num - sum(value.count("\n") for value in row.values() if isinstance(value, str))
            name, text = (row["class"] or "").strip(), row["text"]
            if not name or not text or None in row:
                yield Problem("", line, name or "?", "not a class and a text; a text with a comma needs quotes")
            else:
                yield line, name, (row.get("kind") or "").strip() or "text", Text(text, line)
    except csv.Error as error:
        raise csv.Error(f"after line {reader.line_num}: {error}; quotes within a text are written twice") from error
