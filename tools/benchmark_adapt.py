#!/usr/bin/env python
"""What ``claver adapt`` costs: an epoch on kept tokens against the same epoch from videos, disk and memory.

A tower with random weights and videos of moving texture (10 seconds, 340x256, H.264), which cost what others do. An
epoch from videos decodes, goes through the tower and trains; one on kept tokens reads and trains; both are timed per
clip, turn by turn in one process, as processor time. For memory a training goes through stores of two sizes, each in a
process of its own, and the growth of its peak is told.
"""
from __future__ import annotations

import claver_mm  # noqa: F401

import argparse
import json
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config

from claver_mm import Recognizer
from claver_mm.adapt.encode import Encoded, Sight
from claver_mm.adapt.look import Videos, digest_of
from claver_mm.adapt.start import Temporal, started
from claver_mm.adapt.training import Schedule, train
from claver_mm.engine.configs import read_config
from claver_mm.protocols.clips import Clip

WIDE = 0
"""Stands for the width of the tower."""
CHOICES = {"all tokens, as wide as the tower": (Sight("all"), Temporal(embed_dims=WIDE)),
           "all tokens, width 256": (Sight("all"), Temporal(embed_dims=256)),
           "all tokens, width 128": (Sight("all"), Temporal(embed_dims=128)),
           "a grid of 3 a side, width 256": (Sight("grid3"), Temporal(embed_dims=256)),
           "class tokens, as wide as the tower": (Sight("class"), Temporal(embed_dims=WIDE))}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="ViT-B-32")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs=2, default=[1000, 10000], help="clips of the two stores")
    parser.add_argument("--store", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmark_adapt"))
    return parser.parse_args()


def tower(options: argparse.Namespace) -> Recognizer:
    config: Config = read_config("zero_shot/tower", {
        "model.arch": options.arch, "model.pretrained": None, "model.num_frames": options.frames,
        "model.classes": None})
    return Recognizer(config, untrained=True, device="cpu")


def seconds(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def times(recognizer: Recognizer, videos: list[Path], root: Path, options: argparse.Namespace) -> list[dict]:
    """Of each choice: seconds a clip, and bytes."""
    clips = tuple(Clip(str(path), str(number % 2)) for number, path in enumerate(videos))
    found = Videos(clips, tuple(digest_of(clip.path) for clip in clips), (10.0,) * len(clips), ("0", "1"))
    rows = []
    for name, (sight, temporal) in CHOICES.items():
        begun = started(recognizer, ["a person runs", "a person jumps"], Temporal(
            "class_token" if sight.tokens == "class" else "kmt", temporal.depth,
            temporal.embed_dims or recognizer.claver.clip.tower.width),
            token_grid=sight.token_grid)
        places, encode, step = list(range(len(clips))), [], []
        for turn in range(options.turns):
            kept = Encoded(begun, found, sight, root / f"{name}{turn}")
            encode.append(seconds(partial(kept.encode, workers=0)) / len(clips))
            one, nine = (seconds(partial(train, begun.claver, begun.head.texts, kept, found.labels, places, [],
                                         Schedule(epochs=epochs, min_steps=1, batch_size=len(clips))))
                         for epochs in (1, 9))  # what comes once, as the texts, is in both
            step.append((nine - one) / 8 / len(clips))
        encoded, trained = statistics.median(encode), statistics.median(step)
        parameters = sum(p.numel() for p in begun.claver.parameters() if p.requires_grad)
        rows.append(dict(choice=name, kept=kept.bytes_of_one(), from_videos=encoded + trained, on_tokens=trained,
                         ratio=(encoded + trained) / trained, parameters=parameters))
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def memory_of(count: int, options: argparse.Namespace) -> int:
    """Bytes by which the peak of the process grows while it trains an epoch on so many class tokens."""
    begun = started(tower(options), ["a person runs", "a person jumps"], Temporal("class_token"))
    clips = tuple(Clip(f"{number}.mp4", str(number % 2)) for number in range(count))
    found = Videos(clips, tuple(f"{number:064}" for number in range(count)), (10.0,) * count, ("0", "1"))
    with tempfile.TemporaryDirectory() as root:
        kept = Encoded(begun, found, Sight("class"), root)
        width = begun.claver.clip.tower.width
        for keys in kept.keys:
            kept.store.put(keys[0], torch.randn(options.frames, 1, width).half())
        train(begun.claver, begun.head.texts, kept, found.labels, list(range(64)), [], Schedule(epochs=1, min_steps=1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        train(begun.claver, begun.head.texts, kept, found.labels, list(range(count)), [],
              Schedule(epochs=1, min_steps=1))
        return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(1)
    if options.store:
        print(json.dumps(memory_of(options.store, options)))
        return
    from benchmark_data import texture, write_video

    with tempfile.TemporaryDirectory() as folder:
        videos = [Path(folder, f"{number}.mp4") for number in range(options.clips)]
        write_video(videos[0], texture(340, 256), 340, 256, 250)
        for number, path in enumerate(videos[1:]):  # with a box that says nothing, so that each is another file
            path.write_bytes(videos[0].read_bytes() + struct.pack(">I4sI", 12, b"free", number))
        rows = times(tower(options), videos, Path(folder, "cache"), options)
    growth = {}
    for count in options.sizes:
        command = [sys.executable, "-W", "ignore", __file__, "--store", str(count), "--arch", options.arch, "--frames",
                   str(options.frames)]
        growth[count] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    lines = ["| kept of a clip | weights that train | on disk | epoch from videos over epoch on tokens |",
             "|---|---|---|---|"]
    lines += [f"| {row['choice']} | {row['parameters'] / 1e6:.2f} M | {row['kept'] / 1000:.0f} kB | "
              f"{row['ratio']:.1f} |" for row in rows]
    lines += ["", "Peak memory grows in an epoch by " + ", ".join(
        f"{nbytes / 1e6:.0f} MB over {count} clips" for count, nbytes in growth.items()) + "."]
    print("\n".join(lines))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "adapt.json").write_text(json.dumps(dict(arch=options.arch, frames=options.frames, rows=rows,
                                                            growth=growth), indent=1))
    (options.out / "adapt.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
