#!/usr/bin/env python
"""The paper's analyses of a checkpoint, over the videos of its config's test loader.

    python tools/analyze.py shuffling CONFIG CHECKPOINT     # tokens in random order: table 9, figure 6
    python tools/analyze.py order CONFIG CHECKPOINT         # clips played backwards
    python tools/analyze.py rank CONFIG CHECKPOINT --frames 2 4 8 16        # rank of attention: appendix A, table 8

Each prints a Markdown table and writes it as JSON and PNG into --out. Another data set is another config, or
--cfg-options test_dataloader.dataset.ann_file=... and what goes with it.
"""
from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import claver_mm  # noqa: F401

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from claver_mm.datasets.motion import MOTION_CLASSES, MOTION_PAIRS
from claver_mm.explain import charts
from claver_mm.explain.evaluation import (
    Evaluation,
    evaluate,
    order_sensitivity,
    partner_indices,
    reverse_time,
    temporal_transformer,
)
from claver_mm.explain.rank import RankStudy, RankSummary
from claver_mm.explain.shuffling import TOKENS, shuffle_tokens
from claver_mm.weights import load_strict, read_state_dict

DRAWINGS = dict(shuffling=charts.draw_shuffling, order=charts.draw_order)
TABLES = dict(shuffling=charts.tabulate_shuffling, order=charts.tabulate_order, rank=charts.tabulate_rank)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("config", type=Path)
    shared.add_argument("checkpoint", type=Path)
    shared.add_argument("--cfg-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
                        help="override settings of the config, e.g. test_dataloader.batch_size=4")
    shared.add_argument("--out", type=Path, help="folder of the results; work_dirs/analyze/<config> by default")
    shared.add_argument("--seed", type=int, default=0, help="of permutations and of the draw of videos")
    shared.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    studies = parser.add_subparsers(dest="study", required=True)
    shuffling = studies.add_parser("shuffling", parents=[shared], help="tokens in random order")
    shuffling.add_argument("--tokens", choices=TOKENS, default="patches",
                           help="whether class tokens stay where the head reads them")
    order = studies.add_parser("order", parents=[shared], help="clips played backwards")
    order.add_argument("--pairs", type=Path, help="CSV file, two classes a line that are each other played backwards; "
                                                  "known for the motion videos")
    rank = studies.add_parser("rank", parents=[shared], help="rank and condition of attention, one view of each video")
    rank.add_argument("--frames", type=int, nargs="+", metavar="T", help="frames of a clip, one or several; the "
                      "temporal embedding is interpolated; the config's where left out")
    rank.add_argument("--beside", type=Path, nargs="+", default=[], metavar="rank.json",
                      help="earlier results, drawn into the same picture")
    for study, most in ((shuffling, None), (order, None), (rank, 64)):
        study.add_argument("--max-videos", type=int, default=most, metavar="N",
                           help=f"so many videos, drawn at random; {most or 'all'} by default")
    options = parser.parse_args(arguments)
    for value in (options.max_videos, *(getattr(options, "frames", None) or ())):
        if value is not None and value < 1:
            parser.error(f"--max-videos and --frames must be at least 1, got {value}")
    options.out = options.out or Path("work_dirs/analyze") / options.config.stem
    return options


def load(options: argparse.Namespace) -> tuple[Config, nn.Module]:
    """Config, and model with all its weights."""
    if not options.config.is_file():
        raise FileNotFoundError(f"no config at {options.config}")
    cfg = Config.fromfile(options.config)
    cfg.merge_from_dict(options.cfg_options)
    init_default_scope(cfg.get("default_scope", "mmaction"))
    weights = read_state_dict(options.checkpoint)
    model = MODELS.build(copy.deepcopy(cfg.model))
    load_strict(model, weights, str(options.checkpoint))
    return cfg, model.to(options.device).eval()


def test_loader(cfg: Config, options: argparse.Namespace, **changes) -> DataLoader:
    """The config's test loader, on ``--max-videos`` of its videos."""
    loader = Runner.build_dataloader(dict(cfg.test_dataloader, **changes), seed=options.seed)
    count = len(loader.dataset)
    if options.max_videos is None or options.max_videos >= count:
        return loader
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(options.seed))[:options.max_videos]
    changes["dataset"] = Subset(loader.dataset, drawn.sort().values.tolist())
    return Runner.build_dataloader(dict(cfg.test_dataloader, **changes), seed=options.seed)


def run(model: nn.Module, loader: DataLoader, progress: str, change=None) -> Evaluation:
    return evaluate(model, loader, change, total=len(loader.dataset), progress=progress)


def study_shuffling(options: argparse.Namespace) -> dict:
    cfg, model = load(options)
    transformer = temporal_transformer(model)
    loader = test_loader(cfg, options)
    results = {"none": run(model, loader, "none")}
    for name, place in (("PreTE", "before"), ("PostTE", "after")):
        with shuffle_tokens(transformer, place, options.tokens, options.seed):
            results[name] = run(model, loader, name)
    rows, plain = [], results["none"]
    for name, result in results.items():
        row = dict(shuffling=name, accuracy=result.accuracy, similarity=result.similarity)
        if result is not plain:
            change = dict(accuracy=result.correct.astype(float) - plain.correct,
                          similarity=(result.similarities - plain.similarities))
            row["change"] = {key: float(np.nanmean(values)) for key, values in change.items()}
            row["standard_error"] = {key: standard_error(values) for key, values in change.items()}
        rows.append(row)
    return dict(pattern=transformer.pattern, tokens=options.tokens, videos=len(plain.labels), rows=rows)


