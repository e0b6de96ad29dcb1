"""The masks of the Kronecker attention family (figure 2, right), and what a model's attention looks like under its own.

Pure: imports nothing of ``mm*``.
Letters: ``T`` frames of a clip, ``L`` tokens of a frame (class token first), ``S = T * L`` tokens of a clip, ``H``
heads.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation
from torch import Tensor

from ..attention import PATTERNS, may_see
from .evaluation import temporal_transformer
from .rank import watch_attention

if TYPE_CHECKING:
    from ..model import CLAVER

MOST_TOKENS = 256
"""Tokens of a clip whose mask can be drawn."""
PAGE = 6.9  # inches, the text of a paper's page
BLOCKED, SEEN, CLASS = "#F2F2F2", "#0072B2", "#E69F00"  # light, dark and medium in a grey print
STYLE: dict[Any, Any] = {"font.size": 7, "axes.titlesize": 8, "mathtext.fontset": "stix", "axes.linewidth": 0.6}
NAMES = {"kmt": "KMT", "kmct": "KMCT, causal", "joint": "joint", "spatial": "spatial", "pipeline": "pipeline",
         "class_token": "class token only"}
FORMULAS: dict[str, tuple[str, Callable[[int, int], np.ndarray]]] = {
    "kmt": (r"$I_T \otimes (1_L - I_L)$", lambda T, L: np.kron(I(T), J(L) - I(L))),
    "kmct": (r"$I_T \otimes (1_L - I_L) + U_T \otimes 1_L$",
             lambda T, L: np.kron(I(T), J(L) - I(L)) + np.kron(np.triu(J(T), 1), J(L))),
    "joint": ("nothing", lambda T, L: 0 * J(T * L)),
    "spatial": (r"$(1_T - I_T) \otimes 1_L$", lambda T, L: np.kron(J(T) - I(T), J(L))),
    "pipeline": (r"$1_T \otimes (1_L - I_L)$", lambda T, L: np.kron(J(T), J(L) - I(L))),
    "class_token": (r"$1_T \otimes (1_L - E_L) - I_T \otimes (I_L - E_L)$",
                    lambda T, L: np.kron(J(T), J(L) - E(L)) - np.kron(I(T), I(L) - E(L))),
}
"""The blocked pairs of each pattern: as it is written above its panel, and as a matrix ``(S, S)``. ``I`` is the
identity, ``1`` all ones, ``U`` strictly upper triangular, ``E`` has its first entry alone."""


def I(size: int) -> np.ndarray:  # noqa: E743  the letters of the formulas
    return np.eye(size, dtype=int)


def J(size: int) -> np.ndarray:
    return np.ones((size, size), dtype=int)


def E(size: int) -> np.ndarray:
    return np.diag(np.arange(size) == 0).astype(int)


@matplotlib.rc_context(STYLE)
def draw_masks(patterns: Sequence[str] = tuple(PATTERNS), T: int = 3, L: int = 4) -> Figure:
    """A panel for each pattern, three in a row: query tokens downwards, key tokens to the right.

    Raises:
        ValueError: An unknown pattern, or more than ``MOST_TOKENS`` tokens.
    """
    unknown = [pattern for pattern in patterns if pattern not in PATTERNS]
    if unknown or not patterns:
        raise ValueError(f"unknown pattern {unknown or None}; known are {', '.join(PATTERNS)}")
    if not 1 <= T * L <= MOST_TOKENS or min(T, L) < 1:
        raise ValueError(f"{T} frames of {L} tokens: 1 to {MOST_TOKENS} tokens can be drawn in all")
    columns = min(3, len(patterns))
    rows = -(-len(patterns) // columns)
    figure = Figure(figsize=(PAGE if columns > 1 else PAGE / 2, 0.5 + (0.32 + PAGE / max(columns, 2)) * rows),
                    layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    tokens = torch.arange(T * L)
    for axis, pattern in zip(axes, patterns):
        axis.imshow(may_see(pattern, tokens, tokens, L).numpy(), cmap=ListedColormap([BLOCKED, SEEN]), vmin=0, vmax=1)
        for edge in np.arange(T * L + 1) - 0.5:  # a border round every token, a strong one round every frame
            whole = (edge + 0.5) % L == 0
            for line in (axis.axhline, axis.axvline):
                line(edge, color="black" if whole else "white", linewidth=1 if whole else 0.5, zorder=3 if whole else 2)
        mark_class_tokens(axis, T, L, size=4)
        middles = np.arange(T) * L + (L - 1) / 2
        axis.set(xticks=middles, yticks=middles, xticklabels=[f"frame {t + 1}" for t in range(T)])
        axis.set_yticklabels([f"frame {t + 1}" for t in range(T)], rotation=90, va="center")
        axis.tick_params(length=0, pad=5)
        axis.set_title(f"{NAMES[pattern]}\nblocks {FORMULAS[pattern][0]}", pad=9)
        axis.set(xlabel="keys", ylabel="queries")
        axis.label_outer(remove_inner_ticks=False)
    for axis in axes[len(patterns):]:
        axis.axis("off")
    figure.legend(handles=[
        Patch(facecolor=SEEN, label="query sees key"),
        Patch(facecolor=BLOCKED, edgecolor="0.6", linewidth=0.5, label="blocked"),
        Line2D([], [], linestyle="none", marker="o", markersize=4, color=CLASS, markeredgecolor="black",
               markeredgewidth=0.5, label="class token"),
        Line2D([], [], color="black", linewidth=1, label="border of a frame")],
        loc="outside lower center", ncols=4 if columns > 1 else 2, frameon=False)
    return figure


def mark_class_tokens(axis: Axes, T: int, L: int, size: float) -> None:
    """A dot of ``size`` points at the row and the column of every class token, just outside the matrix."""
    style: dict[str, Any] = dict(linestyle="none", marker="o", markersize=size, color=CLASS, markeredgecolor="black",
                 markeredgewidth=0.5 * size / 4, clip_on=False)
    first, gap, scale = np.arange(T) * L, (size / 2 + 1) / 72, axis.figure.dpi_scale_trans
    axis.plot(first, np.ones(T), transform=axis.get_xaxis_transform() + ScaledTranslation(0, gap, scale), **style)
    axis.plot(np.zeros(T), first, transform=axis.get_yaxis_transform() + ScaledTranslation(-gap, 0, scale), **style)


@matplotlib.rc_context(STYLE)
def draw_attention(matrices: list[np.ndarray], pattern: str, T: int, class_tokens: bool = True) -> Figure:
    """Attention matrices ``(H, S, S)`` of each layer, a row of panels for a layer, a column for a head.

    ``class_tokens``: whether frames begin with one, to be marked.
    """
    H, S = matrices[0].shape[:2]
    side = (PAGE - 0.9) / max(H, 3)
    figure = Figure(figsize=(PAGE if H > 2 else 0.9 + side * H, 0.45 + (side + 0.12) * len(matrices)),
                    layout="constrained")
    axes = figure.subplots(len(matrices), H, squeeze=False)
    seen = np.concatenate([weights[weights > 0] for weights in matrices])
    norm = LogNorm(max(np.quantile(seen, 0.02), seen.max() * 1e-6), seen.max())
    colours = matplotlib.colormaps["cividis"].with_extremes(bad="white")
    for layer, (row, weights) in enumerate(zip(axes, matrices)):
        for head, axis in enumerate(row):
            image = axis.imshow(np.ma.masked_equal(weights[head], 0), cmap=colours, norm=norm, interpolation="nearest")
            for edge in np.arange(1, T) * S / T - 0.5:
                axis.axhline(edge, color="white", linewidth=0.4)
                axis.axvline(edge, color="white", linewidth=0.4)
            axis.set(xticks=[], yticks=[])
            if layer == 0:
                axis.set_title(f"head {head}", fontsize=7, pad=6)
            if class_tokens:
                mark_class_tokens(axis, T, S // T, size=2)
        row[0].set_ylabel(f"layer {layer}", labelpad=6)
    bar = figure.colorbar(image, ax=axes, extend="min", fraction=0.05, aspect=30)
    bar.set_label("attention, blocked pairs white")
    figure.suptitle(f"{NAMES[pattern]}: T = {T}, S = {S}", fontsize=8)
    return figure


def model_attention(model: CLAVER, clip: Tensor) -> tuple[list[np.ndarray], str, int]:
    """Attention matrices ``(H, S, S)`` of each layer for a clip ``(1, 3, T, h, w)``, their pattern and ``T``."""
    transformer = temporal_transformer(model)
    matrices: list[np.ndarray] = []
    with torch.no_grad(), watch_attention(
            transformer, lambda layer, weights, T: matrices.append(weights[0].cpu().numpy())):
        model.mix(model.image_tokens(clip))
    return matrices, transformer.pattern, clip.shape[2]
