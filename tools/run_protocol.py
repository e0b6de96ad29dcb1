#!/usr/bin/env python
"""Run a whole protocol with a config and a checkpoint, and print its row of a table.

    python tools/run_protocol.py zero-shot-ucf101 --config configs/zero_shot/claver_b16_32f_k400.py \
        --checkpoint epoch_20.pth --data-root data/ucf101

Lists, logs and trained weights go to a folder for each part of the protocol, all numbers to result.json beside them.
The data folder holds the official split files in annotations/ and the videos in videos/ (or where --videos says); for
Kinetics-600 it holds a list of the test set, made by tools/make_lists.py.
"""
import claver_mm  # noqa: F401

import argparse
import hashlib
import json
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.dist import barrier, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import find_latest_checkpoint

from claver_mm.engine.launch import build_runner, load_config
from claver_mm.engine.record import describe_prompts
from claver_mm.files import write_text
from claver_mm.language import read_lines
from claver_mm.protocols import DEVIATIONS, PROTOCOLS, SHOTS, Run, Subset, harmonic_mean, mean_and_deviation, percent
from claver_mm.protocols import plan
from claver_mm.protocols.lists import write_list
from claver_mm.protocols.views import parse_views, read_views, with_views

PROMPTS = Path(__file__).resolve().parents[1] / "prompts"
METRIC = "acc/top1"
OWNED = tuple(f"{loader}_dataloader.dataset.{key}" for loader in ("train", "val", "test")
              for key in ("ann_file", "classes", "data_prefix")) + ("model.cls_head.classes", "load_from", "resume")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("protocol", choices=PROTOCOLS)
    add("--config", required=True, help="config file; of few-shot and base-to-novel protocols it trains")
    add("--checkpoint", help="weights that are tested, or that training starts from; not needed for --lists-only")
    add("--data-root", type=Path, required=True, help="folder of the data set")
    add("--videos", help="folder of the videos; <data-root>/videos, of Kinetics-600 <data-root>/videos_test")
    add("--list", type=Path, help="list or CSV file of Kinetics-600; <data-root>/kinetics600_test_list_videos.txt")
    add("--shots", type=int, nargs="+", help="videos of a class to train on; 2 4 8 16, of base-to-novel 16")
    add("--seeds", type=int, nargs="+", help="seeds of the draws, 0 by default; results are averaged over them")
    add("--few-shot-files", type=Path, nargs="+", default=[], help="published files in place of draws, one for each K")
    add("--base-classes", help="file of base classes; the first half of the class list by default")
    add("--views", help="clips x crops, e.g. 4x3; those of the config's test pipeline by default")
    add("--deviation", choices=DEVIATIONS, default="sample", help="divides by n - 1 (sample) or n (population)")
    add("--work-dir", help="work_dirs/<protocol>/<config> by default")
    add("--lists-only", action="store_true", help="write the lists and stop")
    add("--resume", action="store_true", help="go on with trainings that were stopped")
    add("--cfg-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE", help="override settings of the "
        "config, e.g. model.cls_head.kinds=[synonym]; a bank given here takes the place of the project's")
    add("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    add("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    kind = options.protocol.rpartition("-")[0]
    for option, fits in (("shots", kind != "zero-shot"), ("few_shot_files", kind == "few-shot"),
                         ("seeds", kind != "zero-shot" and not options.few_shot_files),
                         ("base_classes", kind == "base-to-novel"), ("resume", kind != "zero-shot"),
                         ("list", options.protocol == "zero-shot-kinetics600")):
        if getattr(options, option) and not fits:
            files = " with --few-shot-files" if options.few_shot_files else ""
            parser.error(f"--{option.replace('_', '-')} has no meaning for {options.protocol}{files}")
    for option in ("shots", "seeds"):
        numbers = getattr(options, option) or []
        if len(set(numbers)) < len(numbers):
            parser.error(f"--{option} names a number twice: {numbers}")
    if kind == "base-to-novel" and len(options.shots or [16]) != 1:
        parser.error("base-to-novel takes one number of shots")
    if not options.checkpoint and not options.lists_only:
        parser.error("--checkpoint is needed")
    if options.checkpoint and ":" not in options.checkpoint and not Path(options.checkpoint).is_file():
        parser.error(f"no checkpoint at {options.checkpoint}")  # what has a colon is no path but MMEngine's to find
    clash = sorted(key for key in options.cfg_options if key.startswith(OWNED))
    if clash:
        parser.error(f"{clash[0]} is set by the protocol")
    options.work_dir = options.work_dir or str(Path("work_dirs") / options.protocol / Path(options.config).stem)
    return options


def plan_runs(options: argparse.Namespace) -> list[Run]:
    dataset = plan.dataset_of(options.protocol)
    classes = read_lines(PROMPTS / f"classes/{dataset}.txt", "classes")
    root = options.data_root
    if dataset == "kinetics600":
        return plan.zero_shot_kinetics600(options.list or root / "kinetics600_test_list_videos.txt", classes)
    if options.protocol.startswith("zero-shot"):
        return plan.zero_shot(dataset, root, classes)
    if options.protocol.startswith("few-shot"):
        return plan.few_shot(dataset, root, classes, options.shots or SHOTS, options.seeds or [0],
                             options.few_shot_files)
    base = read_lines(options.base_classes, "base classes") if options.base_classes else None
    return plan.base_to_novel(dataset, root, classes, *(options.shots or [16]), options.seeds or [0], base)


def write_subset(folder: Path, subset: Subset) -> None:
    write_list(folder / "list.txt", subset.videos)
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in subset.classes))


