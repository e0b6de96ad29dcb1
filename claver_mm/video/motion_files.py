"""The motion videos of `motion.py` as a data set on disk: `.mp4` files, annotation lists, a record of the settings.

Imports NumPy, OpenCV and tqdm, and nothing of `mm*` or torch.

Letters: `T` frames of a clip, `h`, `w` height and width of a frame.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..files import write_text
from .motion import MOTION_CLASSES, RENDERING_VERSION, check_format, render_clip, reversed_class

FRAMES_PER_SECOND = 16
SPLITS = ("train", "val")


def _check_classes(classes: Sequence[str]) -> None:
    for name in classes:
        if reversed_class(name) not in classes:
            raise ValueError(f"classes hold {name!r} without its reversal {reversed_class(name)!r}; add it")
    if not classes or len(set(classes)) != len(classes):
        raise ValueError(f"classes have to be at least one pair, each name once; got {tuple(classes)}")


def _write_video(path: Path, frames: np.ndarray) -> None:
    """Write frames `(T, h, w, 3)` to an .mp4 file (MPEG-4 part 2) that is either whole or not there."""
    T, h, w, _ = frames.shape
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), FRAMES_PER_SECOND, (w, h))
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()
        written = max(0, int(cv2.VideoCapture(str(part)).get(cv2.CAP_PROP_FRAME_COUNT)))
        if written != T:
            raise OSError(
                f"{path}: OpenCV wrote {written} of {T} frames; is the disk full, or no encoder there?"
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _claim_folder(root: Path, settings: dict) -> None:
    """Record `settings` in `root/motion.json`, or see that the same ones are recorded there already."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    record = root / "motion.json"
    if record.exists():
        found = json.loads(record.read_text(encoding="utf-8"))
        if found["sha256"] != digest:
            old = found["settings"]
            changes = [
                f"{key} is {old.get(key)} there, but {settings.get(key)} was asked for"
                for key in sorted(settings | old)
                if old.get(key) != settings.get(key)
            ]
            raise ValueError(
                f"{root} holds other motion videos: {'; '.join(changes)}. "
                "Delete the folder or choose another one"
            )
        return
    names = [*SPLITS, *(f"{split}.txt" for split in SPLITS), "classes.txt"]
    in_the_way = [name for name in names if (root / name).exists()]
    if in_the_way:
        raise ValueError(f"{root} has {', '.join(in_the_way)} but no motion.json; choose an empty folder")
    root.mkdir(parents=True, exist_ok=True)
    write_text(record, json.dumps({"settings": settings, "sha256": digest}, indent=2) + "\n")


def make_motion_videos(
    root: str | os.PathLike,
    num_train: int = 2000,
    num_val: int = 400,
    seed: int = 0,
    size: tuple[int, int] = (32, 40),
    num_frames: int = 16,
    classes: Sequence[str] = MOTION_CLASSES,
    workers: int = 2,
    progress: bool = True,
) -> None:
    """Write the data set to the folder `root`, or see that it is there.

    Files: `train/*.mp4`, `val/*.mp4`; `train.txt`, `val.txt` with a line `train/00000_moving_left.mp4 0` per
    clip (paths relative to `root`, the label is the place in `classes`); `classes.txt`, one name a line;
    `motion.json`, the settings. Clip i of a split has class i modulo the number of classes.

    The lists come last and each file appears whole, so an interrupted call leaves no list; the next call with
    the same settings writes what is missing. With all there it does nothing. `workers` (threads) and
    `progress` (a bar) have no influence on the files.

    Raises `ValueError` for settings that make no data set, for a folder with motion videos of other settings
    and for one with files of somebody else in the way; `OSError` if a file cannot be written.
    """
    root, classes, (h, w) = Path(root), list(classes), map(int, size)
    check_format(h, w, num_frames)
    _check_classes(classes)
    counts = dict(zip(SPLITS, (num_train, num_val), strict=True))
    for split, count in counts.items():
        if count < len(classes):
            raise ValueError(f"num_{split} is {count}; {len(classes)} classes need at least a clip each")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it has to be 0 or more")
    if workers < 1:
        raise ValueError(f"workers is {workers}; it has to be 1 or more")
    _claim_folder(
        root,
        {
            "num_train": num_train,
            "num_val": num_val,
            "seed": seed,
            "size": [h, w],
            "num_frames": num_frames,
            "classes": classes,
            "rendering_version": RENDERING_VERSION,
        },
    )

    lists, missing = {"classes.txt": classes}, []  # missing: (file, class name, seed of the clip)
    for number, (split, count) in enumerate(counts.items()):
        (root / split).mkdir(exist_ok=True)
        lines = lists[f"{split}.txt"] = []
        for index in range(count):
            label = index % len(classes)
            path = f"{split}/{index:05d}_{classes[label].replace(' ', '_')}.mp4"
            lines.append(f"{path} {label}")
            if not (root / path).exists():
                missing.append((root / path, classes[label], (seed, number, index)))

    def write(task: tuple[Path, str, tuple[int, int, int]]) -> None:
        path, class_name, key = task
        _write_video(path, render_clip(class_name, key, (h, w), num_frames))

    with ThreadPoolExecutor(workers) as pool:
        hidden = not (progress and missing)
        for _ in tqdm(pool.map(write, missing), "motion videos", len(missing), unit="clip", disable=hidden):
            pass
    for name, lines in lists.items():
        if not (root / name).exists():
            write_text(root / name, "\n".join(lines) + "\n")
