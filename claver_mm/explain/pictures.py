"""Explanations as pictures for a paper's column, and as the frames of a film.

Pure: imports NumPy, OpenCV, Matplotlib and nothing of ``mm*``.
Letters: ``T`` frames, ``H, W`` pixels, ``h, w`` patches of a frame down and across.

Frames are grey and dark under their maps, so that relevance shows as light, on a screen, in a grey print and to
colour-blind readers alike. Each map is scaled by its largest value over the whole clip: frames of a row compare.
"""
from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from .explanation import Explanation

MAP_COLOURS = matplotlib.colormaps["inferno"]
WORD_COLOURS = matplotlib.colormaps["Oranges"]
MAPS = {"spatial": "spatial", "temporal": "temporal", "combined": "both"}
"""Maps of an explanation by field, and what they are called: of the image tower, of the temporal transformer, of both
one after the other."""

PICTURES = (".png", ".pdf", ".svg")
COLUMN_WIDTH, PAGE_WIDTH = 3.25, 6.9  # inches
DPI = 200
LINE = 0.22  # inches


def overlays(explanation: Explanation, name: str) -> np.ndarray:
    """Frames under one of ``MAPS``: RGB, uint8, ``(T, H, W, 3)``; small frames are drawn larger."""
    frames = enlarged(explanation.frames)
    relevance = getattr(explanation, name)
    relevance = relevance / max(relevance.max(), np.finfo(np.float32).tiny)
    H, W = frames.shape[1:3]
    strength = np.stack([cv2.resize(one.astype(np.float32), (W, H), interpolation=cv2.INTER_CUBIC)
                         for one in relevance]).clip(0, 1)
    grey = frames @ np.array([0.299, 0.587, 0.114]) / 255 * 0.6
    alpha = strength[..., None] ** 0.7
    return np.rint(255 * (grey[..., None] * (1 - alpha) + MAP_COLOURS(strength)[..., :3] * alpha)).astype(np.uint8)


