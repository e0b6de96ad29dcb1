"""Small videos whose class is a motion: a data set that cannot be solved by looking at frames one by one.

The classes come in pairs, and a clip of one class played backwards is a clip of its partner
(`reversed_class`). A clip is drawn without regard to direction: an even motion, spread about the middle of
the clip, before a still background. The first class of a pair plays it forwards, the second one backwards. So
both draw from exactly the same frames, and neither a frame nor an average over frames tells them apart; their
order does. (A frame *together with its place in the clip* does tell: what moves right starts on the left.)

`motion_files.py` writes them to disk. Imports NumPy, and nothing of `mm*` or torch.

Letters: `T` frames of a clip, `h`, `w` height and width of a frame, `V` corners of a polygon.
"""

from collections.abc import Sequence

import numpy as np

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
    check_format(h, w, T)
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


def check_format(h: int, w: int, T: int) -> None:
    """`ValueError` for frames that are no video of the data set: see `render_clip`."""
    if min(h, w) < 16 or h % 2 or w % 2:
        raise ValueError(f"size (h, w) is {(h, w)}; both sides have to be even and at least 16 pixels")
    if T < 2:
        raise ValueError(f"num_frames is {T}; a motion needs at least 2 frames")
