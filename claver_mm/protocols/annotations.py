"""The one parser of annotation lists: a line is ``path/of/video.mp4 label``. Pure: imports nothing of ``mm*``."""
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..files import read_text
from ..messages import quoted

BLANKS = " \t"


class Annotation(NamedTuple):
    """A line of an annotation list: its number from 1, its text, and the path and class numbers in it."""
    number: int
    text: str
    path: str
    labels: list[int]


def read_annotations(ann_file: str | Path, delimiter: str = " ", multi_class: bool = False,
                     num_classes: int | None = None) -> list[Annotation]:
    """Lines ``path/of/video.mp4 label`` of a list, empty ones left out; the path may hold spaces.

    Only a line feed or a carriage return ends a line; names copied from web pages hold other separators. A label is
    written in the digits 0 to 9 alone.

    Args:
        ann_file: The list, UTF-8.
        delimiter: Stands between path and label; a space stands for any number of spaces and tabs.
        multi_class: Any number of labels in a line, and a path without the delimiter.
        num_classes: Labels count from 0 up to it, where it is known.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No text, no line in it, or a line without a label that is a number of a class.
    """
    annotations = []
    for where, number, line in numbered_lines(ann_file, "annotation list"):
        name, *labels = _fields(line, delimiter, multi_class)
        if not labels or not name:
            raise ValueError(f"{where}: {quoted(line)} has no label; write 'path/of/video.mp4{delimiter}label'")
        numbers = [_class_number(label, where, delimiter, num_classes) for label in labels]
        annotations.append(Annotation(number, line, name, numbers))
    if not annotations:
        raise ValueError(f"annotation list {ann_file} is empty; it lists no video")
    return annotations


def numbered_lines(path: str | Path, what: str = "file") -> Iterator[tuple[str, int, str]]:
    """Where each line that is not empty stands, its number from 1, and the line; errors as of ``read_text``."""
    for number, line in enumerate(read_text(path, what).split("\n"), start=1):
        if line := line.strip(BLANKS):
            yield f"{path}, line {number}", number, line


def _fields(line: str, delimiter: str, multi_class: bool) -> list[str]:
    if delimiter != " ":
        return [field.strip(BLANKS) for field in (line.split(delimiter) if multi_class else line.rsplit(delimiter, 1))]
    if multi_class:
        return re.split(f"[{BLANKS}]+", line)
    label = re.split(f"[{BLANKS}]", line)[-1]
    name = line[:len(line) - len(label)]
    return [name.strip(BLANKS), label] if name else [line]


def _class_number(label: str, where: str, delimiter: str, num_classes: int | None) -> int:
    if not re.fullmatch("-?[0-9]{1,9}", label):
        raise ValueError(f"{where}: label {quoted(label)} is no number; write 'path/of/video.mp4{delimiter}label'")
    if label[0] == "-" or num_classes is not None and int(label) >= num_classes:
        count = "" if num_classes is None else f"{num_classes} "
        raise ValueError(f"{where}: label {label} is none of the {count}classes, which count from 0")
    return int(label)
