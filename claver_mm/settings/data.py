"""What data sets take from the rest of a config: files, steps, classes, frames of a clip.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..catalog import find_classes
from ..protocols.views import kind_of, read_view
from .keys import plain
from .model import NECKS, frames_of, listed_classes

SPLITS = ("train", "val", "test")
SAMPLERS = ("UniformSample", "SampleFrames", "DenseSampleFrames")
ROOT = "{data_root}"


def leaves(dataset: dict | None) -> Iterator[dict]:
    """A data set, or those that a wrapper is made of."""
    if not isinstance(dataset, dict):
        return
    inner = [part for part in (dataset.get("dataset"), *(dataset.get("datasets") or ())) if part]
    for part in inner:
        yield from leaves(part)
    if not inner:
        yield dataset


def datasets(cfg: Mapping) -> Iterator[tuple[str, dict]]:
    """Every data set of a config with its split."""
    for split in SPLITS:
        loader = cfg.get(f"{split}_dataloader")
        for dataset in leaves(loader.get("dataset")) if isinstance(loader, dict) else ():
            yield split, dataset


def complete_data(cfg: dict) -> None:
    """Fill in what data sets leave out, in place.

    Files come from ``train_videos``, ``val_videos`` and ``test_videos`` (else ``val_videos``), steps from
    ``train_pipeline`` and so on, classes from the model; a path that begins with ``{data_root}`` lies there.

    Raises:
        ValueError: A path below ``{data_root}`` and no ``data_root``.
        FileNotFoundError: A class list that does not exist.
    """
    classes = listed_classes(cfg.get("model"))
    for split, dataset in datasets(cfg):
        videos = cfg.get(f"{split}_videos") or (cfg.get("val_videos") if split == "test" else None) or {}
        for key, value in videos.items():
            dataset.setdefault(key, plain(value))
        if cfg.get(f"{split}_pipeline") is not None:
            dataset.setdefault("pipeline", plain(cfg[f"{split}_pipeline"]))
        if "ann_file" in dataset:
            dataset["ann_file"] = below(cfg.get("data_root"), dataset["ann_file"])
        if isinstance(dataset.get("data_prefix"), dict):
            dataset["data_prefix"] = {key: below(cfg.get("data_root"), path)
                                      for key, path in dataset["data_prefix"].items()}
        if dataset.get("classes") is None and classes is not None and kind_of(dataset) == "ActionVideoDataset":
            dataset["classes"] = plain(classes)
        if dataset.get("classes") is not None:
            dataset["classes"] = find_classes(dataset["classes"])
    for split in SPLITS:
        cfg.pop(f"{split}_videos", None)


def below(data_root: str | None, path: object) -> object:
    """A path with its ``{data_root}`` put in."""
    if not isinstance(path, str) or not path.startswith(ROOT):
        return path
    if not isinstance(data_root, str):
        raise ValueError(f"{path!r} lies below data_root, and the config has none; set data_root")
    return data_root + path[len(ROOT):]


def complete_frames(cfg: dict, num_frames: int | None) -> None:
    """Let pipelines take as many frames as the model, in place.

    A step that samples frames follows where it has no ``clip_len``, or that of the top-level ``clip_len``, for which
    the pipelines of the config were written.

    Args:
        cfg: Config whose data sets have their pipelines.
        num_frames: Frames of a model that was said once; None where the neck alone tells them.

    Raises:
        ValueError: A pipeline of another number of frames; both places are named.
    """
    model = cfg["model"] if isinstance(cfg.get("model"), dict) else {}
    neck = model.get("neck") or {}
    if num_frames is None:
        if kind_of(neck) not in NECKS:
            cfg.pop("clip_len", None)
            return
        num_frames = neck.get("num_frames", 8)
    samplers = [(name, number, step, pipeline) for name, pipeline in pipelines(cfg).items()
                for number, step in enumerate(pipeline) if isinstance(step, dict) and kind_of(step) in SAMPLERS]
    written = cfg.pop("clip_len", None)
    if written not in (None, num_frames) and not any(step.get("clip_len") == written for _, _, step, _ in samplers):
        raise ValueError(f"clip_len={written} at the top is what pipelines were written for, and none of them was; the "
                         f"frames of a clip are said in model.num_frames, here {num_frames}")
    keeps_frames = kind_of(model.get("backbone")) == "CLIPBackbone"
    for name, number, step, pipeline in samplers:
        shape = next((each.get("input_format") for each in pipeline if kind_of(each) == "FormatShape"), None)
        if step.get("clip_len", written) == written and keeps_frames:
            step["clip_len"] = num_frames
        clip_len = step.get("clip_len")
        if keeps_frames and shape == "NCTHW" and clip_len != num_frames:
            said = "model.neck.num_frames" if neck else "model.num_frames"
            raise ValueError(f"{name}.{number}.clip_len is {clip_len}, {said} is {num_frames}: a clip has as many "
                             "frames as the model is made for; set model.num_frames, which pipelines without clip_len "
                             "follow")
        frames = (clip_len or 1) * step.get("num_clips", 1)
        if shape == "NCHW" and name.endswith("dataset.pipeline") and frames % num_frames:
            raise ValueError(f"{name}.{number} takes {frames} frames of a video, model.neck.num_frames is "
                             f"{num_frames}, which does not divide them; set num_clips, or num_frames of the neck")


def pipelines(cfg: Mapping) -> dict[str, list]:
    """Every list of steps of a config by the place where it stands."""
    found = {f"{split}_pipeline": cfg[f"{split}_pipeline"] for split in SPLITS
             if isinstance(cfg.get(f"{split}_pipeline"), list)}
    return found | {f"{split}_dataloader.dataset.pipeline": dataset["pipeline"] for split, dataset in datasets(cfg)
                    if isinstance(dataset.get("pipeline"), list)}


def complete_sizes(cfg: dict) -> None:
    """Let frames have the size that the image tower takes, in place.

    Sizes follow where the pipelines of the config were written for ``crop_size``, which is said at the top: crops of
    that size become the tower's, resized sides keep their ratio to it.

    Args:
        cfg: Config whose model is written out, and whose data sets have their pipelines.

    Raises:
        ValueError: A pipeline of another size, or one that would have to follow a tower whose input is no square.
    """
    written, model = cfg.pop("crop_size", None), cfg["model"] if isinstance(cfg.get("model"), dict) else {}
    backbone = model.get("backbone") or {}
    if kind_of(backbone) != "CLIPBackbone":
        return
    prepared = frames_of(backbone)
    side = prepared.size
    for name, pipeline in pipelines(cfg).items():
        for step in pipeline:
            if kind_of(step) == "PrepareFrames":
                follows = dict(size=side[0] if side[0] == side[1] else side[::-1],
                               interpolation=prepared.interpolation, resize_mode=prepared.resize_mode)
                step.update({key: value for key, value in follows.items() if key not in step})
        if written is not None and (written, written) != side:
            if side[0] != side[1]:
                raise ValueError(f"the image tower takes frames of {side[0]}x{side[1]} pixels, for which the steps of "
                                 f"{name} cannot be derived from crop_size={written}: write them out, without it")
            for step in pipeline:
                if kind_of(step) != "PrepareFrames":
                    _resize(step, written, side[0])
        try:
            view = read_view(pipeline)
        except ValueError:  # what it makes of a video is not known; a run says what does not fit
            continue
        if view.side not in (None, side) and "dataloader" in name:  # what a run reads
            raise ValueError(f"{name} makes frames of {view.side[0]}x{view.side[1]} pixels, the image tower takes "
                             f"{side[0]}x{side[1]}: set model.image_size, or the sizes of the steps")


def _resize(step: dict, old: int, new: int) -> None:
    """Sizes of a step for crops of another size, in place."""
    for key in ("scale", "size", "crop_size", "input_size"):
        value = step.get(key)
        if isinstance(value, list | tuple):
            step[key] = type(value)(entry if entry < 0 else round(entry * new / old) for entry in value)
        elif type(value) is int:
            step[key] = round(value * new / old)
