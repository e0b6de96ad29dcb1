"""A timeline drawn: each label a row, its probability as a hill, its segments as bars below."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..explain.charts import COLOURS
from ..files import written_whole
from .segments import Segment

if TYPE_CHECKING:
    from .timeline import Timeline

def draw(timeline: Timeline, found: Sequence[Segment], path: str | Path) -> None:
    """Draw a timeline into a file, ``.png``, ``.pdf`` or ``.svg``."""
    from matplotlib.figure import Figure

    rows, edges = len(timeline.labels), timeline.edges
    figure = Figure(figsize=(11, 0.8 + 0.62 * rows), layout="constrained", dpi=150)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for number, (axis, label) in enumerate(zip(axes, timeline.labels)):
        colour = COLOURS[number % len(COLOURS)]
        axis.stairs(timeline.scores[:, number], edges, fill=True, color=colour, alpha=0.45)
        axis.axhline(timeline.threshold, color="0.6", linewidth=0.6, linestyle=":")
        for segment in found:
            if segment.label == label:
                axis.barh(-0.12, segment.end - segment.start, 0.14, segment.start, color=colour)
        axis.set_ylim(-0.22, 1.02)
        axis.set_yticks([0, 1])
        axis.tick_params(labelsize=7)
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlim(edges[0], edges[-1])
    axes[-1].set_xlabel("seconds")
    with written_whole(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower())
