"""Annotation lists from the files that the authors of the data sets, and MMAction2, publish.

Pure: imports nothing of ``mm*``. A list is a sequence of ``Video``; on disk a line is ``path/of/video.mp4 label``, as
``ActionVideoDataset`` reads it. Class numbers are those of a class list (``prompts/classes/*.txt``); a file that
disagrees with it is refused, with its line.
"""
from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..files import read_text, write_text
from ..messages import quoted
from .annotations import numbered_lines, read_annotations

SUBSETS = ("train", "test")
FOLDERS = ("names", "underscores")
SUFFIXES = {".avi", ".mp4", ".mkv", ".webm", ".mov", ".mpg", ".mpeg", ".wmv", ".flv", ".m4v"}


class Video(NamedTuple):
    """A video: its path below the folder of videos, and its class number from 0."""
    path: str
    label: int


class ClassNumbers:
    """Numbers of class names, however they are written: ``BabyCrawling``, ``baby_crawling`` and ``baby crawling`` are
    one class."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self._numbers = {_key(name): number for number, name in enumerate(classes)}
        if len(self._numbers) != len(self.classes):
            twice = next(name for number, name in enumerate(classes) if self._numbers[_key(name)] != number)
            raise ValueError(f"the class list has {quoted(twice)} twice but for case and punctuation")

    def get(self, name: str) -> int | None:
        """Number of a class, None where it is none."""
        return self._numbers.get(_key(name))

    def of(self, name: str, where: str) -> int:
        """Number of a class; ``where`` is named in the ``ValueError`` for a name that is none."""
        number = self.get(name)
        if number is None:
            raise ValueError(f"{where}: {quoted(name)} is none of the {len(self.classes)} classes of the class list; "
                             "is it the list of this data set?")
        return number


def read_ucf101(folder: str | Path, split: int, subset: str, classes: Sequence[str]) -> list[Video]:
    """Split 1, 2 or 3 of UCF-101, ``train`` or ``test``, from the official files (``classInd.txt``,
    ``trainlist01.txt``, ``testlist01.txt``, ...) in ``folder``.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: A class or number that does not agree with ``classes``; file and line are named.
    """
    _check(split, subset)
    numbers = ClassNumbers(classes)
    for where, _, line in numbered_lines(Path(folder) / "classInd.txt"):
        number, _, name = line.partition(" ")
        _agree(number, numbers.of(name, where) + 1, name, where)
    videos = []
    for where, _, line in numbered_lines(Path(folder) / f"{subset}list{split:02d}.txt"):
        path, _, number = line.partition(" ")
        label = numbers.of(PurePosixPath(path).parent.name, where)
        if number or subset == "train":
            _agree(number, label + 1, PurePosixPath(path).parent.name, where)
        videos.append(Video(path, label))
    return videos


def read_hmdb51(folder: str | Path, split: int, subset: str, classes: Sequence[str]) -> list[Video]:
    """Split 1, 2 or 3 of HMDB-51, ``train`` or ``test``, from the official files (``brush_hair_test_split1.txt``, ...,
    with 1 for train, 2 for test, 0 for neither) in ``folder``.

    Raises:
        FileNotFoundError: The file of a class is not there.
        ValueError: A file of a class that ``classes`` has not, or a line without one of the three marks.
    """
    _check(split, subset)
    numbers = ClassNumbers(classes)
    ending = f"_test_split{split}.txt"
    for path in sorted(Path(folder).glob(f"*{ending}")):
        numbers.of(path.name.removesuffix(ending), str(path))
    videos = []
    for label, name in enumerate(classes):
        for where, _, line in numbered_lines(Path(folder) / f"{name}{ending}"):
            video, _, mark = line.rpartition(" ")
            if mark not in ("0", "1", "2") or not video:
                raise ValueError(f"{where}: {quoted(line)} is not 'video.avi mark' with 1 for train, 2 for test or 0")
            if mark == str(1 + SUBSETS.index(subset)):
                videos.append(Video(f"{name}/{video}", label))
    return videos


def read_kinetics(path: str | Path, classes: Sequence[str], folders: str | None = None) -> list[Video]:
    """Videos of a Kinetics CSV file (columns ``label``, ``youtube_id``, ``time_start``, ``time_end``), named
    ``<id>_<start>_<end>.mp4`` with six digits of seconds each.

    Args:
        path: The CSV file.
        classes: The class list.
        folders: The videos lie in folders of their classes, called by their ``names``, or with ``underscores`` for
            spaces; in one folder where None.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A column that misses, a class that ``classes`` has not, or times that are no numbers, with the line.
    """
    if folders not in (None, *FOLDERS):
        raise ValueError(f"unknown folders {quoted(folders)}; one of {', '.join(FOLDERS)}, or none")
    numbers, videos = ClassNumbers(classes), []
    reader = csv.DictReader(io.StringIO(read_text(path)))
    missing = {"label", "youtube_id", "time_start", "time_end"} - set(reader.fieldnames or ())
    if missing:
        raise ValueError(f"{path}, line 1: no column {', '.join(sorted(missing))}; there are test files "
                         "with and without labels, take one with")
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        label = numbers.of(row["label"] or "", where)
        try:
            start, end = (int(float(row[column])) for column in ("time_start", "time_end"))
        except (TypeError, ValueError):
            times = f"{quoted(row['time_start'])}, {quoted(row['time_end'])}"
            raise ValueError(f"{where}: times {times} are no seconds") from None
        folder = "" if folders is None else row["label"] + "/"
        folder = folder.replace(" ", "_") if folders == "underscores" else folder
        videos.append(Video(f"{folder}{row['youtube_id']}_{start:06d}_{end:06d}.mp4", label))
    return _not_empty(videos, path)


def read_list(path: str | Path, classes: Sequence[str]) -> list[Video]:
    """An annotation list of MMAction2 or of this project, ``path label`` in each line.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A line without a label, a label that is no class number, or another than the class that the
            folder of the video is called by.
    """
    numbers, videos = ClassNumbers(classes), []
    for number, _, name, (label,) in read_annotations(path, num_classes=len(classes)):
        where = f"{path}, line {number}"
        folder = PurePosixPath(name).parent.name
        if numbers.get(folder) not in (None, label):
            raise ValueError(f"{where}: label {label} is {quoted(numbers.classes[label])}, but the video lies in "
                             f"{quoted(folder)}, which is {numbers.get(folder)}; is it the list of this data set?")
        videos.append(Video(name, label))
    return videos


def official_lists(dataset: str, folder: str | Path, classes: Sequence[str]) -> dict[str, list[Video]]:
    """All lists of UCF-101 or HMDB-51 from the folder of its official split files, by the names that MMAction2 gives
    them: ``ucf101_train_split_1_videos.txt``; the test set is ``val``."""
    read = {"ucf101": read_ucf101, "hmdb51": read_hmdb51}[dataset]
    names = dict(zip(SUBSETS, ("train", "val")))
    return {f"{dataset}_{names[subset]}_split_{split}_videos.txt": read(folder, split, subset, classes)
            for split in (1, 2, 3) for subset in SUBSETS}


def write_list(path: str | Path, videos: Sequence[Video]) -> None:
    """Write a list; a file at ``path`` is replaced at once, so that other processes never see half of it."""
    write_text(path, "".join(f"{video.path} {video.label}\n" for video in videos))


def restrict(videos: Sequence[Video], classes: Sequence[str], chosen: Sequence[str]) -> list[Video]:
    """The videos of some classes, numbered anew: label ``i`` is ``chosen[i]``.

    Raises:
        ValueError: A chosen class that ``classes`` has not, or without any video.
    """
    numbers = ClassNumbers(classes)
    new = {numbers.of(name, "the choice of classes"): label for label, name in enumerate(chosen)}
    kept = [Video(path, new[label]) for path, label in videos if label in new]
    empty = set(range(len(chosen))) - {video.label for video in kept}
    if empty:
        raise ValueError(f"{len(empty)} of {len(chosen)} classes have no video in the list, among them "
                         f"{quoted(chosen[min(empty)])}")
    return kept


def stem(path: str) -> str:
    """A video's name without folders and suffix: what stays the same from one copy of a data set to the next."""
    name = PurePosixPath(path.replace("\\", "/"))
    return name.stem if name.suffix.lower() in SUFFIXES else name.name


def _key(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _check(split: int, subset: str) -> None:
    if split not in (1, 2, 3) or subset not in SUBSETS:
        raise ValueError(f"no split {split}, {quoted(subset)}; there are 1, 2 and 3, each with {' and '.join(SUBSETS)}")


def _agree(number: str, expected: int, name: str, where: str) -> None:
    if number.strip() != str(expected):
        raise ValueError(f"{where}: {quoted(name)} has the number {quoted(number)}, in the class list it is {expected} "
                         "from 1")


def _not_empty(videos: list[Video], path: str | Path) -> list[Video]:
    if not videos:
        raise ValueError(f"{path} lists no video")
    return videos