def config_of(options: argparse.Namespace, folder: Path, name: str, lists: dict[str, Path], classes: Path) -> Config:
    """The caller's config with lists (by loader) and classes of one training or test."""
    cfg = load_config(options)
    cfg.work_dir, cfg.experiment_name, cfg.resume = str(folder), name.replace("/", "_"), False
    dataset = plan.dataset_of(options.protocol)
    videos = options.videos or str(options.data_root / ("videos_test" if dataset == "kinetics600" else "videos"))
    for loader, path in lists.items():
        data = cfg[f"{loader}_dataloader"].dataset
        if data.type != "ActionVideoDataset":
            raise ValueError(f"{options.config}: the {loader} data set is {data.type!r}; a protocol needs "
                             "'ActionVideoDataset', which checks labels against classes")
        data.update(ann_file=str(path), classes=str(classes), data_prefix=dict(video=videos))
    head, number = cfg.model.cls_head, len(read_lines(classes, "classes"))
    if "classes" not in head:
        raise ValueError(f"{options.config}: the head {head.type!r} does not take texts of classes (cls_head.classes)")
    head.classes = str(classes)
    if head.get("num_classes"):
        head.num_classes = number
    if head.get("bank") and "model.cls_head.bank" not in options.cfg_options:
        head.bank = str(PROMPTS / f"{'kinetics' if dataset == 'kinetics600' else dataset}.yaml")
    blending = (cfg.model.get("data_preprocessor") or {}).get("blending")
    for augment in (blending.get("augments", [blending]) if blending else []):
        augment.num_classes = number
    tested = cfg.test_dataloader.dataset
    if options.views:
        tested.pipeline = with_views(tested.pipeline, *parse_views(options.views))
    read_views(tested.pipeline)  # raises where the table could not say them
    return cfg


def train(options: argparse.Namespace, run: Run, folder: Path) -> str:
    """Weights that the training of a part ends with; the best on its test set would be chosen by that set."""
    validated = next(name for name, subset in run.tests.items() if subset.classes == run.train.classes)
    lists = dict(train=folder / "train/list.txt", val=folder / validated / "list.txt")
    cfg = config_of(options, folder, folder.name, lists, folder / "train/classes.txt")
    cfg.load_from = options.checkpoint
    if not cfg.get("load_allow_missing"):  # all weights come from the checkpoint, so that none need be downloaded
        for part in (cfg.model.backbone, cfg.model.cls_head):
            part.update({"pretrained": None} if "pretrained" in part else {})
    if options.resume and find_latest_checkpoint(folder):
        cfg.load_from, cfg.resume = None, True
    build_runner(cfg).train()
    barrier()
    weights = find_latest_checkpoint(folder)
    if weights is None:
        raise ValueError(f"training left no checkpoint in {folder}; the config needs a CheckpointHook")
    return weights


