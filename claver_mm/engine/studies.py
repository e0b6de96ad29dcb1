"""The studies of ``explain/studies.py``, for the model and the test videos of a config."""
from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Subset

from ..explain import charts
from ..explain.studies import class_pairs, study_order, study_rank, study_shuffling
from ..files import read_text, write_text
from ..protocols.views import innermost, read_view, with_frames
from ..weights import load_strict, read_state_dict
from .configs import read_config

STUDIES = ("shuffling", "order", "rank")
TABLES: dict[str, Callable[..., str]] = dict(
    shuffling=charts.tabulate_shuffling, order=charts.tabulate_order, rank=charts.tabulate_rank)


def study(name: str, config: str | Path, checkpoint: str | Path, changes: Mapping[str, object] | None = None, *,
          max_videos: int | None = None, seed: int = 0, device: str | None = None, tokens: str = "patches",
          pairs: str | Path | None = None, frames: Sequence[int] = (), progress: bool = False) -> dict[str, Any]:
    """A study of a checkpoint, over the videos of its config's test loader.

    Args:
        name: Of ``STUDIES``.
        config: A file, or a shipped config by name.
        checkpoint: Its weights, complete.
        changes: Settings of the config to replace, by dotted key.
        max_videos: So many videos, drawn at random; all when None.
        seed: Of permutations and of the draw of videos.
        device: ``cuda`` where there is one, else ``cpu``, when None.
        tokens: For ``shuffling``: ``patches``, or ``all``, class tokens too.
        pairs: For ``order``: CSV file of classes that are each other played backwards.
        frames: For ``rank``: frames of a clip, one or several; the config's when empty.
        progress: Show bars.

    Returns:
        The record of ``explain/studies.py``, with what it was measured with.

    Raises:
        FileNotFoundError: A file that is not there.
        ValueError: Weights, videos or options that do not fit.
    """
    if name not in STUDIES:
        raise ValueError(f"unknown study {name!r}; one of {', '.join(STUDIES)}")
    cfg = read_config(config, changes)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmaction")):
        model = load_model(cfg, checkpoint).to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        classes = getattr(model.cls_head, "class_names", None)
        known = class_pairs(pairs, classes) if name == "order" else None
        found: Mapping[str, Any]
        if name == "rank":
            lengths: list[int | None] = list(sorted(set(frames))) or [None]
            loaders = {T: loader_of(seen_once(cfg, T), max_videos, seed, batch_size=1) for T in lengths}
            found = study_rank(model, loaders, progress)
        elif name == "order":
            found = study_order(model, loader_of(cfg, max_videos, seed), classes, known, progress)
        else:
            found = study_shuffling(model, loader_of(cfg, max_videos, seed), tokens, seed, progress)
    return dict(study=name, config=str(config), checkpoint=str(checkpoint), seed=seed, torch=torch.__version__, **found)


def load_model(cfg: Config, checkpoint: str | Path) -> nn.Module:
    """The model of a config with all its weights."""
    weights = read_state_dict(checkpoint)
    model = MODELS.build(copy.deepcopy(cfg.model))
    load_strict(model, weights, str(checkpoint))
    return model


def loader_of(cfg: Config, max_videos: int | None = None, seed: int = 0, **changes) -> DataLoader:
    """The config's test loader, on ``max_videos`` of its videos."""
    loader = Runner.build_dataloader(dict(cfg.test_dataloader, **changes), seed=seed)
    count = len(loader.dataset)
    if max_videos is None or max_videos >= count:
        return loader
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:max_videos]
    changes["dataset"] = Subset(loader.dataset, drawn.sort().values.tolist())
    return Runner.build_dataloader(dict(cfg.test_dataloader, **changes), seed=seed)


def seen_once(cfg: Config, frames: int | None = None) -> Config:
    """The config with its validation's one view of each test video, ``frames`` long where that is given."""
    cfg = copy.deepcopy(cfg)
    dataset = innermost(cfg.test_dataloader.dataset)
    if cfg.get("val_dataloader"):
        dataset.pipeline = innermost(cfg.val_dataloader.dataset).pipeline
    if frames is None:
        return cfg
    layout = read_view(dataset.pipeline).layout
    if layout != "NCTHW":
        raise ValueError(f"other frames (--frames) need a pipeline that gives clips in the layout NCTHW; this one "
                         f"gives {layout}")
    dataset.pipeline = with_frames(dataset.pipeline, frames)
    return cfg


def draw(record: Mapping[str, Any], beside: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """A record as a picture; of a rank study with earlier ones beside it."""
    if record["study"] == "rank":
        return charts.draw_rank([record, *beside])
    return dict(shuffling=charts.draw_shuffling, order=charts.draw_order)[record["study"]](record)


def read_rank_record(path: str | Path) -> dict[str, Any]:
    """An earlier result of the rank study, as ``write_record`` wrote it.

    Raises:
        FileNotFoundError, ValueError: No such file, or another one.
    """
    try:
        record = json.loads(read_text(path, "earlier result"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(record, dict) or record.get("study") != "rank":
        raise ValueError(f"{path} is no rank.json of claver analyze")
    return record


def write_record(record: Mapping[str, Any], path: str | Path) -> None:
    """A record as JSON, with null for numbers that JSON does not have."""
    write_text(path, json.dumps(plain_numbers(record), indent=1) + "\n")


def plain_numbers(record: Any) -> Any:
    """The same with None for numbers that JSON does not have."""
    if isinstance(record, Mapping):
        return {key: plain_numbers(value) for key, value in record.items()}
    if isinstance(record, list):
        return [plain_numbers(value) for value in record]
    return None if isinstance(record, float) and not math.isfinite(record) else record
