"""Few-shot training lists: K videos of each class, drawn here or published by others (paper, appendix D).

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..messages import quoted, shown
from .annotations import read_annotations
from .lists import Video, stem

SHOTS = (2, 4, 8, 16)


def draw_few_shot(videos: Sequence[Video], classes: Sequence[str], shots: int, seed: int = 0) -> list[Video]:
    """``shots`` videos of each class, class after class.

    The videos of a class are put in the order of the SHA-256 of ``"<seed>:<name>"``, with the video's name without
    folders and suffix, and the first ones are taken. So the draw is the same on every machine and in every version of
    Python, whatever order the list is in and wherever or in which format the videos lie; the draw of 2 is part of the
    draw of 4.

    Raises:
        ValueError: A class with fewer videos, or a video that the list has twice.
    """
    if shots < 1:
        raise ValueError(f"shots must be at least 1, got {shots}")
    of_class: list[list[Video]] = [[] for _ in classes]
    for video in _by_stem(videos).values():
        of_class[video.label].append(video)
    for name, some in zip(classes, of_class):
        if len(some) < shots:
            raise ValueError(f"class {quoted(name)} has {len(some)} training videos, {shots} are to be drawn")
    return [video for some in of_class for video in sorted(some, key=lambda video: _rank(video, seed))[:shots]]


def read_few_shot(path: str | Path, videos: Sequence[Video], classes: Sequence[str], shots: int) -> list[Video]:
    """The training videos that a published few-shot file names, as the local list has them.

    Args:
        path: Lines ``file label``; the file with or without suffix and folders, labels as in ``classes``.
        videos: The local training list.
        classes: The class list.
        shots: ``K``, which every class must have in the file.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Videos that the local list has not, a label that differs from the local one, a video named twice,
            or a class with another number of videos than ``shots``.
    """
    local, found, unknown = _by_stem(videos), {}, []
    for number, _, name, (label,) in read_annotations(path):
        where = f"{path}, line {number}"
        video = local.get(stem(name))
        if video is None:
            unknown.append(f"{shown(name)} ({where.rpartition(', ')[2]})")
            continue
        if video.label != label:
            raise ValueError(f"{where}: {shown(name)} has the label {label}, in the local list it is {video.label} "
                             f"({quoted(classes[video.label])}); was the file made for other classes?")
        if stem(name) in found:
            raise ValueError(f"{where}: {shown(name)} stands there twice")
        found[stem(name)] = video
    if unknown:
        raise ValueError(f"{path} names {len(unknown)} videos that the local training list has not: "
                         f"{', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}; is it for this data set and "
                         "split?")
    counts = Counter(video.label for video in found.values())
    for label, name in enumerate(classes):
        if counts[label] != shots:
            raise ValueError(f"{path} has {counts[label]} videos of class {quoted(name)}, {shots} are expected")
    return list(found.values())


def _rank(video: Video, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{stem(video.path)}".encode()).hexdigest()


def _by_stem(videos: Sequence[Video]) -> dict[str, Video]:
    named: dict[str, Video] = {}
    for video in videos:
        other = named.setdefault(stem(video.path), video)
        if other is not video:
            raise ValueError(f"the training list has the video {quoted(stem(video.path))} twice: {shown(other.path)}, "
                             f"{shown(video.path)}")
    return named
