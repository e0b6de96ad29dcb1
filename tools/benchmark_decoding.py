#!/usr/bin/env python
"""Time of reading frames out of videos, this checkout's package against another's, clip by clip in turns.

    git worktree add --detach ../before a9a6676
    python tools/benchmark_decoding.py --against ../before VIDEO ...

Each package runs in a process of its own that stays; both open the same video and decode the same frames, one right
after the other, and each is first every other time. Time is processor time; a ratio is the median over clips of ours
over the other's, with the quartiles beside it. ``--sizes`` makes videos of those sizes of the given ones, by libx264.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--against", type=Path, required=True, help="root folder of another checkout")
    parser.add_argument("--sizes", nargs="*", default=["340x256", "1280x720"], help="width x height")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--turns", type=int, default=40, help="clips of each video")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmark_decoding"))
    options = parser.parse_args()
    if not (options.against / "claver_mm").is_dir():
        parser.error(f"no checkout of claver_mm at {options.against}")
    return options


def serve() -> None:
    """The process of one package: a line ``[video, frames, seed]`` in, one ``[seconds, sum of the pixels]`` out."""
    import claver_mm  # noqa: F401
    from mmaction.registry import TRANSFORMS
    from mmengine.registry import init_default_scope

    init_default_scope("mmaction")
    steps = [TRANSFORMS.build(step) for step in (dict(type="OpenVideo", decoders=["pyav"]), dict(type="DecodeFrames"))]
    print(json.dumps(claver_mm.__file__), flush=True)
    for line in sys.stdin:
        video, frames, seed = json.loads(line)
        start = time.process_time()
        results = steps[0].transform(dict(filename=video, start_index=0, modality="RGB"))
        edges = np.linspace(0, results["total_frames"], frames + 1).astype(int)
        draw = random.Random(seed)
        results["frame_inds"] = np.array([draw.randrange(a, max(a + 1, b)) for a, b in zip(edges, edges[1:])])
        imgs = steps[1].transform(results)["imgs"]
        seconds = time.process_time() - start
        print(json.dumps([seconds, int(sum(img.astype(np.int64).sum() for img in imgs))]), flush=True)


def start_server(root: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, env=dict(os.environ, PYTHONPATH=str(root), OMP_NUM_THREADS="1"))
    assert process.stdout
    loaded = Path(json.loads(process.stdout.readline()))
    if not loaded.resolve().is_relative_to(root.resolve()):
        sys.exit(f"{root} was to be timed, but {loaded} was imported")
    return process


def ask(process: subprocess.Popen, request: list) -> tuple[float, int]:
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        sys.exit(f"a reader ended at {request[0]}")
    return tuple(json.loads(answer))


def main() -> None:
    options = parse_arguments()
    from benchmark_data import to_and_fro, write_video

    ours, theirs = start_server(ROOT), start_server(options.against)
    lines = ["| video | ours over the other (median) | quartiles | same pixels |", "|---|---|---|---|"]
    print(*lines, sep="\n", flush=True)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        videos = list(options.videos)
        for video in options.videos:
            for size in options.sizes:
                w, h = map(int, size.split("x"))
                videos.append(Path(folder) / f"{video.stem}_{video.suffix[1:]}_{size}.mp4")
                write_video(videos[-1], to_and_fro(video, w, h), w, h, 250)
        for video in videos:
            ratios, same = [], True
            for turn in range(-2, options.turns):
                request, order = [str(video.resolve()), options.frames, turn], (ours, theirs)[::1 if turn % 2 else -1]
                answers = {id(process): ask(process, request) for process in order}
                (own, own_sum), (other, other_sum) = answers[id(ours)], answers[id(theirs)]
                same &= own_sum == other_sum
                if turn >= 0:  # the two before warm up
                    ratios.append(own / other)
            low, middle, high = np.percentile(ratios, (25, 50, 75))
            found[video.name] = dict(ratio=middle, quartiles=(low, high), same=same)
            lines.append(f"| {video.name} | {middle:.3f} | {low:.3f} to {high:.3f} | "
                         f"{'yes' if same else 'NO'} |")
            print(lines[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "decoding.json").write_text(json.dumps(found, indent=1))
    (options.out / "decoding.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
