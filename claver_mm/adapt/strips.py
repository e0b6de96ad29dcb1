"""Frames of clips, small enough to lie within a page. Pure: imports NumPy, OpenCV and nothing of ``mm*``."""
from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..video.decode import VideoReader, stretch
from ..video.shards import UnreadableVideo, locate_video

FRAMES = 6
LONG_SIDE = 224
"""Pixels of a frame's longer side, at most; smaller frames stay as they are."""
QUALITY = 85


class Strip(NamedTuple):
    """A clip of a report and some of its frames."""
    clip: Mapping[str, Any]
    """As in ``report["clips"]``."""
    frame_numbers: tuple[int, ...] = ()
    """Where the frames lie in the video."""
    images: tuple[str, ...] = ()
    """The frames as data URIs; none of a video that cannot be read."""
    problem: str = ""
    """Why it cannot be read."""


def worst_strips(clips: Iterable[Mapping[str, Any]], count: int = 12, frames: int = FRAMES,
                 root: str | Path = "") -> list[Strip]:
    """Strips of the first ``count`` clips; a report sorts them by the probability of the right label, worst first.
    Paths start from ``root``."""
    return [strip(clip, frames, root) for clip in islice(clips, count)]


def strip(clip: Mapping[str, Any], frames: int = FRAMES, root: str | Path = "") -> Strip:
    """The frames in the middle of as many equal parts of a clip; fewer where it has fewer."""
    try:
        reader = VideoReader(locate_video(Path(root, clip["video"])), clip["video"])
        try:
            numbers = spread(*stretch(clip["start"], clip["end"], len(reader), reader.fps, clip["video"]), frames)
            pictures = reader.frames(numbers)
        finally:
            reader.close()
    except (UnreadableVideo, OSError) as error:
        return Strip(clip, problem=str(error))
    return Strip(clip, tuple(numbers), tuple(map(data_uri, pictures)))


def spread(first: int, stop: int, count: int) -> list[int]:
    """Up to ``count`` different frames from ``first`` to before ``stop``, each in the middle of an equal part."""
    count = min(count, stop - first)
    return [first + (2 * number + 1) * (stop - first) // (2 * count) for number in range(count)]


def data_uri(frame: np.ndarray) -> str:
    """A frame, RGB, uint8, ``(H, W, 3)``, as a JPEG of at most ``LONG_SIDE`` pixels."""
    H, W = frame.shape[:2]
    if max(H, W) > LONG_SIDE:
        size = [max(1, round(side * LONG_SIDE / max(H, W))) for side in (W, H)]
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
