#!/usr/bin/env python
"""The motion videos as if they were somebody's own: a tower trained without order, then ``adapt``.

Makes the videos, trains ``claver_motion_mean`` (the mean over frames, which cannot tell a motion from its reversal),
and teaches the frozen tower with all 2,000 videos, and with a few of each class, over several seeds: of what is drawn,
and of the temporal part. 400 videos are held out each time; few videos have four views each. Prints a table of mean
and standard deviation, and writes it with all numbers.
"""
from __future__ import annotations

import claver_mm  # noqa: F401

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from claver_mm import Recognizer
from claver_mm.adapt.adapter import Settings, adapt
from claver_mm.adapt.encode import Sight
from claver_mm.protocols.annotations import read_annotations
from claver_mm.protocols.clips import Clip
from claver_mm.video.motion import MOTION_CLASSES
from claver_mm.video.motion_files import make_motion_videos


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shots", type=int, nargs="+", default=[8, 16, 250], help="videos of a class; 250 are all")
    parser.add_argument("--data", type=Path, default=Path("data/motion"))
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/study_adapt"))
    return parser.parse_args()


def clips_of(data: Path, shots: int, seed: int) -> list[Clip]:
    """So many videos of each class for training, and all that validate."""
    chosen = []
    for split in ("train", "val"):
        clips = [Clip(str(data / line.path), MOTION_CLASSES[line.labels[0]], split=split)
                 for line in read_annotations(data / f"{split}.txt")]
        for name in MOTION_CLASSES:
            own = [clip for clip in clips if clip.label == name]
            chosen += own if split == "val" else random.Random(seed).sample(own, min(shots, len(own)))
    return chosen


def main() -> None:
    options = parse_arguments()
    make_motion_videos(options.data)
    weights = options.work_dir / "tower" / "epoch_8.pth"
    if not weights.is_file():
        subprocess.run([sys.executable, "-W", "ignore", "-m", "claver_mm_cli", "train", "claver_motion_mean",
                        "--work-dir", str(weights.parent), "--cfg-options", f"data_root={options.data}"], check=True,
                       env=dict(os.environ, PYTHONPATH=":".join(sys.path)))
    tower = Recognizer("claver_motion_mean", weights)
    rows: dict[int, list[dict]] = {}
    for shots in options.shots:
        for seed in options.seeds:
            began = time.monotonic()
            views = 1 if shots > 50 else 4
            found = adapt(tower, clips_of(options.data, shots, seed), Settings(sight=Sight(views=views), seed=seed),
                          classes=list(MOTION_CLASSES), cache=options.work_dir / "cache").report
            rows.setdefault(shots, []).append(dict(
                seed=seed, accuracy=found["accuracy"], other_half=found["judged_by_the_other_half"],
                zero_shot=found["zero_shot"], alpha=found["alpha"], train_seconds=found["train_seconds"],
                seconds=time.monotonic() - began))
            print(shots, rows[shots][-1], flush=True)
    lines = ["| videos of a class | top-1 % | chosen on the other half % | before training % | training s | all s |",
             "|---|---|---|---|---|---|"]
    for shots, some in rows.items():
        cells = [" ± ".join(f"{100 * number:.1f}" for number in _spread([row[key] for row in some]))
                 for key in ("accuracy", "other_half")]
        lines.append(f"| {shots} | {' | '.join(cells)} | {100 * some[0]['zero_shot']:.1f} | "
                     + " | ".join(", ".join(f"{row[key]:.0f}" for row in some) for key in ("train_seconds", "seconds"))
                     + " |")
    lines += ["", f"Peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB."]
    print("\n".join(lines))
    (options.work_dir / "adapt.json").write_text(json.dumps(rows, indent=1))
    (options.work_dir / "adapt.md").write_text("\n".join(lines) + "\n")


def _spread(values: list[float]) -> list[float]:
    return [statistics.fmean(values), statistics.stdev(values)] if len(values) > 1 else values


if __name__ == "__main__":
    main()
