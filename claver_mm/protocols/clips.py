"""Videos of one's own with their labels: a folder with a folder for each class, or a CSV file.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..files import read_text
from ..messages import quoted
from .annotations import read_annotations
from .lists import SUFFIXES

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "val",
          "heldout": "val"}
"""What a split may be called: by folders above those of the classes, or in the column ``split`` of a CSV file."""
COLUMNS = ("video", "label", "start", "end", "split")


class Clip(NamedTuple):
    """A video, or a stretch of one, and the class that it shows."""
    path: str
    label: str
    start: float | None = None
    """Seconds from the beginning of the video; None for its beginning."""
    end: float | None = None
    """None for its end."""
    split: str | None = None
    """``train`` or ``val``, where that was given."""

    def __str__(self) -> str:
        if self.start is None and self.end is None:
            return self.path
        return f"{self.path} from {self.start or 0:g} s" + ("" if self.end is None else f" to {self.end:g} s")


def read_clips(source: str | Path, classes: list[str] | None = None) -> list[Clip]:
    """Clips of a folder, in which each class has a folder of its name; or of a list.

    Args:
        source: A folder: videos lie in the folders of their classes, in folders below these as well; where the folder
            holds ``train`` and ``val`` (or ``test``) alone, the classes stand in these. Or a ``.csv`` file with the
            columns ``video`` and ``label``, and if wanted ``start`` and ``end`` (seconds, or ``minutes:seconds``) and
            ``split`` (``train``, ``val``); or lines ``path number`` as of MMAction2, which need ``classes``. Paths
            start from the folder of the list.
        classes: Names in label order, for lists of numbers.

    Raises:
        FileNotFoundError: No such folder or file.
        ValueError: No class, no video, or a line that cannot be read; folder or line are named.
    """
    source = Path(source).expanduser()
    if source.is_dir():
        return _of_folder(source)
    if source.suffix.lower() in SUFFIXES:
        raise ValueError(f"{source} is one video; give the folder that holds a folder of videos for each class, or a "
                         "list")
    if source.suffix.lower() != ".csv":
        if classes is None:
            raise ValueError(f"{source} is a list of class numbers; give the names of the classes beside it, or a .csv "
                             "file with the columns video and label")
        return [Clip(str(source.parent / line.path), classes[line.labels[0]])
                for line in read_annotations(source, num_classes=len(classes))]
    return list(_of_csv(source))


def is_named(source: str | Path) -> bool:
    """Whether clips come with the names of their classes: of a folder, or of a CSV file."""
    return Path(source).is_dir() or Path(source).suffix.lower() == ".csv"


def _of_folder(root: Path) -> list[Clip]:
    folders = _folders(root)
    if not folders:
        stray = sum(path.suffix.lower() in SUFFIXES for path in root.iterdir())
        raise ValueError(f"{root} holds no folders" + (f", but {stray} videos" if stray else "")
                         + "; put the videos of each class into a folder that is called like the class")
    named = {folder.name.lower() for folder in folders}
    splits = named <= set(SPLITS) and "train" in map(SPLITS.get, named) and len(named) > 1
    parts = [(SPLITS[folder.name.lower()], inner) for folder in folders for inner in _folders(folder)] if splits else [
        (None, folder) for folder in folders]
    clips = [Clip(str(path), folder.name, split=split) for split, folder in parts for path in _videos(folder)]
    empty = {folder.name: folder for _, folder in parts}
    for clip in clips:
        empty.pop(clip.label, None)
    if empty and clips:
        raise ValueError(f"no videos in {min(empty.values())}, whose name is taken for a class; put some there, or "
                         f"take the folder away; known are {', '.join(sorted(SUFFIXES))}")
    if not clips:
        raise ValueError(f"no videos in the {len(parts)} folders of {root}; known are {', '.join(sorted(SUFFIXES))}")
    return clips


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _videos(folder: Path) -> Iterator[Path]:
    """Videos in a folder and below, by links as well; a folder that is met again, by a link, is not gone into."""
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(root, name)


def _of_csv(path: Path) -> Iterator[Clip]:
    reader = csv.DictReader(io.StringIO(read_text(path, "list of videos")), skipinitialspace=True, restkey="")
    found = [name.strip().lower() for name in reader.fieldnames or ()]
    reader.fieldnames = found
    if not {"video", "label"} <= set(found):
        raise ValueError(f"{path}, line 1: the first line names the columns, video and label at least (of "
                         f"{', '.join(COLUMNS)}); it reads {quoted(','.join(found))}")
    empty = True
    for row in reader:
        where, empty = f"{path}, line {reader.line_num}", False
        if "" in row or None in row.values():
            raise ValueError(f"{where}: {len(found)} columns are expected, as in line 1; a comma within a name needs "
                             "quotes around it")
        video, label = row["video"].strip(), row["label"].strip()
        if not video or not label:
            raise ValueError(f"{where}: no {'label' if video else 'video'}")
        start, end = (_seconds(row.get(name) or "", name, where) for name in ("start", "end"))
        if end is not None and end <= (start or 0):
            raise ValueError(f"{where}: the clip ends at {end:g} s, and begins at {start or 0:g} s")
        split = (row.get("split") or "").strip().lower()
        if split and split not in SPLITS:
            raise ValueError(f"{where}: split {quoted(split)} is none of train and val")
        yield Clip(str(path.parent / video), label, start, end, SPLITS.get(split))
    if empty:
        raise ValueError(f"{path} lists no video")


def _seconds(text: str, name: str, where: str) -> float | None:
    """Of ``12.5``, ``1:02.5`` or ``1:00:00``; None of nothing."""
    if not text.strip():
        return None
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = [-1]
    seconds = sum(part * 60 ** power for power, part in enumerate(reversed(parts)))
    if len(parts) > 3 or min(parts) < 0 or not seconds < 1e9:
        raise ValueError(f"{where}: {name} {quoted(text)} is no time in seconds, nor minutes:seconds")
    return seconds


def class_names(clips: list[Clip]) -> list[str]:
    """The classes of clips, by name, numbers within names by their size."""
    return sorted({clip.label for clip in clips}, key=_natural)


def _natural(name: str) -> tuple:
    """``take 2`` before ``take 10``."""
    parts: list[str] = [""]
    for char in name:
        if char.isdecimal() == parts[-1].isdecimal() and parts[-1]:
            parts[-1] += char
        else:
            parts.append(char)
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part.casefold()) for part in parts[1:]), name