def standard_error(values: np.ndarray) -> float:
    """Of the mean over videos; NaN for fewer than two."""
    values = values[~np.isnan(values)]
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def study_order(options: argparse.Namespace) -> dict:
    cfg, model = load(options)
    classes = getattr(model.cls_head, "class_names", None)
    pairs = class_pairs(options.pairs, classes)
    partners = None if pairs is None else partner_indices(classes, pairs)
    loader = test_loader(cfg, options)
    forwards, backwards = run(model, loader, "forwards"), run(model, loader, "backwards", reverse_time)
    rows = []
    for label in np.unique(forwards.labels[forwards.labels >= 0]):
        own = forwards.labels == label
        name = str(label) if classes is None else classes[label]
        rows.append({"class": name, **order_sensitivity(forwards.select(own), backwards.select(own), partners)})
    neck = getattr(model, "neck", None)
    return dict(pattern="mean" if neck is None else temporal_transformer(model).pattern,
                **order_sensitivity(forwards, backwards, partners),
                classes=sorted(rows, key=lambda row: row["changed"]))


def class_pairs(path: Path | None, classes: list[str] | None) -> list[tuple[str, str]] | None:
    """Pairs of a file, or those of the motion videos where all classes are theirs, or None."""
    if path is None:
        motion = classes is not None and set(classes) <= set(MOTION_CLASSES)
        return [pair for pair in MOTION_PAIRS if set(pair) <= set(classes)] if motion else None
    if not path.is_file():
        raise FileNotFoundError(f"no file of class pairs at {path}")
    if classes is None:
        raise ValueError("--pairs names classes, but the config has none: set model.cls_head.classes")
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


def study_rank(options: argparse.Namespace) -> dict:
    cfg, model = load(options)
    transformer = temporal_transformer(model)
    rows: list[RankSummary] = []
    for frames in sorted(set(options.frames)) if options.frames else [None]:
        study, loader = RankStudy(), test_loader(seen_once(cfg, frames), options, batch_size=1)
        with torch.no_grad(), study.watching(transformer):
            for batch in tqdm(loader, "the config's T" if frames is None else f"T = {frames}", unit="video"):
                model.test_step(batch)
        rows += study.summary()
    return dict(pattern=transformer.pattern, videos=len(loader.dataset), tolerance="S * eps * s_max",
                rows=[row.as_dict() for row in rows])


def seen_once(cfg: Config, frames: int | None) -> Config:
    """The config with its validation's one view of each test video, ``frames`` long where that is given."""
    cfg = copy.deepcopy(cfg)
    dataset = innermost(cfg.test_dataloader.dataset)
    if cfg.get("val_dataloader"):
        dataset.pipeline = innermost(cfg.val_dataloader.dataset).pipeline
    if frames is None:
        return cfg
    sampler = next((step for step in dataset.pipeline if "clip_len" in step), None)
    layout = next((step.input_format for step in dataset.pipeline if step.type == "FormatShape"), None)
    if sampler is None or layout != "NCTHW":
        raise ValueError("--frames needs a pipeline with a step that has clip_len, and clips in the layout NCTHW; this "
                         f"one has {'no such step' if sampler is None else f'the layout {layout}'}")
    sampler.clip_len = frames
    return cfg


def innermost(dataset: Config) -> Config:
    """The data set that has the pipeline, inside its wrappers."""
    while "pipeline" not in dataset and "dataset" in dataset:
        dataset = dataset.dataset
    return dataset


def earlier(path: Path) -> dict:
    """A result of the rank study."""
    if not path.is_file():
        raise FileNotFoundError(f"no earlier result at {path}")
    record = json.loads(path.read_text())
    if record.get("study") != "rank":
        raise ValueError(f"{path} is no rank.json of this tool")
    return record


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    study = options.study
    try:
        beside = [earlier(path) for path in getattr(options, "beside", ())]
        run_study = dict(shuffling=study_shuffling, order=study_order, rank=study_rank)[study]
        record = dict(study=study, config=str(options.config), checkpoint=str(options.checkpoint), seed=options.seed,
                      torch=torch.__version__, **run_study(options))
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{study}.json"
    path.write_text(json.dumps(without_nan(record), indent=1) + "\n")
    figure = charts.draw_rank([record, *beside]) if study == "rank" else DRAWINGS[study](record)
    figure.savefig(path.with_suffix(".png"), dpi=150)
    print(f"{TABLES[study](record)}\n\n{path}, {path.with_suffix('.png')}")
    return 0


def without_nan(record):
    """The same with None for numbers that JSON does not have."""
    if isinstance(record, dict):
        return {key: without_nan(value) for key, value in record.items()}
    if isinstance(record, list):
        return [without_nan(value) for value in record]
    return None if isinstance(record, float) and not math.isfinite(record) else record


if __name__ == "__main__":
    sys.exit(main())
