"""What a run ran on, in its log and in one JSON file beside its checkpoints."""
from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections import defaultdict
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmaction.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ..datasets.video_dataset import leaf_datasets
from ..files import sha256_of_file, write_text
from ..protocols.views import pipeline_of, read_view
from ..towers.pretrained import reference_of, resolve_pretrained
from ..version import __version__
from ..video.shards import split_path, video_exists
from ..weights.difference import is_difference

PACKAGES = ("torch", "torchvision", "mmengine", "mmaction2", "mmcv", "mmcv-lite", "mmpretrain", "open_clip_torch",
            "av", "decord", "opencv-python", "numpy")
HERE = Path(__file__).resolve().parent


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Writes ``run_<time>.json`` into the work folder before the first step, and logs it.

    It holds tower (reference, kind, pooling, preprocessing, loss), classes, data sets (files, SHA-256 of the annotation
    list, missing files), prompts, what followed from other parts of the config (``derived``), views of the test
    pipeline, weights that were loaded with their SHA-256, versions, commit, seed, batch, learning rates; after a test
    its metrics as well. ``<time>`` is that of the run's log folder.

    Args:
        count_missing: Look for every file of the data sets, folder by folder.
    """

    priority = "LOWEST"  # after whatever another hook changes before the first step

    def __init__(self, count_missing: bool = True) -> None:
        self.count_missing = count_missing
        self.record: dict | None = None

    def before_train(self, runner) -> None:
        """See ``Hook.before_train``."""
        self._write_first(runner, "train")

    def before_val(self, runner) -> None:
        """See ``Hook.before_val``; validation within training is part of that run."""
        self._write_first(runner, "val")

    def before_test(self, runner) -> None:
        """See ``Hook.before_test``."""
        self.record = None  # a test after training is a run of its own
        self._write_first(runner, "test")

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        """See ``Hook.after_test_epoch``."""
        if self.record is not None:
            self.record["metrics"] = {name: value.tolist() if hasattr(value, "tolist") else value
                                      for name, value in (metrics or {}).items()}
            self._write(runner)

    @master_only
    def _write_first(self, runner, purpose: str) -> None:
        if self.record is not None:
            return
        self.record = describe(runner, purpose, self.count_missing)
        self._write(runner)
        logged = dict(self.record, classes={key: value for key, value in self.record["classes"].items()
                                            if key != "names"})
        runner.logger.info(f"this run, as in {self._path(runner)}:\n{json.dumps(logged, indent=2)}")

    def _write(self, runner) -> None:
        write_text(self._path(runner), json.dumps(self.record, indent=2, ensure_ascii=False) + "\n")

    def _path(self, runner) -> Path:
        purpose = "" if self.record["purpose"] == "train" else f"_{self.record['purpose']}"
        return Path(runner.work_dir, f"run_{runner.timestamp}{purpose}.json")


def describe(runner, purpose: str, count_missing: bool = True) -> dict:
    """Everything that the numbers of a run depend on, as plain data."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    datasets = {name: list(leaf_datasets(dataset)) for name, dataset in datasets_of(runner, purpose).items()}
    record = dict(
        purpose=purpose,
        config=runner.cfg.filename,
        tower=describe_tower(model),
        classes=describe_classes(model.cls_head, [dataset for parts in datasets.values() for dataset in parts]),
        datasets={name: [describe_dataset(dataset, count_missing) for dataset in parts]
                  for name, parts in datasets.items()},
        prompts=describe_prompts(model.cls_head),
        derived=list(runner.cfg.get("derived") or ()),
        views=test_views(runner.cfg),
        weights=loaded_weights(runner, model, purpose),
        versions=versions(),
        commit=commit(),
        seed=runner.seed,
        world_size=runner.world_size)
    if purpose == "train":
        record.update(describe_updates(runner))
    return record


def describe_tower(model) -> dict:
    """Tower by its reference, what it is, how frames are prepared for it, and the loss that trains it; empty for a
    model without one."""
    backbone, head = model.backbone, model.cls_head
    if not hasattr(backbone, "preprocessing") or not hasattr(head, "clip"):
        return {}
    tower = head.clip.tower
    return dict(reference=reference_of(backbone.arch, backbone.pretrained), kind=tower.kind, pooling=tower.pooling,
                preprocessing=asdict(backbone.preprocessing), loss=type(head.loss_cls).__name__,
                label_smooth_eps=head.label_smooth_eps)


def describe_classes(head, datasets: list) -> dict:
    """Class list, its length and the SHA-256 of its lines; the head's, else that of the data."""
    names = getattr(head, "class_names", None)
    for dataset in datasets:
        names = names or getattr(dataset, "metainfo", {}).get("classes")
    if not names:
        return dict(count=head.num_classes, names="not given", sha256=None)
    return dict(count=len(names), sha256=sha256_of_text("\n".join(names)), names=list(names))


