"""Accuracy by class, and which classes are taken for which. Pure: imports nothing of ``mm*``."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class ClassResult(NamedTuple):
    """Videos of one class; ``accuracy`` is None where there are none."""
    name: str
    videos: int
    right: int
    accuracy: float | None
    unreadable: int


class Confusion(NamedTuple):
    """So many videos of class ``true`` were taken for ``recognised``."""
    true: str
    recognised: str
    videos: int


class ClassReport(NamedTuple):
    """Results of a test; accuracies are shares from 0 to 1."""
    videos: int
    right: dict[int, int]
    """Videos whose class is among the first k, by k."""
    mean_class_accuracy: float
    """Over classes that have videos."""
    classes: list[ClassResult]
    """In the order of the labels."""
    confusions: list[Confusion]
    """From the most frequent on."""

    def as_dict(self) -> dict:
        """As plain data, to be written as JSON."""
        accuracies = {f"top{k}": right / self.videos for k, right in self.right.items()}
        return dict(videos=self.videos, **accuracies, right={f"top{k}": right for k, right in self.right.items()},
                    mean_class_accuracy=self.mean_class_accuracy,
                    classes=[entry._asdict() for entry in self.classes],
                    confusions=[entry._asdict() for entry in self.confusions])

    def table(self, rows: int = 10) -> str:
        """For a person: totals, the worst classes and the worst confusions, at most ``rows`` of each."""
        tested = [entry for entry in self.classes if entry.videos]
        lines = [", ".join([f"top-{k} {100 * right / self.videos:.1f} % ({right} of {self.videos})"
                            for k, right in self.right.items()]
                           + [f"mean of {len(tested)} classes {100 * self.mean_class_accuracy:.1f} %"])]
        if missed := sum(entry.unreadable for entry in tested):
            lines.append(f"{missed} videos could not be read and count as wrong")
        worst = sorted((one for one in tested if one.right < one.videos), key=lambda one: one.right / one.videos)
        if worst:
            taken_for: dict[str, str] = {}
            for confusion in self.confusions:
                taken_for.setdefault(confusion.true, f"{_short(confusion.recognised)} ({confusion.videos})")
            head = ("worst classes", "videos", "right", "accuracy", "mostly taken for")
            lines += ["", *_columns([head, *(
                (_short(entry.name), str(entry.videos), str(entry.right), f"{100 * entry.right / entry.videos:.1f} %",
                 taken_for.get(entry.name, "")) for entry in worst[:rows])], "<>>><")]
        if self.confusions:
            lines += ["", *_columns([("worst confusions", "", "videos"), *(
                (_short(one.true), f"as {_short(one.recognised)}", str(one.videos)) for one in self.confusions[:rows])],
                "<<>")]
        return "\n".join(lines)


def class_report(scores: ArrayLike, labels: ArrayLike, names: Sequence[str] | None = None,
                 topk: Sequence[int] = (1, 5)) -> ClassReport:
    """Counts of a test.

    Args:
        scores: ``(videos, classes)``; -inf for the class of a video that could not be read, which is then taken for
            none.
        labels: The class of each video.
        names: Of the classes, their numbers when None.
        topk: Ranks to count up to; those that take in all classes are left out.

    Raises:
        ValueError: No video, a number of names or labels that does not fit, or a label that is no class.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or not len(scores) or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores must be (videos, classes) with a label for each video; got {scores.shape} and "
                         f"{labels.shape}")
    count = scores.shape[1]
    names = list(map(str, range(count))) if names is None else list(names)
    if len(names) != count:
        raise ValueError(f"{len(names)} names for {count} classes")
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(f"labels from {labels.min()} to {labels.max()} are none of the {count} classes, which count "
                         "from 0")
    order = np.argsort(scores, axis=1)[:, ::-1]  # as the host's accuracies rank, ties as well
    place = (order == labels[:, None]).argmax(axis=1)
    unreadable = np.isneginf(scores[np.arange(len(labels)), labels])
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (labels[~unreadable], order[~unreadable, 0]), 1)
    videos, missed, right = np.bincount(labels, minlength=count), np.bincount(labels[unreadable], minlength=count), \
        matrix.diagonal()
    classes = [ClassResult(name, int(n), int(r), float(r / n) if n else None, int(m))
               for name, n, r, m in zip(names, videos, right, missed)]
    wrong = np.argwhere(matrix * (1 - np.eye(count, dtype=np.int64)))
    confusions = sorted((Confusion(names[i], names[j], int(matrix[i, j])) for i, j in wrong),
                        key=lambda one: -one.videos)
    return ClassReport(
        len(labels), {k: int((~unreadable & (place < k)).sum()) for k in topk if k == 1 or k < count},
        float(np.mean([entry.accuracy for entry in classes if entry.videos])), classes, confusions)


def _short(name: str, length: int = 40) -> str:
    return name if len(name) <= length else f"{name[:length - 3]}..."


def _columns(rows: Sequence[tuple[str, ...]], sides: str) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths)).rstrip()
            for row in rows]
