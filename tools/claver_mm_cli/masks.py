"""Draw the masks of the Kronecker attention family (figure 2, right), or a model's attention under its own.

    claver masks docs/masks.png                                   # all patterns, T=3, L=4
    claver masks masks.pdf --frames 4 --tokens 5 --patterns kmt kmct
    claver masks attention.png --config CONFIG --checkpoint WEIGHTS --video VIDEO     # layers and heads

Letters: T frames of a clip, L tokens of a frame (class token first), S = T * L tokens of a clip, H heads.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from .options import CONFIG

PATTERNS = ("kmt", "kmct", "joint", "spatial", "pipeline", "class_token")


def NEEDS_HOST(args: argparse.Namespace) -> bool:  # noqa: N802
    return args.config is not None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="picture: .png, .pdf or .svg")
    parser.add_argument("--frames", type=int, default=3, help="T of the masks")
    parser.add_argument("--tokens", type=int, default=4, help="L of the masks")
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=list(PATTERNS), metavar="PATTERN",
                        help=f"of {', '.join(PATTERNS)}")
    parser.add_argument("--config", help=f"{CONFIG}; with --checkpoint and --video: attention matrices instead of "
                        "masks")
    parser.add_argument("--checkpoint")
    parser.add_argument("--video")
    parser.add_argument("--device")


def run(args: argparse.Namespace) -> None:
    given = [name for name in ("config", "checkpoint", "video") if getattr(args, name)]
    if given and len(given) < 3:
        raise ValueError(f"--config, --checkpoint and --video go together, got --{' and --'.join(given)} alone")
    if args.out.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"out must end in .png, .pdf or .svg, got {str(args.out)!r}")

    from claver_mm.explain.masks import draw_attention, draw_masks, model_attention

    if given:
        from claver_mm import Recognizer
        recognizer = Recognizer(args.config, args.checkpoint, args.device)
        figure = draw_attention(*model_attention(recognizer.claver, recognizer.view(args.video).clip),
                                class_tokens=recognizer.claver.clip.tower.num_prefix > 0)
    else:
        figure = draw_masks(args.patterns, args.frames, args.tokens)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=150)
    print(args.out)
