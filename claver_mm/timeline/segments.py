"""From scores along a video to segments. Pure: imports NumPy alone.

Letters: ``N`` times, ``C`` labels.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Segment(NamedTuple):
    """A stretch of a video that shows a label."""
    label: str
    start: float
    """Seconds."""
    end: float
    score: float
    """Mean probability of the label within."""


def segments(edges: np.ndarray, scores: np.ndarray, labels: Sequence[str], *, threshold: float = 0.5,
             low: float | None = None, shortest: float = 0.0, gap: float = 0.0) -> list[Segment]:
    """Stretches in which labels are seen, by their beginnings.

    With hysteresis, so that a score that trembles about a threshold does not make many of one: a segment has to reach
    ``threshold`` somewhere, and goes on both ways as long as ``low`` is held. Segments of a label that are less than
    ``gap`` apart become one; then those shorter than ``shortest`` go.

    Args:
        edges: Seconds, ``(N + 1,)``; score ``n`` is that of the time from edge ``n`` to the next.
        scores: Probabilities, ``(N, C)``.
        labels: ``C`` names.
        threshold, low: Probabilities; ``low`` is four fifths of ``threshold`` when None.
        shortest, gap: Seconds.

    Raises:
        ValueError: Bounds that make no sense, or arrays that do not fit.
    """
    low = 0.8 * threshold if low is None else low
    if not 0 < low <= threshold <= 1:
        raise ValueError(f"0 < low <= threshold <= 1 is needed, got low={low:g} and threshold={threshold:g}")
    if shortest < 0 or gap < 0:
        raise ValueError(f"shortest and gap are seconds, got {shortest:g} and {gap:g}")
    if scores.shape != (len(edges) - 1, len(labels)):
        raise ValueError(f"scores {scores.shape} do not fit {len(edges) - 1} times and {len(labels)} labels")
    found = []
    for number, label in enumerate(labels):
        column = scores[:, number]
        runs = [(first, last) for first, last in _runs(column >= low) if column[first:last].max() >= threshold]
        merged: list[tuple[int, int]] = []
        for first, last in runs:
            if merged and edges[first] - edges[merged[-1][1]] < gap:
                first = merged.pop()[0]
            merged.append((first, last))
        for first, last in merged:
            if edges[last] - edges[first] >= shortest:
                weights = np.diff(edges[first:last + 1])
                found.append(Segment(label, float(edges[first]), float(edges[last]),
                                     float(np.average(column[first:last], weights=weights))))
    return sorted(found, key=lambda segment: (segment.start, segment.end, segment.label))


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """``(first, last + 1)`` of each stretch of true values."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist()))
