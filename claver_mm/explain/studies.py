"""The paper's studies of a model over the videos of a loader, each as a record of plain numbers that JSON can hold.

Tokens in random order (table 9, figure 6), clips played backwards, rank of attention (appendix A, table 8).
``charts.py`` draws and tabulates the records; ``engine/studies.py`` finds model and videos by a config. Pure: models
and loaders are taken for what they do, nothing of ``mm*`` is imported.
"""
from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..video.motion import MOTION_CLASSES, MOTION_PAIRS
from .evaluation import (
    Evaluation,
    Loader,
    Recogniser,
    evaluate,
    order_sensitivity,
    partner_indices,
    reverse_time,
    temporal_transformer,
)
from .rank import RankStudy, RankSummary
from .shuffling import shuffle_tokens


class ShufflingRecord(TypedDict):
    """Accuracy and similarity with tokens in random order."""
    pattern: str
    tokens: str
    """Of ``shuffling.TOKENS``."""
    videos: int
    rows: list[dict[str, Any]]
    """``shuffling`` (``none``, ``PreTE``, ``PostTE``), ``accuracy``, ``similarity``; of the latter two also ``change``
    and ``standard_error``, each with both, means over videos."""


class OrderRecord(TypedDict, total=False):
    """How often the answer changes when clips are played backwards: shares, see ``evaluation.order_sensitivity``."""
    pattern: str
    """``mean`` of a model without a temporal part."""
    videos: int
    accuracy: float
    changed: float
    to_partner: float
    right_backwards: float
    classes: list[dict[str, Any]]
    """The same by ``class``, the least changed first."""


class RankRecord(TypedDict):
    """Rank and condition of attention matrices."""
    pattern: str
    videos: int
    tolerance: str
    rows: list[dict[str, Any]]
    """``rank.RankSummary`` as mappings, by frames, layer and head."""


def study_shuffling(model: Recogniser, loader: Loader, tokens: str = "patches", seed: int = 0,
                    progress: bool = False) -> ShufflingRecord:
    """What a model makes of its tokens in random order, before and after the temporal embedding.

    Args:
        model: A recogniser with a temporal transformer and a ``ContrastiveTextHead``.
        loader: See ``evaluation.evaluate``.
        tokens: ``patches``, or ``all`` of them, class tokens too; one and the same where the tower has none.
        seed: Of the permutations.
        progress: Show a bar.

    Raises:
        ValueError: Another model, or no video.
    """
    transformer = temporal_transformer(model)
    results = {"none": _run(model, loader, "none", progress)}
    for name, place in (("PreTE", "before"), ("PostTE", "after")):
        with shuffle_tokens(transformer, place, tokens, seed, model.cls_head.clip.tower.num_prefix):
            results[name] = _run(model, loader, name, progress)
    rows, plain = [], results["none"]
    for name, result in results.items():
        row: dict[str, Any] = dict(shuffling=name, accuracy=result.accuracy, similarity=result.similarity)
        if result is not plain:
            change = dict(accuracy=result.correct.astype(float) - plain.correct,
                          similarity=(result.similarities - plain.similarities))
            row["change"] = {key: float(np.nanmean(values)) for key, values in change.items()}
            row["standard_error"] = {key: standard_error(values) for key, values in change.items()}
        rows.append(row)
    return ShufflingRecord(pattern=transformer.pattern, tokens=tokens, videos=len(plain.labels), rows=rows)


def standard_error(values: np.ndarray) -> float:
    """Of the mean over videos; NaN for fewer than two."""
    values = values[~np.isnan(values)]
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def study_order(model: Recogniser, loader: Loader, classes: Sequence[str] | None = None,
                pairs: Sequence[tuple[str, str]] | None = None, progress: bool = False) -> OrderRecord:
    """How often a model's answer changes when the clips are played backwards.

    Args:
        model: A recogniser with a ``ContrastiveTextHead``.
        loader: See ``evaluation.evaluate``.
        classes: Names of the labels.
        pairs: Classes that are each other played backwards; see ``class_pairs``.
        progress: Show a bar.

    Raises:
        ValueError: Pairs that do not fit the classes, a head of another kind, or no video.
    """
    partners = None if pairs is None else partner_indices(classes or (), pairs)
    forwards = _run(model, loader, "forwards", progress)
    backwards = _run(model, loader, "backwards", progress, reverse_time)
    rows = []
    for label in np.unique(forwards.labels[forwards.labels >= 0]):
        own = forwards.labels == label
        name = str(label) if classes is None else classes[label]
        rows.append({"class": name, **order_sensitivity(forwards.select(own), backwards.select(own), partners)})
    pattern = "mean" if getattr(model, "neck", None) is None else temporal_transformer(model).pattern
    return OrderRecord(pattern=pattern, **order_sensitivity(forwards, backwards, partners),
                       classes=sorted(rows, key=lambda row: row["changed"]))


def class_pairs(path: str | Path | None, classes: Sequence[str] | None) -> list[tuple[str, str]] | None:
    """Pairs of a CSV file, two classes a line; or those of the motion videos where all classes are theirs; or None.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A line that does not name two of ``classes``; or no classes.
    """
    if path is None:
        if classes is None or not set(classes) <= set(MOTION_CLASSES):
            return None
        return [pair for pair in MOTION_PAIRS if set(pair) <= set(classes)]
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file of class pairs at {path}")
    if classes is None:
        raise ValueError(f"{path} names classes, but the config has none: set model.cls_head.classes")
    pairs = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file, skipinitialspace=True), start=1):
            names = [name.strip() for name in row]
            if names and (len(names) != 2 or not set(names) <= set(classes)):
                raise ValueError(f"{path}, line {number}: {', '.join(names)!r} does not name two classes of the "
                                 "config; write one,other")
            if names:
                pairs.append((names[0], names[1]))
    return pairs


def study_rank(model: Recogniser, loaders: Mapping[int | None, Loader], progress: bool = False) -> RankRecord:
    """Rank and condition of a model's attention.

    Args:
        model: A recogniser with a temporal transformer.
        loaders: By frames of a clip (None for as many as the loader gives), one video a batch.
        progress: Show a bar.

    Raises:
        ValueError: A model without one temporal transformer.
    """
    transformer = temporal_transformer(model)
    rows: list[RankSummary] = []
    videos = 0
    for frames, loader in loaders.items():
        study, videos = RankStudy(), len(loader.dataset)
        with torch.no_grad(), study.watching(transformer):
            what = "the config's T" if frames is None else f"T = {frames}"
            for batch in tqdm(loader, what, unit="video", disable=not progress):
                model.test_step(batch)
        rows += study.summary()
    return RankRecord(pattern=transformer.pattern, videos=videos, tolerance="S * eps * s_max",
                      rows=[row.as_dict() for row in rows])


def _run(model: Recogniser, loader: Loader, what: str, progress: bool,
         change: Callable[[Tensor], Tensor] | None = None) -> Evaluation:
    return evaluate(model, loader, change, total=len(loader.dataset), progress=what if progress else None)
