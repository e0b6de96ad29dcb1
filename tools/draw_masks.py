#!/usr/bin/env python
"""The masks of the Kronecker attention family (figure 2, right), and what a model's attention looks like under its own.

    python tools/draw_masks.py docs/masks.png                                   # all patterns, T=3, L=4
    python tools/draw_masks.py masks.pdf --frames 4 --tokens 5 --patterns kmt kmct
    python tools/draw_masks.py attention.png --config CONFIG --checkpoint WEIGHTS --video VIDEO     # layers and heads

Letters: T frames of a clip, L tokens of a frame (class token first), S = T * L tokens of a clip, H heads.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from claver_mm.attention import PATTERNS, may_see

PAGE = 6.9  # inches, the text of a paper's page
BLOCKED, SEEN, CLASS = "#F2F2F2", "#0072B2", "#E69F00"  # light, dark and medium in a grey print
STYLE = {"font.size": 7, "axes.titlesize": 8, "mathtext.fontset": "stix", "axes.linewidth": 0.6}
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


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="picture: .png, .pdf or .svg")
    parser.add_argument("--frames", type=int, default=3, help="T of the masks")
    parser.add_argument("--tokens", type=int, default=4, help="L of the masks")
    parser.add_argument("--patterns", nargs="+", choices=list(PATTERNS), default=list(PATTERNS), metavar="PATTERN",
                        help=f"of {', '.join(PATTERNS)}")
    parser.add_argument("--config", help="with --checkpoint and --video: attention matrices instead of masks")
    parser.add_argument("--checkpoint")
    parser.add_argument("--video")
    parser.add_argument("--device")
    options = parser.parse_args(arguments)
    if not 1 <= options.frames * options.tokens <= 256 or min(options.frames, options.tokens) < 1:
        parser.error(f"{options.frames} frames of {options.tokens} tokens: 1 to 256 tokens can be drawn in all")
    given = [name for name in ("config", "checkpoint", "video") if getattr(options, name)]
    if given and len(given) < 3:
        parser.error(f"--config, --checkpoint and --video go together, got --{' and --'.join(given)} alone")
    if options.out.suffix not in (".png", ".pdf", ".svg"):
        parser.error(f"out must end in .png, .pdf or .svg, got {str(options.out)!r}")
    return options


@matplotlib.rc_context(STYLE)
def draw_masks(patterns: list[str], T: int, L: int) -> Figure:
    """A panel for each pattern, three in a row: query tokens downwards, key tokens to the right."""
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
    style = dict(linestyle="none", marker="o", markersize=size, color=CLASS, markeredgecolor="black",
                 markeredgewidth=0.5 * size / 4, clip_on=False)
    first, gap, scale = np.arange(T) * L, (size / 2 + 1) / 72, axis.figure.dpi_scale_trans
    axis.plot(first, np.ones(T), transform=axis.get_xaxis_transform() + ScaledTranslation(0, gap, scale), **style)
    axis.plot(np.zeros(T), first, transform=axis.get_yaxis_transform() + ScaledTranslation(-gap, 0, scale), **style)


@matplotlib.rc_context(STYLE)
def draw_attention(matrices: list[np.ndarray], pattern: str, T: int) -> Figure:
    """Attention matrices ``(H, S, S)`` of each layer, a row of panels for a layer, a column for a head."""
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
            mark_class_tokens(axis, T, S // T, size=2)
        row[0].set_ylabel(f"layer {layer}", labelpad=6)
    bar = figure.colorbar(image, ax=axes, extend="min", fraction=0.05, aspect=30)
    bar.set_label("attention, blocked pairs white")
    figure.suptitle(f"{NAMES[pattern]}: T = {T}, S = {S}", fontsize=8)
    return figure


def model_attention(options: argparse.Namespace) -> tuple[list[np.ndarray], str, int]:
    """Attention matrices ``(H, S, S)`` of each layer for the view of the config's validation, their pattern and T."""
    from claver_mm import Recognizer
    from claver_mm.explain.evaluation import temporal_transformer
    from claver_mm.explain.rank import watch_attention
    recognizer = Recognizer(options.config, options.checkpoint, options.device)
    transformer, matrices, lengths = temporal_transformer(recognizer.model), [], []

    def keep(_: int, weights: torch.Tensor, T: int) -> None:
        matrices.append(weights[0].cpu().numpy())
        lengths.append(T)

    clip = recognizer.view(options.video).clip
    with watch_attention(transformer, keep), torch.no_grad():
        recognizer.model.neck(recognizer.model.backbone(clip))
    return matrices, transformer.pattern, lengths[0]


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        figure = draw_attention(*model_attention(options)) if options.config else \
            draw_masks(options.patterns, options.frames, options.tokens)
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=150)
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
