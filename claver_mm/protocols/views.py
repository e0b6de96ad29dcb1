"""What a pipeline makes of a video: clips by crops, frames, size. Read here alone, and set.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..messages import quoted

CROPS = {"CenterCrop": 1, "RandomCrop": 1, "RandomResizedCrop": 1, "MultiScaleCrop": 1, "ThreeCrop": 3, "TenCrop": 10}
"""Crops that a step makes of a frame."""
LAYOUTS = ("NCTHW", "NCHW")
SWAPPED = {1: "CenterCrop", 3: "ThreeCrop"}
"""Steps that take each other's place when views are set."""


class View(NamedTuple):
    """What a model sees of a video: clips times crops views, each of ``frames``."""
    clips: int
    crops: int
    frames: int
    side: tuple[int, int] | None
    """Height and width; None where no step crops or resizes to a fixed size."""
    layout: str | None
    """``NCTHW``; or ``NCHW``, in which the segments of a video are the frames of one clip; None where no step says."""


def kind_of(node: Mapping | None) -> str:
    """The name of a registered type without its scope, ``ThreeCrop`` of ``mmaction.ThreeCrop`` or of the class itself;
    empty where there is none."""
    kind = (node or {}).get("type")
    return (kind if isinstance(kind, str) else getattr(kind, "__name__", "")).rpartition(".")[2]


def pipeline_of(dataset: Mapping) -> Sequence[Mapping]:
    """Steps of a data set's config, through wrappers; of several data sets those of the first.

    Raises:
        ValueError: It has none.
    """
    return innermost(dataset)["pipeline"]


def innermost(dataset: Mapping) -> Mapping:
    """The data set inside its wrappers that has the pipeline; of several the first.

    Raises:
        ValueError: None has.
    """
    inner: Mapping | None = dataset
    while inner is not None and not inner.get("pipeline"):
        inner = inner.get("dataset") or next(iter(inner.get("datasets") or ()), None)
    if inner is None:
        raise ValueError(f"the data set {dataset.get('type')!r} has no pipeline")
    return inner


def behind_decoding(pipeline: Sequence[Mapping]) -> int:
    """Place of the first step that takes decoded frames (``imgs``)."""
    return next(number for number, step in enumerate(pipeline) if "Decode" in kind_of(step)) + 1


def read_view(pipeline: Sequence[Mapping]) -> View:
    """What a pipeline makes of a video.

    Raises:
        ValueError: It has not one step that samples frames (``clip_len``), several that crop into views, or one whose
            crops are not known.
    """
    sampler = pipeline[_sampler(pipeline)]
    unknown = [kind for kind in map(kind_of, pipeline) if kind.endswith("Crop") and kind not in CROPS]
    crops = [CROPS[kind_of(step)] for step in pipeline if CROPS.get(kind_of(step), 1) > 1]
    if unknown or len(crops) > 1:
        what = f"makes of a frame with {', '.join(unknown)}" if unknown else "makes, with several steps of many crops"
        raise ValueError(f"how many crops the pipeline {what} is not known: {list(map(kind_of, pipeline))}")
    layout = next((step.get("input_format") for step in pipeline if kind_of(step) == "FormatShape"), None)
    clips, frames = sampler.get("num_clips", 1), sampler["clip_len"]
    if layout == "NCHW":
        clips, frames = 1, frames * clips
    return View(clips, max(crops, default=1), frames, _side(pipeline), layout)


def read_views(pipeline: Sequence[Mapping]) -> tuple[int, int]:
    """Clips and crops of a test pipeline; errors are those of ``read_view``."""
    return read_view(pipeline)[:2]


def with_views(pipeline: Sequence[Mapping], clips: int, crops: int) -> list[dict]:
    """A copy of a test pipeline with other views.

    Three crops lie along the long side, so before them the short side is resized to the size of a crop.

    Raises:
        ValueError: Views that are not to be had, or a pipeline without a step to set them in; see ``read_view`` too.
    """
    if clips < 1 or crops not in SWAPPED:
        raise ValueError(f"views {clips}x{crops}: at least 1 clip, and 1 or 3 crops")
    view = read_view(pipeline)
    steps = [copy.deepcopy(dict(step)) for step in pipeline]
    if clips != view.clips:
        if view.layout == "NCHW":
            raise ValueError(f"views {clips}x{crops}: in the layout NCHW the clips are the frames of one view; only "
                             "the crops can be set")
        steps[_sampler(steps)]["num_clips"] = clips
    if crops != view.crops:
        crop = [number for number, step in enumerate(pipeline) if kind_of(step) in SWAPPED.values()]
        if len(crop) != 1:
            raise ValueError(f"the test pipeline has {len(crop)} steps of {', '.join(SWAPPED.values())}; it needs one "
                             f"for its crops to be set: {list(map(kind_of, pipeline))}")
        steps[crop[0]]["type"] = SWAPPED[crops]
        if crops == 3:
            resize = [step for step in steps[:crop[0]] if kind_of(step) == "Resize"]
            if not resize:
                raise ValueError("three crops need a Resize before them in the test pipeline")
            resize[-1]["scale"] = (-1, steps[crop[0]]["crop_size"])
    return steps


def with_frames(pipeline: Sequence[Mapping], frames: int) -> list[dict]:
    """A copy of a pipeline whose views have so many frames.

    Raises:
        ValueError: In the layout ``NCHW``, no multiple of the frames of a segment; see ``read_view`` too.
    """
    view, number = read_view(pipeline), _sampler(pipeline)
    steps = [copy.deepcopy(dict(step)) for step in pipeline]
    sampler = steps[number]
    if view.layout != "NCHW":
        sampler["clip_len"] = frames
    elif frames % sampler["clip_len"]:
        raise ValueError(f"{frames} frames are no multiple of the {sampler['clip_len']} that {kind_of(sampler)} takes "
                         "at a time")
    else:
        sampler["num_clips"] = frames // sampler["clip_len"]
    return steps


def parse_views(text: str) -> tuple[int, int]:
    """``4x3`` -> 4 clips, 3 crops."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise ValueError(f"views {quoted(text)} are not clips x crops, like 4x3")
    return int(match[1]), int(match[2])


def _sampler(pipeline: Sequence[Mapping]) -> int:
    """Where the step stands that samples frames."""
    found = [number for number, step in enumerate(pipeline) if "clip_len" in step]
    if len(found) != 1:
        raise ValueError(f"the pipeline has {len(found)} steps that sample frames (with clip_len) and needs one for "
                         f"its views to be known: {list(map(kind_of, pipeline))}")
    return found[0]


def _side(pipeline: Sequence[Mapping]) -> tuple[int, int] | None:
    size = None
    for step in pipeline:
        fixed = step.get("scale") if kind_of(step) == "Resize" and not step.get("keep_ratio", True) else None
        size = step.get("crop_size") or step.get("input_size") or step.get("size") or fixed or size
    if size is None or isinstance(size, int):
        return None if size is None else (size, size)
    return size[1], size[0]