def test(options: argparse.Namespace, name: str, folder: Path, subset: Subset, weights: str) -> dict:
    """Accuracy on a list, and what it was measured with."""
    listed = folder / "list.txt"
    cfg = config_of(options, folder, name, dict(test=listed), folder / "classes.txt")
    cfg.load_from = weights
    runner = build_runner(cfg)
    metrics = runner.test()
    if METRIC not in metrics:
        raise ValueError(f"the test evaluator reports {', '.join(metrics)}, not {METRIC}; use AccMetric")
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    views = read_views(cfg.test_dataloader.dataset.pipeline)
    return dict(metrics=metrics, weights=str(weights), views="x".join(map(str, views)), source=subset.source,
                list=str(listed), list_sha256=hashlib.sha256(listed.read_bytes()).hexdigest(),
                listed=len(subset.videos), videos=len(runner.test_dataloader.dataset), classes=len(subset.classes),
                prompts=describe_prompts(model.cls_head))


def table(options: argparse.Namespace, results: list[dict]) -> tuple[list[str], dict]:
    """Lines of the table and the numbers behind them."""
    columns: dict[str, list[dict]] = {}
    for result in results:
        columns.setdefault(result["column"], []).append(result)
    accuracy = {name: [result["metrics"][METRIC] for result in some] for name, some in columns.items()}
    numbers = {name: dict(zip(("mean", "deviation"), mean_and_deviation(values, options.deviation)), values=values)
               for name, values in accuracy.items()}
    printed = {name: percent(values, options.deviation) for name, values in accuracy.items()}
    if "novel" in accuracy:
        numbers["harmonic mean"] = dict(mean=harmonic_mean(numbers["base"]["mean"], numbers["novel"]["mean"]))
        printed["harmonic mean"] = percent([numbers["harmonic mean"]["mean"]])
    by_list = {result["list_sha256"]: result for result in results}.values()
    prompts = results[0]["prompts"]
    kinds = dict(templates=prompts["templates"], **prompts.get("kinds", {}))
    cells = {
        "protocol": options.protocol, **printed,
        "videos": ", ".join(f"{one['videos']}" + f" of {one['listed']}" * (one["videos"] != one["listed"])
                            for one in by_list),
        "classes": ", ".join(map(str, dict.fromkeys(one["classes"] for one in results))),
        "texts of a class": f"{prompts['texts_per_class']}: "
                            + ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count),
        "views": results[0]["views"], "checkpoint": options.checkpoint}
    heads = [name + " %" * (name in printed)
             + f" (mean ± {options.deviation} deviation)" * (len(accuracy.get(name, ())) > 1) for name in cells]
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(cells), cells.values())], numbers


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    work_dir, results = Path(options.work_dir), []
    try:
        runs = plan_runs(options)
        for run in runs:
            for name, subset in dict(run.tests, **({"train": run.train} if run.train else {})).items():
                write_subset(work_dir / run.name / name, subset)
        if not options.lists_only:  # what is wrong with the config is said before the first training, not after it
            first, name = work_dir / runs[0].name, next(iter(runs[0].tests))
            config_of(options, first, name, dict(test=first / name / "list.txt"), first / name / "classes.txt")
    except (ValueError, OSError) as error:
        raise SystemExit(f"run_protocol: {error}") from error
    if options.lists_only:
        print(f"{len(runs)} parts of {options.protocol} have their lists in {work_dir}")
        return
    for run in runs:
        folder = work_dir / run.name
        weights = train(options, run, folder) if run.train else options.checkpoint
        for column, subset in run.tests.items():
            measured = test(options, f"{run.name}/{column}", folder / column, subset, weights)
            results.append(dict(run=run.name, column=column, **measured))
    lines, numbers = table(options, results)
    if is_main_process():
        asked = {name: getattr(options, name) for name in ("protocol", "config", "checkpoint", "deviation", "seeds")}
        report = dict(asked, row=lines[-1], numbers=numbers, runs=results)
        write_text(work_dir / "result.json", json.dumps(report, indent=1) + "\n")
        print("\n".join(lines))
        print(f"numbers: {work_dir / 'result.json'}")


if __name__ == "__main__":
    main()
