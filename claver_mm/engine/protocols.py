"""Whole protocols: lists written, models trained and tested, results summed up into a row of a table."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.model import is_model_wrapper

from ..catalog import PROMPTS
from ..files import write_text
from ..language import read_lines
from ..protocols import DEVIATIONS, PROTOCOLS, SHOTS, Run, Subset, plan
from ..protocols.lists import write_list
from ..protocols.summary import METRIC, summed_up
from ..protocols.views import parse_views, pipeline_of, read_views, with_views
from .checkpoints import find_checkpoint
from .launch import build_runner, run_config
from .record import describe_prompts

OWNED = tuple(f"{loader}_dataloader.dataset.{key}" for loader in ("train", "val", "test")
              for key in ("ann_file", "classes", "data_prefix"))
OWNED += ("model.classes", "model.cls_head.classes", "load_from", "resume")
"""Settings that a protocol makes itself."""


@dataclass(frozen=True)
class Protocol:
    """A protocol with a config, a checkpoint and a data set; ``run`` it.

    Args:
        name: Of ``PROTOCOLS``.
        config: Config file, or a shipped one by name; few-shot and base-to-novel protocols train it.
        data_root: Folder of the data set, with the official split files in ``annotations/``.
        checkpoint: Weights that are tested, or that training starts from.
        tower: Name of the tower that is tested without a checkpoint, as ``changes`` has set it; for the table.
        videos: Folder of the videos; ``<data_root>/videos``, of Kinetics-600 ``videos_test``, when None.
        kinetics_list: List or CSV file of Kinetics-600; ``<data_root>/kinetics600_test_list_videos.txt`` when None.
        shots: Videos of a class to train on; 2, 4, 8, 16, of base-to-novel 16, when empty.
        seeds: Of the draws, 0 when empty; results are averaged over them.
        few_shot_files: Published files in place of draws, one for each K.
        base_classes: File of base classes; the first half of the class list when None.
        views: Clips x crops, as ``4x3``; those of the config's test pipeline when None.
        deviation: Of ``DEVIATIONS``.
        work_dir: ``work_dirs/<protocol>/<config>`` when None.
        resume: Go on with trainings that were stopped.
        adapt: Few-shot alone: train a temporal part and the texts on tokens that the frozen tower gives once
            (``claver_mm.adapt``), in place of the config's training of everything. From a tower as well.
        cache: Where these tokens lie, as of ``adapt``.
        changes: Settings of the config to replace, by dotted key; a bank given here takes the place of the project's.
        launcher, local_rank, show_log: As in ``run_config``.

    Raises:
        ValueError: Something that has no meaning for this protocol, or that it sets itself.
        FileNotFoundError: No such checkpoint.
    """
    name: str
    config: str
    data_root: Path
    checkpoint: str | None = None
    tower: str | None = None
    videos: str | None = None
    kinetics_list: Path | None = None
    shots: Sequence[int] = ()
    seeds: Sequence[int] = ()
    few_shot_files: Sequence[Path] = ()
    base_classes: str | None = None
    views: str | None = None
    deviation: str = "sample"
    work_dir: str | None = None
    resume: bool = False
    adapt: bool = False
    cache: Path | None = None
    changes: Mapping[str, object] = field(default_factory=dict)
    launcher: str = "none"
    local_rank: int = 0
    show_log: bool = False

    def __post_init__(self) -> None:
        for what, value, known in (("protocol", self.name, PROTOCOLS), ("deviation", self.deviation, DEVIATIONS)):
            if value not in known:
                raise ValueError(f"unknown {what} {value!r}; one of {', '.join(known)}")
        kind = self.name.rpartition("-")[0]
        for option, value, fits in (
                ("shots", self.shots, kind != "zero-shot"),
                ("few-shot-files", self.few_shot_files, kind == "few-shot"),
                ("seeds", self.seeds, kind != "zero-shot" and not self.few_shot_files),
                ("base-classes", self.base_classes, kind == "base-to-novel"),
                ("resume", self.resume, kind != "zero-shot" and not self.adapt),
                ("adapt", self.adapt, kind == "few-shot"), ("cache", self.cache, self.adapt),
                ("views", self.views, not self.adapt),
                ("list", self.kinetics_list, self.name == "zero-shot-kinetics600")):
            if value and not fits:
                files = " with --few-shot-files" if self.few_shot_files else " with --adapt" if self.adapt else ""
                raise ValueError(f"--{option} has no meaning for {self.name}{files}")
        for option, numbers in (("shots", self.shots), ("seeds", self.seeds)):
            if len(set(numbers)) < len(numbers):
                raise ValueError(f"--{option} names a number twice: {list(numbers)}")
        if kind == "base-to-novel" and len(self.shots or [16]) != 1:
            raise ValueError("base-to-novel takes one number of shots")
        if self.tower and (self.checkpoint or kind != "zero-shot" and not self.adapt):
            raise ValueError("--tower is a model without a checkpoint, for zero-shot protocols and --adapt; "
                             + ("there is one" if self.checkpoint else
                                f"{self.name} trains all of a model: give --config and --checkpoint"))
        if self.checkpoint and ":" not in self.checkpoint and not Path(self.checkpoint).is_file():
            raise FileNotFoundError(f"no checkpoint at {self.checkpoint}")  # a colon: MMEngine's to find
        clash = sorted(key for key in self.changes if key.startswith(OWNED))
        if clash:
            raise ValueError(f"{clash[0]} is set by the protocol")

    @property
    def folder(self) -> Path:
        """Of lists, logs, weights and ``result.json``."""
        return Path(self.work_dir or Path("work_dirs") / self.name / Path(self.config).stem)

    @property
    def dataset(self) -> str:
        return plan.dataset_of(self.name)

    def runs(self) -> list[Run]:
        """The parts of the protocol."""
        classes = read_lines(PROMPTS / f"classes/{self.dataset}.txt", "classes")
        if self.dataset == "kinetics600":
            listed = self.kinetics_list or self.data_root / "kinetics600_test_list_videos.txt"
            return plan.zero_shot_kinetics600(listed, classes)
        if self.name.startswith("zero-shot"):
            return plan.zero_shot(self.dataset, self.data_root, classes)
        if self.name.startswith("few-shot"):
            return plan.few_shot(self.dataset, self.data_root, classes, self.shots or SHOTS, self.seeds or [0],
                                 self.few_shot_files)
        base = read_lines(self.base_classes, "base classes") if self.base_classes else None
        return plan.base_to_novel(self.dataset, self.data_root, classes, *(self.shots or [16]), self.seeds or [0], base)

    def write_lists(self, runs: Sequence[Run]) -> None:
        """Annotation and class lists of every part, in the work folder."""
        for run in runs:
            for name, subset in dict(run.tests, **({"train": run.train} if run.train else {})).items():
                write_list(self.folder / run.name / name / "list.txt", subset.videos)
                write_text(self.folder / run.name / name / "classes.txt",
                           "".join(f"{name}\n" for name in subset.classes))

    def run(self) -> dict[str, Any]:
        """Train and test all parts; what was asked, ``row`` and ``table`` in Markdown, ``numbers`` and ``runs``.

        All but the table is written to ``result.json``, by rank 0.

        Raises:
            ValueError, FileNotFoundError: No checkpoint, lists that cannot be made, or a config that cannot be used.
        """
        tested = self.tower or self.checkpoint
        if not tested:
            raise ValueError("--checkpoint is needed, or --tower")
        runs, results = self.runs(), []
        self.write_lists(runs)
        name = next(iter(runs[0].tests))  # what is wrong with the config is said before the first training
        self._config(self.folder / runs[0].name, name, dict(test=self.folder / runs[0].name / name / "list.txt"),
                     self.folder / runs[0].name / name / "classes.txt")
        for run in runs if not self.adapt else ():
            folder = self.folder / run.name
            weights = self._train(run, folder) if run.train else self.checkpoint
            for column, subset in run.tests.items():
                measured = self._test(f"{run.name}/{column}", folder / column, subset, weights)
                results.append(dict(run=run.name, column=column, **measured))
        if self.adapt:
            from ..adapt.few_shot import adapted_runs
            results = adapted_runs(self, runs)
        lines, numbers = summed_up(self.name, tested, results, self.deviation)
        report = dict(protocol=self.name, config=str(self.config), checkpoint=self.checkpoint,
                      tower=self.tower, deviation=self.deviation, seeds=list(self.seeds) or None, row=lines[-1],
                      numbers=numbers, runs=results)
        if is_main_process():
            write_text(self.folder / "result.json", json.dumps(report, indent=1) + "\n")
        return dict(report, table=lines)

    def _config(self, folder: Path, name: str, lists: Mapping[str, Path], classes: Path) -> Config:
        """The caller's config with lists (by loader) and classes of one training or test."""
        cfg = run_config(self.config, self.changes, launcher=self.launcher, local_rank=self.local_rank,
                         show_log=self.show_log)
        cfg.work_dir, cfg.experiment_name, cfg.resume = str(folder), name.replace("/", "_"), False
        videos = self.videos or str(self.data_root / ("videos_test" if self.dataset == "kinetics600" else "videos"))
        for loader, path in lists.items():
            data = cfg[f"{loader}_dataloader"].dataset
            if data.type != "ActionVideoDataset":
                raise ValueError(f"{self.config}: the {loader} data set is {data.type!r}; a protocol needs "
                                 "'ActionVideoDataset', which checks labels against classes")
            data.update(ann_file=str(path), classes=str(classes), data_prefix=dict(video=videos))
        head, number = cfg.model.cls_head, len(read_lines(classes, "classes"))
        if "classes" not in head:
            raise ValueError(f"{self.config}: the head {head.type!r} does not take texts of classes "
                             "(cls_head.classes)")
        head.classes = str(classes)
        if head.get("num_classes"):
            head.num_classes = number
        cfg.pop("derived", None)  # of the config's own classes
        if head.get("bank") and not {"model.bank", "model.cls_head.bank"} & self.changes.keys():
            head.bank = str(PROMPTS / f"{'kinetics' if self.dataset == 'kinetics600' else self.dataset}.yaml")
        blending = (cfg.model.get("data_preprocessor") or {}).get("blending")
        for augment in (blending.get("augments", [blending]) if blending else []):
            augment.num_classes = number
        tested = cfg.test_dataloader.dataset
        if self.views:
            tested.pipeline = with_views(tested.pipeline, *parse_views(self.views))
        read_views(pipeline_of(tested))  # raises where the table could not say them
        return cfg

    def _train(self, run: Run, folder: Path) -> str:
        """Weights that the training of a part ends with; the best on its test set would be chosen by that set."""
        validated = next(name for name, subset in run.tests.items() if subset.classes == run.train.classes)
        lists = dict(train=folder / "train/list.txt", val=folder / validated / "list.txt")
        cfg = self._config(folder, folder.name, lists, folder / "train/classes.txt")
        cfg.load_from = self.checkpoint
        if not cfg.get("load_allow_missing"):  # all weights come from the checkpoint, so that none need be downloaded
            for part in (cfg.model.backbone, cfg.model.cls_head):
                part.update({"pretrained": None} if "pretrained" in part else {})
        if self.resume:
            cfg.resume = "auto"
        runner = build_runner(cfg)
        runner.train()
        barrier()
        weights, _ = find_checkpoint(runner)
        if weights is None:
            raise ValueError(f"training left no checkpoint in {folder}; the config needs a CheckpointHook")
        return weights

    def _test(self, name: str, folder: Path, subset: Subset, weights: str | None) -> dict[str, Any]:
        """Accuracy on a list, and what it was measured with."""
        listed = folder / "list.txt"
        cfg = self._config(folder, name, dict(test=listed), folder / "classes.txt")
        cfg.load_from = weights
        runner = build_runner(cfg)
        metrics = runner.test()
        if METRIC not in metrics:
            raise ValueError(f"the test evaluator reports {', '.join(metrics)}, not {METRIC}; use AccMetric")
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        views = read_views(pipeline_of(cfg.test_dataloader.dataset))
        return dict(metrics=metrics, weights=str(weights or self.tower), views="x".join(map(str, views)),
                    source=subset.source, list=str(listed), list_sha256=hashlib.sha256(listed.read_bytes()).hexdigest(),
                    listed=len(subset.videos), videos=len(runner.test_dataloader.dataset), classes=len(subset.classes),
                    prompts=describe_prompts(model.cls_head))
