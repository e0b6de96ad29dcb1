"""Write the motion videos: small clips in reversal pairs, which only the order of their frames tells apart.

    claver motion-videos data/motion

writes `train/*.mp4`, `val/*.mp4`, the annotation lists `train.txt` and `val.txt` of MMAction2's `VideoDataset` (paths
relative to the folder), `classes.txt` and `motion.json` (the settings). A second call does nothing; after an
interruption it goes on where the first one stopped.
"""
from __future__ import annotations

import argparse
from pathlib import Path

NEEDS_HOST = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("root", type=Path, help="folder to write to")
    add("--num-train", type=int, default=2000, help="clips for training, all classes together (2000)")
    add("--num-val", type=int, default=400, help="clips for validation, all classes together (400)")
    add("--seed", type=int, default=0, help="other seed, other clips (0)")
    add("--size", type=int, nargs=2, default=(32, 40), metavar=("H", "W"), help="pixels of a frame (32 40)")
    add("--num-frames", type=int, default=16, help="frames of a clip (16)")
    add("--classes", nargs="+", metavar="CLASS", help="names in quotes, whole pairs; all by default")
    add("--workers", type=int, default=2, help="clips written at the same time (2)")


def run(args: argparse.Namespace) -> None:
    from claver_mm.video.motion import MOTION_CLASSES
    from claver_mm.video.motion_files import make_motion_videos

    try:
        make_motion_videos(args.root, num_train=args.num_train, num_val=args.num_val, seed=args.seed, size=args.size,
                           num_frames=args.num_frames, classes=args.classes or MOTION_CLASSES, workers=args.workers,
                           progress=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on from here") from None
    print(f"motion videos are complete in {args.root}")