def datasets_of(runner, purpose: str) -> dict:
    """Data sets that this run reads, by the name of their loader."""
    names = ("train", "val") if purpose == "train" else (purpose,)
    loops = {name: getattr(runner, f"_{name}_loop") for name in names}
    return {name: loop.dataloader.dataset for name, loop in loops.items() if hasattr(loop, "dataloader")}


def describe_dataset(dataset, count_missing: bool = True) -> dict:
    """Annotation list with its SHA-256, number of samples and of files, and how many files are missing."""
    entries = [dataset.get_data_info(index) for index in range(len(dataset))]
    files = {entry.get("filename") or entry.get("frame_dir") for entry in entries} - {None}
    annotation = Path(getattr(dataset, "ann_file", None) or "")
    return dict(annotation=str(annotation) if annotation.name else None,
                sha256=sha256_of_file(annotation) if annotation.is_file() else None,
                samples=len(entries), files=len(files),
                missing=len(missing_files(files)) if count_missing else "not counted")


def missing_files(files: set[str]) -> list[str]:
    """Those of the files, or members of tar shards, that do not exist; each folder is listed once, which network disks
    answer sooner than a question for each file."""
    by_folder = defaultdict(list)
    missing = []
    for file in files:
        if split_path(file) is None:
            by_folder[os.path.dirname(file)].append(file)
        elif not video_exists(file):
            missing.append(file)
    for folder, inside in by_folder.items():
        there = set(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else set()
        missing += [file for file in inside if os.path.basename(file) not in there]
    return sorted(missing)


def describe_prompts(head) -> dict:
    """Where the texts of a head come from, how many a class has, and the SHA-256 of their token ids; empty for a head
    without texts."""
    tokens = getattr(head, "text_tokens", None)
    if tokens is None:
        return {}
    return dict(head.text_source, texts_per_class=tokens.shape[1], draws=min(head.num_draws, tokens.shape[1]),
                score=head.score, token_ids_sha256=hashlib.sha256(tokens.contiguous().numpy().tobytes()).hexdigest())


def test_views(cfg) -> dict:
    """Clips and crops of a video in the test pipeline of a config and the frames of each; why, where they are not
    known."""
    dataset = (cfg.get("test_dataloader") or {}).get("dataset")
    if not dataset:
        return {}
    try:
        view = read_view(pipeline_of(dataset))
    except ValueError as error:
        return dict(unknown=str(error))
    return dict(clips=view.clips, crops=view.crops, frames=view.frames)


def loaded_weights(runner, model, purpose: str) -> list[dict]:
    """Weights that the model started from, in the order in which they were loaded, each file with its SHA-256."""
    found, checkpoint = [], getattr(runner, "checkpoint", None)
    # a test loads its checkpoint alone, where it has one that is whole
    starts_pretrained = purpose == "train" or checkpoint is None or is_difference(checkpoint)
    for name, part in model.named_children() if starts_pretrained else ():
        pretrained, initial = getattr(part, "pretrained", None), getattr(part, "init_cfg", None)
        if isinstance(pretrained, str) and hasattr(part, "arch"):
            found.append((name, str(resolve_pretrained(pretrained, part.arch))))
        elif isinstance(initial, dict) and initial.get("type") == "Pretrained":
            found.append((name, initial["checkpoint"]))
    if checkpoint:
        found.append(("model", checkpoint))
    digests = {path: sha256_of_file(Path(path)) for path in {path for _, path in found} if Path(path).is_file()}
    return [dict(part=name, path=path, sha256=digests.get(path, "no file on this machine")) for name, path in found]


def describe_updates(runner) -> dict:
    """Batch, optimiser, learning rates by group, as they are before warm-up."""
    wrapper = runner.optim_wrapper
    groups: dict[tuple, int] = defaultdict(int)
    for group in wrapper.optimizer.param_groups:
        rate = group.get("initial_lr", group["lr"])
        groups[group.get("name", "all"), rate, group.get("weight_decay")] += sum(p.numel() for p in group["params"])
    per_process = runner.train_dataloader.batch_size
    counts = getattr(wrapper, "_accumulative_counts", 1)
    return dict(
        batch=dict(per_process=per_process, accumulated=counts, total=per_process * counts * runner.world_size),
        optimizer=type(wrapper.optimizer).__name__, optim_wrapper=type(wrapper).__name__,
        learning_rates=[dict(group=name, lr=rate, weight_decay=decay, parameters=count)
                        for (name, rate, decay), count in groups.items()])


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers may depend on, those that are installed."""
    found = dict(python=platform.python_version(), claver_mm=__version__)
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit(folder: Path = HERE) -> dict:
    """Commit of the source tree and whether tracked files differ from it, or why that is not known."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True,
                              timeout=30).stdout.strip()
    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not if installed inside the tree of another project
        return dict(commit=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain", "--untracked-files=no")))
    except FileNotFoundError:
        return dict(commit=None, reason="git is not installed")
    except subprocess.TimeoutExpired:
        return dict(commit=None, reason="git did not answer within 30 seconds")
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().partition("\n")[0]  # a tree of another owner, for one
        return dict(commit=None, reason=f"{folder} is in no git working tree of this project ({said})")


def sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