def enlarged(frames: np.ndarray, side: int = 160) -> np.ndarray:
    """Frames ``(T, H, W, 3)`` magnified by a whole factor until their short side has ``side`` pixels."""
    factor = -(-side // min(frames.shape[1:3]))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def word_shades(explanation: Explanation) -> list[tuple[str, tuple[float, float, float]]]:
    """Each word with its background, RGB from 0 to 1, never too dark for black letters; white where words are not
    explained."""
    if explanation.words is None:
        return [(word, (1.0, 1.0, 1.0)) for word in explanation.text.split()]
    largest = max((value for _, value in explanation.words), default=0) or 1
    return [(word, WORD_COLOURS(0.75 * value / largest)[:3]) for word, value in explanation.words]


def draw_explanation(explanation: Explanation, path: str | Path, width: float = PAGE_WIDTH,
                     max_frames: int = 8) -> None:
    """Write ``explanation_figure`` to a file whose suffix says its kind (``PICTURES``)."""
    explanation_figure(explanation, width, max_frames).savefig(path)


def explanation_figure(explanation: Explanation, width: float = PAGE_WIDTH, max_frames: int = 8) -> Figure:
    """Words, frames, maps and labels in one picture.

    Args:
        width: In inches; ``COLUMN_WIDTH`` and ``PAGE_WIDTH`` are those of a paper.
        max_frames: More frames than this are thinned out evenly.

    Raises:
        ValueError: A width or a number of frames that shows nothing.
    """
    if width < 2 or max_frames < 1:
        raise ValueError(f"width must be at least 2 inches and max_frames at least 1, got {width} and {max_frames}")
    T = len(explanation.frames)
    chosen = np.unique(np.linspace(0, T - 1, min(T, max_frames)).round().astype(int))
    rows = image_rows(explanation)
    margin, H, W = 0.75, *explanation.frames.shape[1:3]
    gap = 0.04
    cell = (width - margin) / len(chosen) - gap
    lines = word_lines(explanation, width)
    heights = [LINE * len(lines) + 0.12, *[cell * H / W + gap] * len(rows), ranking_height(explanation)]
    figure = Figure(figsize=(width, sum(heights) + 0.2), dpi=DPI)
    FigureCanvasAgg(figure)
    edges = 1 - np.cumsum([0.04, *heights]) / figure.get_figheight()
    draw_words(lines, figure, top=0.04)
    for number, (label, images) in enumerate(rows.items()):
        bottom, height = edges[number + 2], cell * H / W / figure.get_figheight()
        for column, t in enumerate(chosen):
            axis = figure.add_axes(((margin + column * (cell + gap)) / width, bottom, cell / width, height))
            axis.imshow(images[t], interpolation="nearest", aspect="auto")
            axis.axis("off")
            if number == 0:
                axis.text(0.04, 0.94, explanation.frame_numbers[t], transform=axis.transAxes, fontsize=5.5, va="top",
                          color="white", bbox=dict(facecolor="black", alpha=0.55, pad=1, linewidth=0))
        figure.text((margin - 0.06) / width, bottom + height / 2, label, fontsize=6.5, ha="right", va="center")
    draw_ranking(explanation, figure, bottom=0.16)
    return figure


def image_rows(explanation: Explanation) -> dict[str, np.ndarray]:
    """The frames, and the frames under each map, by name; ``(T, H, W, 3)`` each.

    Without a temporal transformer its map is left out, and so is that of both; maps that are None are as well.
    """
    names = [name for name in (MAPS if explanation.temporal.any() else ["spatial"])
             if getattr(explanation, name) is not None]
    return {"frame": enlarged(explanation.frames)} | {MAPS[name]: overlays(explanation, name) for name in names}


def word_lines(explanation: Explanation, width: float, size: float = 8) -> list[list[tuple]]:
    """The words of the text, similarity and what is not explained at the end, broken into lines of ``width`` inches.

    Each word is ``(x, word, shade, font size)``, ``x`` in inches; what comes after the text has no shade, None.
    """
    about = f"similarity {explanation.similarity:.3f}"
    if explanation.against:
        about += f", against {len(explanation.against)} other" + "s" * (len(explanation.against) > 1)
    margin, gap = 0.06, 0.075
    x = margin
    lines: list[list[tuple]] = [[]]
    notes = [about, *" ".join(f"({note})" for note in explanation.absent).split()]
    for word, shade, points in [*((*entry, size) for entry in word_shades(explanation)),
                                *((note, None, size - 2) for note in notes)]:
        length = text_to_path.get_text_width_height_descent(word, FontProperties(size=points), ismath=False)[0] / 72
        if x + length > width - margin and lines[-1]:
            x = margin
            lines.append([])
        lines[-1].append((x, word, shade, points))
        x += length + gap
    return lines


def draw_words(lines: list[list[tuple]], figure: Figure, top: float) -> None:
    """Draw ``word_lines`` from ``top`` inches below the figure's upper edge on."""
    width, height = figure.get_size_inches()
    for number, line in enumerate(lines):
        for x, word, shade, points in line:
            box = None if shade is None else dict(facecolor=shade, pad=1.6, linewidth=0)
            figure.text(x / width, 1 - (top + LINE * (number + 0.65)) / height, word, fontsize=points, va="baseline",
                        color="0.35" if shade is None else "black", bbox=box, parse_math=False)


def ranking_height(explanation: Explanation) -> float:
    """Inches that ``draw_ranking`` takes, margins included."""
    return 0.19 * len(explanation.ranked) + 0.12


def draw_ranking(explanation: Explanation, figure: Figure, bottom: float = 0) -> None:
    """Labels, cut where there is no room, and their probabilities as bars, from ``bottom`` inches above the figure's
    lower edge on; the explained text stands out."""
    width, height = figure.get_size_inches()
    axis = figure.add_axes((0.36, (bottom + 0.06) / height, 0.56, (ranking_height(explanation) - 0.12) / height))
    letters = int(0.36 * width / 0.063)
    labels = [label for label, _ in explanation.ranked]
    scores = [100 * score for _, score in explanation.ranked]
    own = [label == (explanation.label or explanation.text) for label in labels]
    axis.barh(range(len(labels)), scores, 0.7, color=["#D55E00" if mine else "0.6" for mine in own])
    for row, score in enumerate(scores):
        axis.text(score + 1, row, f"{score:.1f} %", fontsize=6, va="center")
    axis.set(xlim=(0, 112), ylim=(len(labels) - 0.5, -0.5), xticks=[])
    axis.set_yticks(range(len(labels)), [_shortened(label, letters) for label in labels], fontsize=6.5,
                    parse_math=False)
    for label, mine in zip(axis.get_yticklabels(), own):
        label.set_fontweight("bold" if mine else "normal")
    axis.tick_params(length=0)
    axis.spines[["top", "right", "bottom"]].set_visible(False)


def _shortened(label: str, length: int) -> str:
    return label if len(label) <= length else label[:length - 1] + "…"
