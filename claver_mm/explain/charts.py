"""Results of the studies as Markdown tables and as charts that suit a paper's column (3.4 in) or page (6.9 in).

What they take are the records of ``studies.py``, also as read from JSON. Pure: imports nothing of ``mm*``.
Letters: ``T`` frames of a clip, ``S`` its tokens.
"""
from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import cycle, groupby
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .studies import OrderRecord, RankRecord, ShufflingRecord

COLOURS = ("#0072B2", "#E69F00", "#000000", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")  # Okabe and Ito
MARKERS = "osD^vP*X"
CLASSES_SHOWN = 20
STYLE: dict[Any, Any] = {"font.size": 8, "axes.titlesize": 8, "figure.titlesize": 8, "axes.spines.top": False,
         "axes.spines.right": False}


def tabulate_shuffling(record: ShufflingRecord) -> str:
    """Accuracy and similarity, and what shuffling changes, with the standard error of the mean over videos."""
    lines = [f"| {record['pattern']}, {record['videos']} videos | accuracy | change | similarity | change |",
             "|---|---|---|---|---|"]
    for row in record["rows"]:
        changes = ("", "")
        if "change" in row:
            change, error = row["change"], row["standard_error"]
            changes = (f"{100 * change['accuracy']:+.1f} ± {100 * error['accuracy']:.1f}",
                       f"{change['similarity']:+.3f} ± {error['similarity']:.3f}")
        lines.append(f"| {row['shuffling']} | {100 * row['accuracy']:.1f} % | {changes[0]} | "
                     f"{row['similarity']:.3f} | {changes[1]} |")
    return "\n".join(lines)


@matplotlib.rc_context(STYLE)
def draw_shuffling(record: ShufflingRecord) -> Figure:
    """Accuracy and similarity, as they are and with tokens shuffled."""
    figure = Figure(figsize=(3.4, 1.9), layout="constrained")
    names = [row["shuffling"] for row in record["rows"]]
    for axis, key, label in zip(figure.subplots(1, 2), ("accuracy", "similarity"), ("accuracy (%)", "similarity")):
        factor, digits = (100, 1) if key == "accuracy" else (1, 2)
        values = [factor * row[key] for row in record["rows"]]
        bars = axis.bar(names, values, color=COLOURS[:3], width=0.7)
        axis.bar_label(bars, [f"{value:.{digits}f}" for value in values], fontsize=7, padding=1)
        axis.set(ylabel=label, ylim=(1.1 * min(0, *values), 110 if factor == 100 else 1.15 * max(0, *values) or None))
    figure.suptitle(f"{record['pattern']}, tokens shuffled: {record['tokens']}")
    return figure


def tabulate_order(record: OrderRecord) -> str:
    """All videos, then the classes whose answers change least."""
    columns = {"accuracy": "right answer", "changed": "another answer backwards",
               "to_partner": "the partner of the answer", "right_backwards": "the partner of the true class"}
    columns = {key: title for key, title in columns.items() if key in record}
    shown = record["classes"][:CLASSES_SHOWN]
    lines = [f"| {record['pattern']} | videos | {' | '.join(columns.values())} |", "|---" * (len(columns) + 2) + "|"]
    for name, row in (("all", record), *((row["class"], row) for row in shown)):
        cells = ("-" if math.isnan(row[key]) else f"{100 * row[key]:.1f} %" for key in columns)
        lines.append(f"| {name} | {row['videos']} | {' | '.join(cells)} |")
    left = len(record["classes"]) - len(shown)
    return "\n".join(lines) + (f"\n\n({left} more classes, whose answers change more often, in the JSON file)"
                               if left else "")


@matplotlib.rc_context(STYLE)
def draw_order(record: OrderRecord) -> Figure:
    """How often the answer changes, by class, least often on top."""
    rows, series = record["classes"][:CLASSES_SHOWN], dict(changed="another answer", to_partner="the partner's")
    series = {key: label for key, label in series.items() if key in record}
    figure = Figure(figsize=(3.4, 1.1 + 0.24 * len(rows)), layout="constrained")
    axis, height = figure.subplots(), 0.76 / len(series)
    for number, (key, label) in enumerate(series.items()):
        axis.barh(np.arange(len(rows)) + height * (number - (len(series) - 1) / 2),
                  [100 * row[key] for row in rows], 0.95 * height, color=COLOURS[number], label=label)
    axis.set_yticks(range(len(rows)), [row["class"] for row in rows], parse_math=False)
    axis.set(xlim=(0, 100),
             xlabel="videos of the class (%)", title=f"{record['pattern']}, played backwards")
    axis.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def by_layer(record: RankRecord) -> list[dict]:
    """Mean over heads of what is a mean over clips; of conditions the median over heads."""
    rows = []
    for (frames, layer), group in groupby(record["rows"], key=lambda row: (row["frames"], row["layer"])):
        heads = list(group)
        row = dict(frames=frames, layer=layer, tokens=heads[0]["tokens"])
        for key in ("mean_rank", "full_rank", "mean_rank32", "full_rank32"):
            row[key] = statistics.fmean(head[key] for head in heads) / (row["tokens"] if "mean" in key else 1)
        row["median_condition"] = statistics.median(head["median_condition"] or math.inf for head in heads)
        rows.append(row)
    return rows


def tabulate_rank(record: RankRecord) -> str:
    """One row for each number of frames and each layer."""
    lines = [f"| {record['pattern']}, {record['videos']} videos: T | layer | tokens S | rank / S | of full rank "
             "| float32: rank / S | of full rank | median condition |", "|---|---|---|---|---|---|---|---|"]
    for row in by_layer(record):
        shares = (f"{100 * row[key]:.1f} %" for key in ("mean_rank", "full_rank", "mean_rank32", "full_rank32"))
        lines.append(f"| {row['frames']} | {row['layer']} | {row['tokens']} | {' | '.join(shares)} | "
                     f"{row['median_condition']:.1e} |")
    return "\n".join(lines)


@matplotlib.rc_context(STYLE)
def draw_rank(records: Sequence[RankRecord]) -> Figure:
    """Rank and condition against ``T``, a colour for each record and a marker for each layer."""
    figure = Figure(figsize=(6.9, 2.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    lengths = sorted({row["frames"] for record in records for row in record["rows"]})
    for record, colour in zip(records, cycle(COLOURS)):
        rows = sorted(by_layer(record), key=lambda row: (row["layer"], row["frames"]))
        for layer, group in groupby(rows, key=lambda row: row["layer"]):
            own = list(group)
            frames = [row["frames"] for row in own]
            style = dict(color=colour, marker=MARKERS[layer % len(MARKERS)], markersize=4, linewidth=1)
            left.plot(frames, [100 * row["mean_rank"] for row in own], **style,
                      label=f"{record['pattern']}, layer {layer}")
            left.plot(frames, [100 * row["mean_rank32"] for row in own], linestyle=":", **style)
            right.plot(frames, [row["median_condition"] for row in own], **style)
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set(xticks=lengths, xticklabels=lengths, xlabel="frames T")
        axis.minorticks_off()
    left.set(ylabel="rank / S (%)", title="solid: tolerance of float64, dotted: of float32")
    right.set(ylabel="median condition", yscale="log", title="condition")
    figure.legend(loc="outside right center", frameon=False)
    return figure
