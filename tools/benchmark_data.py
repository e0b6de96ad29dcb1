#!/usr/bin/env python
"""Clips per second and core of the data path: MMAction2's stock transforms against ours, in turns, as ratios of a run.

The path is that of configs/_base_/pipelines/8x224.py. stock: DecordInit, DecordDecode, ColorJitter. ours: OpenVideo
with PyAV first, DecodeFrames, ClipColorJitter; once with the same pixels, once without the decoder's loop filter. All
draw the same numbers for a clip, so their outputs are compared pixel by pixel, in grey levels. Time is processor time
over all threads; decode is everything up to the frames, augment the rest. bound: the frames that others refer to are
decoded, and nothing else is done, which is what no path with the same pixels can leave out.

Videos of 10 seconds are made on the spot with libx264 (PyAV): from the videos of a folder (--clips), scaled and played
to and fro, or from moving texture.
"""
from __future__ import annotations

import claver_mm  # noqa: F401

import argparse
import copy
import json
import random
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import decord
import numpy as np
import torch
from mmaction.registry import TRANSFORMS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from tqdm import tqdm

from claver_mm.video.decode import PyAVReader

ROOT = Path(__file__).resolve().parents[1]
FPS, SECONDS = 30, 10
PATHS = {"stock": {}, "same pixels": dict(decoders=["pyav", "decord"]),
         "no loop filter": dict(decoders=["pyav", "decord"], loop_filter=False)}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="folder with videos; moving texture by default")
    parser.add_argument("--sizes", nargs="+", type=size, default=["340x256", "1280x720"], help="width x height")
    parser.add_argument("--frames", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--keyframes", type=int, default=250, help="largest distance; 250 is libx264's own")
    parser.add_argument("--turns", type=int, default=10, help="clips of each path and video")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmark_data"))
    options = parser.parse_args()
    if options.clips and not options.clips.is_dir():
        parser.error(f"no folder at {options.clips}")
    for name in ("frames", "keyframes", "turns"):
        if np.min(getattr(options, name)) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    return options


def size(text: str) -> str:
    """``340x256``, as it stands."""
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not width x height, like 340x256")
    return text


def texture(w: int, h: int) -> Iterator[np.ndarray]:
    """Two layers of noise, one drifting before the other."""
    rng = np.random.default_rng(0)
    back, front = (cv2.resize(rng.integers(0, 256, (18, 32, 3), dtype=np.uint8), (2 * w, 2 * h),
                              interpolation=cv2.INTER_CUBIC) for _ in range(2))
    for t in range(FPS * SECONDS):
        frame = back[h // 2 + int(h / 4 * np.sin(t / 40)):][:h, w // 4 + int(w / 4 * np.sin(t / 60)):][:, :w].copy()
        x, y = int(w / 4 + w / 5 * np.cos(t / 20)), int(h / 4 + h / 5 * np.sin(t / 20))
        drift = w * t // (FPS * SECONDS)
        frame[y:y + h // 2, x:x + w // 2] = front[y:y + h // 2, drift:drift + w // 2]
        yield frame


def to_and_fro(source: Path, w: int, h: int) -> Iterator[np.ndarray]:
    """The frames of a video forwards, backwards and so on."""
    with av.open(str(source)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    period = max(1, 2 * len(frames) - 2)
    for t in range(FPS * SECONDS):
        place = min(t % period, period - t % period)
        yield cv2.resize(frames[place], (w, h), interpolation=cv2.INTER_CUBIC)


def write_video(path: Path, frames: Iterator[np.ndarray], w: int, h: int, keyframes: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=dict(crf="23", preset="medium", g=str(keyframes)))
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def make_videos(clips: Path | None, folder: Path, size: str, keyframes: int) -> list[Path]:
    w, h = map(int, size.split("x"))
    if clips is None:
        write_video(folder / f"texture_{size}.mp4", texture(w, h), w, h, keyframes)
        return [folder / f"texture_{size}.mp4"]
    videos = []
    for source in sorted(clips.iterdir()):
        path = folder / f"{source.stem}_{size}_{source.suffix[1:]}.mp4"
        try:
            write_video(path, to_and_fro(source, w, h), w, h, keyframes)
        except (av.error.FFmpegError, IndexError) as error:
            print(f"{source} is left out: {error}", file=sys.stderr)
            continue
        videos.append(path)
    return videos


def build_path(name: str, num_frames: int) -> list:
    """Steps of the training pipeline, stock or ours; all colour steps with one order of their four operations."""
    steps = copy.deepcopy(Config.fromfile(ROOT / "configs/_base_/pipelines/8x224.py").train_pipeline)
    ours = name != "stock"
    steps[0] = ConfigDict(type="OpenVideo", **PATHS[name]) if ours else ConfigDict(type="DecordInit")
    for step in steps:
        if step.type == "DecodeFrames" and not ours:
            step.type = "DecordDecode"
        elif step.type == "UniformSample":
            step.clip_len = num_frames
        elif step.type == "RandomApply":
            step.transforms[0].type = "ClipColorJitter" if ours else "ColorJitter"
    np.random.seed(0)
    return [TRANSFORMS.build(step) for step in steps]


class ReferencesAlone(PyAVReader):
    """Decodes the frames that others refer to, as far as the wanted ones, and keeps none."""

    def frames(self, indices: np.ndarray) -> None:
        places = {int(self._packets.shown[index]) for index in indices}
        for start, stop in self._stretches(places):
            self._codec.flush_buffers()
            self._codec.skip_frame = "NONREF"
            for packet in self._packets.between(start, stop):
                self._codec.decode(packet)
            self._codec.decode(None)


def decode_references(path: Path, indices: np.ndarray) -> float:
    """Processor seconds of the bound."""
    start = time.process_time()
    ReferencesAlone(str(path)).frames(indices)
    return time.process_time() - start


def run(steps: list, path: Path, seed: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Frames of a clip and their numbers, and the processor seconds of decoding and of the rest."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    results = dict(filename=str(path), start_index=0, modality="RGB", label=0)
    start = time.process_time()
    for step in steps[:3]:
        results = step(results)
    middle, indices = time.process_time(), results["frame_inds"]
    for step in steps[3:]:
        results = step(results)
    pixels = results["inputs"].numpy().astype(np.int16)
    return pixels, indices, middle - start, time.process_time() - middle


def measure(videos: list[Path], num_frames: int, turns: int) -> dict[str, dict]:
    """Means over the clips of each path, and how far its pixels are from the stock ones; of the bound, ``decode``."""
    paths = {name: build_path(name, num_frames) for name in PATHS}
    for steps in paths.values():
        run(steps, videos[0], 0)  # warms up
    seconds, differences, bound = {name: [] for name in PATHS}, {name: [] for name in PATHS}, []
    for turn in tqdm(range(turns), leave=False):
        for video in videos:
            stock = None
            for name in PATHS:
                pixels, indices, *times = run(paths[name], video, turn)
                seconds[name].append(times)
                stock = pixels if stock is None else stock
                differences[name].append((np.abs(pixels - stock).mean(), np.abs(pixels - stock).max()))
            bound.append(decode_references(video, indices))
    rows = {}
    for name in PATHS:
        decode, augment = (statistics.mean(column) for column in zip(*seconds[name]))
        mean, largest = zip(*differences[name])
        rows[name] = dict(clips=1 / (decode + augment), decode=decode, augment=augment, mean=float(np.mean(mean)),
                          largest=int(max(largest)))
    return rows | {"bound": dict(decode=statistics.mean(bound))}


def main() -> None:
    options = parse_arguments()
    warnings.simplefilter("ignore")
    init_default_scope("mmaction")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    lines = ["| video | frames | path | clips a second and core | times stock | decode | augment | mean difference "
             "| largest |", "|---|---|---|---|---|---|---|---|---|"]
    record = dict(av=av.__version__, decord=decord.__version__, cv2=cv2.__version__, keyframes=options.keyframes,
                  turns=options.turns, rows=[])
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            videos = make_videos(options.clips, Path(folder), size, options.keyframes)
            if not videos:
                sys.exit(f"no video in {options.clips} can be read")
            for num_frames in options.frames:
                rows = measure(videos, num_frames, options.turns)
                stock, bound = rows["stock"], rows.pop("bound")
                for name, row in rows.items():
                    ratios = [row["clips"] / stock["clips"], stock["decode"] / row["decode"],
                              stock["augment"] / row["augment"]]
                    lines.append(f"| {size} | {num_frames} | {name} | {row['clips']:.1f} | "
                                 + " | ".join(f"{ratio:.2f}" for ratio in ratios)
                                 + f" | {row['mean']:.2f} | {row['largest']} |")
                    record["rows"].append(dict(row, size=size, frames=num_frames, path=name, ratios=ratios))
                ratio = f"{stock['decode'] / bound['decode']:.2f}"
                lines.append(f"| {size} | {num_frames} | bound | - | - | {ratio} | - | - | - |")
                record["rows"].append(dict(bound, size=size, frames=num_frames, path="bound"))
    print("\n".join(lines))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "data.json").write_text(json.dumps(record, indent=1))
    (options.out / "data.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
