"""Test views, clips by crops, of a pipeline of transforms: read and set. Pure: imports nothing of ``mm*``."""
from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence

CROPS = {"CenterCrop": 1, "ThreeCrop": 3}


def read_views(pipeline: Sequence[Mapping]) -> tuple[int, int]:
    """Clips and crops of a test pipeline.

    Raises:
        ValueError: It has not one step that samples frames (``clip_len``) and one ``CenterCrop`` or ``ThreeCrop``.
    """
    sampler, crop = _steps(pipeline)
    return pipeline[sampler].get("num_clips", 1), CROPS[pipeline[crop]["type"]]


def with_views(pipeline: Sequence[Mapping], clips: int, crops: int) -> list[dict]:
    """A copy of a test pipeline with other views.

    Three crops lie along the long side, so before them the short side is resized to the size of a crop.
    """
    if clips < 1 or crops not in CROPS.values():
        raise ValueError(f"views {clips}x{crops}: at least 1 clip, and 1 or 3 crops")
    pipeline = [copy.deepcopy(dict(step)) for step in pipeline]
    sampler, crop = _steps(pipeline)
    pipeline[sampler]["num_clips"] = clips
    if CROPS[pipeline[crop]["type"]] != crops:
        pipeline[crop]["type"] = next(kind for kind, count in CROPS.items() if count == crops)
        if crops == 3:
            resize = [step for step in pipeline[:crop] if step["type"] == "Resize"]
            if not resize:
                raise ValueError("three crops need a Resize before them in the test pipeline")
            resize[-1]["scale"] = (-1, pipeline[crop]["crop_size"])
    return pipeline


def parse_views(text: str) -> tuple[int, int]:
    """``4x3`` -> 4 clips, 3 crops."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise ValueError(f"views {text!r} are not clips x crops, like 4x3")
    return int(match[1]), int(match[2])


def _steps(pipeline: Sequence[Mapping]) -> tuple[int, int]:
    sampler = [number for number, step in enumerate(pipeline) if "clip_len" in step]
    crop = [number for number, step in enumerate(pipeline) if step["type"] in CROPS]
    if len(sampler) != 1 or len(crop) != 1:
        raise ValueError(f"the test pipeline has {len(sampler)} steps that sample frames and {len(crop)} of "
                         f"{', '.join(CROPS)}; it needs one of each for its views to be known: "
                         f"{[step['type'] for step in pipeline]}")
    return sampler[0], crop[0]
