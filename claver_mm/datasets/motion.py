"""Small videos whose class is a motion: a data set that cannot be solved by looking at frames one by one.

The classes come in pairs, and a clip of one class played backwards is a clip of its partner
(`reversed_class`). A clip is drawn without regard to direction: an even motion, spread about the middle of
the clip, before a still background. The first class of a pair plays it forwards, the second one backwards. So
both draw from exactly the same frames, and neither a frame nor an average over frames tells them apart; their
order does. (A frame *together with its place in the clip* does tell: what moves right starts on the left.)

Imports NumPy, OpenCV and tqdm, and nothing of `mm*` or torch.

Letters: `T` frames of a clip, `h`, `w` height and width of a frame, `V` corners of a polygon.
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

# Each row is a pair: the second class is the first one played backwards.
MOTION_PAIRS = (
    ("moving left", "moving right"),
    ("rising", "falling"),
    ("growing", "shrinking"),
    ("turning clockwise", "turning counterclockwise"),
)
MOTION_CLASSES = tuple(name for pair in MOTION_PAIRS for name in pair)

# Goes into motion.json; to be raised by one whenever a change here alters the pixels of any clip.
RENDERING_VERSION = 1
FRAMES_PER_SECOND = 16
SPLITS = ("train", "val")

_SUPERSAMPLING = 4  # sub-pixels along each side of a pixel
_STEPS = 8  # positions of a corner along each side of a sub-pixel


def _arc(start: float, stop: float, corners: int = 12) -> list[tuple[float, float]]:
    """Points of the unit circle between two angles in degrees, clockwise on the screen."""
    angles = np.deg2rad(np.linspace(start, stop, corners))
    return list(zip(np.cos(angles), np.sin(angles), strict=True))


# Outlines in the unit disc, the pivot at the origin, x to the right and y downwards. The heavy side of each
# points to the right, so none looks the same after a turn of less than 360 degrees and every turn shows.
_SHAPES = tuple(
    np.array(corners, dtype=np.float64)
    for corners in (
        [(-1.0, 0.0), (0.8, -0.6), (0.8, 0.6)],  # narrow triangle
        [(1.0, 0.0), (0.1, 0.9), (0.1, 0.3), (-0.6, 0.3), (-0.6, -0.3), (0.1, -0.3), (0.1, -0.9)],  # arrow
        [(1.0, 0.0), (0.0, 1.0), (-0.4, 0.6), (0.2, 0.0), (-0.4, -0.6), (0.0, -1.0)],  # angle
        _arc(-90, 90),  # half disc
        [(0.0, 0.0), *_arc(-115, 115)],  # disc without a slice
        [(-1.0, 0.0), *_arc(-70, 70)],  # drop
    )
)


def reversed_class(class_name: str) -> str:
    """The class that a clip of `class_name` belongs to when it is played backwards; its own inverse.

    Raises `ValueError` for a name that is not one of `MOTION_CLASSES`.
    """
    for first, second in MOTION_PAIRS:
        if class_name == first:
            return second
        if class_name == second:
            return first
    raise ValueError(f"unknown motion class {class_name!r}; choose from {', '.join(MOTION_CLASSES)}")


def _background(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A dark, still background `(h, w, 3)`, values 8 to 96: flat, a gradient or a patchwork."""
    kind = rng.integers(3)
    first = rng.integers(24, 80, 3, endpoint=True)
    second = first + rng.integers(-16, 16, 3, endpoint=True)
    if kind == 0:
        return np.broadcast_to(first, (h, w, 3))
    if kind == 1:
        direction = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[:h, :w]
        slope = x * np.cos(direction) + y * np.sin(direction)
        slope = (slope - slope.min()) / np.ptp(slope)  # (h, w), from 0 to 1
        return np.rint(first + slope[..., None] * (second - first)).astype(np.int64)
    cell = max(1, h // 8)
    cells = first + rng.integers(-16, 16, (-(-h // cell), -(-w // cell), 3), endpoint=True)
    return cells.repeat(cell, axis=0).repeat(cell, axis=1)[:h, :w]


def _forward_path(rng: np.random.Generator, pair: int, T: int, h: int, w: int) -> tuple[np.ndarray, ...]:
    """Pivot x, pivot y, radius (pixels) and angle (radians) of the object in each frame, `(T,)` each.

    One of the four follows `progress`, which rises evenly and averages 0 over the clip; the others are still.
    """
    progress = np.linspace(-0.5, 0.5, T)
    still = np.zeros(T)
    x = w / 2 + h * rng.uniform(-0.1, 0.1) + still
    y = h / 2 + h * rng.uniform(-0.1, 0.1) + still
    radius = h * rng.uniform(0.2, 0.28) + still
    angle = rng.uniform(0, 2 * np.pi) + still
    extent = rng.uniform(0.8, 1.2)
    if pair == 0:
        x -= 0.5 * h * extent * progress
    elif pair == 1:
        y -= 0.5 * h * extent * progress
    elif pair == 2:
        radius *= 3.0 ** (extent * progress)
    else:
        radius *= 1.4
        angle = np.pi * (rng.uniform(-0.7, -0.3) + extent * progress)
    return x, y, radius, angle


def _coverage(corners: np.ndarray, h: int, w: int) -> np.ndarray:
    """How many of a pixel's sub-pixels lie in the polygon, `(T, h, w)`; `corners` are `(T, V, 2)` in pixels.

    Even-odd filling in whole numbers, since OpenCV's `fillPoly` gives other edges in other versions.
    """
    T, rows, columns = len(corners), h * _SUPERSAMPLING, w * _SUPERSAMPLING
    unit = _STEPS * _SUPERSAMPLING
    start = np.rint(corners * unit - _STEPS / 2).astype(np.int64)[..., None]
    (x0, y0), (x1, y1) = np.moveaxis(start, 2, 0), np.moveaxis(np.roll(start, -1, axis=1), 2, 0)  # (T, V, 1)
    y = np.arange(rows) * _STEPS  # the centres of the sub-pixels lie at the multiples of _STEPS
    t, edge, row = np.nonzero(
        (np.minimum(y0, y1) <= y) & (y < np.maximum(y0, y1))
    )  # where an edge meets a row
    x0, y0, x1, y1 = (side[t, edge, 0] for side in (x0, y0, x1, y1))
    rise = y1 - y0
    column = -((x0 * rise + (y[row] - y0) * (x1 - x0)) // (-_STEPS * rise))  # the first one right of the edge
    place = (t * rows + row) * (columns + 1) + column.clip(0, columns)
    edges = np.bincount(place, minlength=T * rows * (columns + 1)).reshape(T, rows, columns + 1)
    inside = edges.astype(np.uint8).cumsum(-1, dtype=np.uint8)[..., :-1] % 2
    return (
        inside.reshape(T, h, _SUPERSAMPLING, w, _SUPERSAMPLING).sum(4, dtype=np.uint8).sum(2, dtype=np.int64)
    )


def render_clip(
    class_name: str,
    seed: int | Sequence[int],
    size: tuple[int, int] = (32, 40),
    num_frames: int = 16,
) -> np.ndarray:
    """Frames of one clip, RGB, uint8 `(T, h, w, 3)`.

    The same `seed` (a whole number or several, none negative) gives the same clip on every machine, and with
    `reversed_class(class_name)` it gives that clip in reverse order. `size` is `(h, w)`.

    Raises `ValueError` for an unknown class, fewer than two frames and a side that is odd or under 16 pixels.
    """
    background, colour, covered = _scene(class_name, seed, size, num_frames)
    full = _SUPERSAMPLING**2
    return ((background * (full - covered) + colour * covered + full // 2) // full).astype(np.uint8)


def render_coverage(
    class_name: str,
    seed: int | Sequence[int],
    size: tuple[int, int] = (32, 40),
    num_frames: int = 16,
) -> np.ndarray:
    """Where the object of `render_clip` lies: how much of each pixel it covers, 0 to 255, uint8 `(T, h, w, 3)`.

    The three colours are alike, so that it goes through a pipeline as its clip does. Arguments and errors are
    those of `render_clip`.
    """
    _, _, covered = _scene(class_name, seed, size, num_frames)
    return (covered * 255 // _SUPERSAMPLING**2).astype(np.uint8).repeat(3, axis=-1)


def _scene(
    class_name: str, seed: int | Sequence[int], size: tuple[int, int], num_frames: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Background `(h, w, 3)`, colour `(3,)` of the object and the sub-pixels it covers `(T, h, w, 1)`."""
    (h, w), T = size, num_frames
    _check_format(h, w, T)
    partner = reversed_class(class_name)
    pair = next(i for i, names in enumerate(MOTION_PAIRS) if partner in names)
    backwards = class_name == MOTION_PAIRS[pair][1]

    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    background = _background(rng, h, w)
    colour = rng.integers(168, 248, 3, endpoint=True)
    outline = _SHAPES[rng.integers(len(_SHAPES))]  # (V, 2)
    x, y, radius, angle = _forward_path(rng, pair, T, h, w)

    turn = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], -1).reshape(T, 2, 2)
    corners = outline @ turn * radius[:, None, None] + np.stack([x, y], -1)[:, None]  # (T, V, 2)
    covered = _coverage(corners, h, w)[..., None]
    return background, colour, covered[::-1].copy() if backwards else covered


def _check_format(h: int, w: int, T: int) -> None:
    if min(h, w) < 16 or h % 2 or w % 2:
        raise ValueError(f"size (h, w) is {(h, w)}; both sides have to be even and at least 16 pixels")
    if T < 2:
        raise ValueError(f"num_frames is {T}; a motion needs at least 2 frames")


def _check_classes(classes: Sequence[str]) -> None:
    for name in classes:
        if reversed_class(name) not in classes:
            raise ValueError(f"classes hold {name!r} without its reversal {reversed_class(name)!r}; add it")
    if not classes or len(set(classes)) != len(classes):
        raise ValueError(f"classes have to be at least one pair, each name once; got {tuple(classes)}")


def _write_text(path: Path, text: str) -> None:
    """Write a file that is either whole or not there."""
    part = path.with_name(f".{os.getpid()}.{path.name}")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(path)


def _write_video(path: Path, frames: np.ndarray) -> None:
    """Write frames `(T, h, w, 3)` to an .mp4 file (MPEG-4 part 2) that is either whole or not there."""
    T, h, w, _ = frames.shape
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        writer = cv2.VideoWriter(str(part), cv2.VideoWriter_fourcc(*"mp4v"), FRAMES_PER_SECOND, (w, h))
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
    _write_text(record, json.dumps({"settings": settings, "sha256": digest}, indent=2) + "\n")


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
    root, classes, size = Path(root), list(classes), [int(side) for side in size]
    _check_format(*size, num_frames)
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
            "size": size,
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
        _write_video(path, render_clip(class_name, key, size, num_frames))

    with ThreadPoolExecutor(workers) as pool:
        hidden = not (progress and missing)
        for _ in tqdm(pool.map(write, missing), "motion videos", len(missing), unit="clip", disable=hidden):
            pass
    for name, lines in lists.items():
        if not (root / name).exists():
            _write_text(root / name, "\n".join(lines) + "\n")
