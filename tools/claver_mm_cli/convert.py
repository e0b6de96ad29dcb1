"""Turn a checkpoint of the published CLAVER code, or of a training here, into weights of this project alone.

    claver convert published.pth claver.pth --config claver_b16_k400
    claver convert work_dirs/claver_b16_k400/epoch_60.pth claver.pth     # to be published
"""
from __future__ import annotations

import argparse

from .options import CONFIG


def NEEDS_HOST(args: argparse.Namespace) -> bool:  # noqa: N802
    return args.config is not None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="checkpoint of the published code (.pth, .pt, .safetensors), or of a training")
    parser.add_argument("target", help="file to write (.pth)")
    parser.add_argument("--config", help=f"{CONFIG}; its sizes are checked against the weights")


def run(args: argparse.Namespace) -> None:
    from claver_mm.weights.convert import convert_checkpoint

    done = convert_checkpoint(args.source, args.target, args.config)
    frames = "" if done.frames is None else f", for clips of {done.frames} frames"
    check = f"fit {args.config}" if args.config else "give --config to check their sizes"
    print(f"{args.target}: {done.tensors} tensors, {done.values / 1e6:.1f} M values{frames}; {check}" +
          (f"; {done.cast} tensors became float32" if done.cast else ""))
