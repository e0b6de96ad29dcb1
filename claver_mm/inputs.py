"""Videos as a user gives them -- paths, arrays, tensors, lists of frames -- as what a pipeline of the host takes."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from torch import Tensor

from .datasets.transforms import OpenVideo

Video = str | Path | np.ndarray | Tensor | Sequence
"""A path; RGB frames ``(T, h, w, 3)`` in uint8; a list of frames, arrays or images of Pillow; or a list of these."""
COLOURS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
"""Modes of Pillow images that convert to RGB without loss of brightness; 16 bits would be cut, LAB cannot be had."""


def as_videos(video: Video) -> tuple[list[Video], bool]:
    """One video or several as a list, and whether several were given."""
    if not isinstance(video, list | tuple) or (len(video) and _is_frame(video[0])):
        return [video], False
    if not video:
        raise ValueError("no video was given, but an empty list")
    return list(video), True


def as_input(video: Video, steps: Compose) -> dict:
    """What a pipeline takes."""
    if isinstance(video, str | Path):
        return dict(filename=str(video), label=-1, start_index=0, modality="RGB")
    if isinstance(video, list | tuple):
        video = [_as_rgb(frame) for frame in video]
        shapes = {frame.shape for frame in video}
        if len(shapes) != 1:
            raise ValueError(f"the frames of a video must have one shape, got {sorted(shapes)}")
        video = np.stack(video)
    array = video.cpu().numpy() if isinstance(video, Tensor) else np.asarray(video)
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
        raise ValueError(f"a video in memory must be uint8 RGB frames (T, h, w, 3), got {array.dtype} {array.shape}")
    if not any(isinstance(step, OpenVideo) for step in steps.transforms):
        raise ValueError("frames in memory need a pipeline that begins with OpenVideo and DecodeFrames")
    return dict(array=array, filename="frames in memory", label=-1, start_index=0, modality="RGB")


def _is_frame(x: object) -> bool:
    """Whether a list that begins with this is one video, frame by frame."""
    return getattr(x, "ndim", None) == 3 or hasattr(x, "convert")  # an array, or an image of Pillow


def _as_rgb(frame: Any) -> np.ndarray:
    """A frame as an array; an image of Pillow says what its colours are, and is converted where they are others."""
    if not hasattr(frame, "convert"):
        return np.asarray(frame)
    if frame.mode not in COLOURS:
        raise ValueError(f"a frame is an image in mode {frame.mode!r}, which cannot be turned into RGB faithfully; "
                         "convert it yourself")
    return np.asarray(frame.convert("RGB"))


def opened(steps: Compose, video: dict) -> tuple[dict, np.ndarray | None]:
    """What a pipeline makes of a video, and the numbers of its frames.

    Raises:
        FileNotFoundError: No such video, said of the video and not of the lists of a data set.
    """
    numbers = None
    try:
        for step in steps.transforms:
            video = step(video)
            numbers = video.get("frame_inds", numbers)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no video at {video['filename']}") from error
    return video, numbers
