"""Hooks that make a run repeatable, log the whole batch, and refuse a run whose classes do not agree."""
from __future__ import annotations

import torch
from mmaction.registry import HOOKS
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop

from ..randomness import mixed_seed, seed_everything


@HOOKS.register_module()
class SeedEpochHook(Hook):
    """Seeds every epoch by its number, so that a resumed run draws what an uninterrupted one would have drawn.

    The process draws (mixup, cutmix, drop-path) from ``(seed, epoch, rank)``; each training sample draws (frames,
    crops, colours) from ``(seed, epoch, sample)`` where the data set has ``set_epoch``, as ``ActionVideoDataset``. A
    wrapped data set (``RepeatDataset``) draws as the host does; ``ActionVideoDataset(times=...)`` takes its place.
    MMEngine seeds workers alike in every epoch, and only once where they persist.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner) -> None:
        """Raises ``ValueError`` for a loop without epochs, in which every pass would draw the same."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError(f"{type(runner.train_loop).__name__} has no epochs to draw from; use EpochBasedTrainLoop, "
                             "or take SeedEpochHook out of custom_hooks")

    def before_train_epoch(self, runner) -> None:
        """See ``Hook.before_train_epoch``."""
        seed_everything(mixed_seed(runner.seed, runner.epoch, runner.rank))
        dataset = runner.train_dataloader.dataset
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(runner.seed, runner.epoch)


@HOOKS.register_module()
class MeanLossHook(Hook):
    """Logs the losses of the whole batch: their mean over ranks, where MMEngine logs those of rank 0.

    Losses alone: accuracies are missing on a rank whose targets are mixed.
    """

    priority = "HIGHEST"  # before RuntimeInfoHook takes the losses down

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """See ``Hook.after_train_iter``."""
        names = sorted(name for name in outputs or {} if "loss" in name)
        if get_world_size() == 1 or not names:
            return
        means = torch.stack([outputs[name].detach().float().mean() for name in names])
        all_reduce(means, "mean")
        outputs.update(zip(names, means))


@HOOKS.register_module()
class CheckClassesHook(Hook):
    """Stops before the first step where data set and head do not speak of the same classes."""

    def before_run(self, runner) -> None:
        """Raises ``ValueError`` naming both counts, or the first class that differs."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        head = model.cls_head
        for name in ("train", "val", "test"):
            loop = getattr(runner, f"_{name}_loop")
            loader = loop.dataloader if hasattr(loop, "dataloader") else getattr(runner, f"_{name}_dataloader", None)
            classes = getattr(getattr(loader, "dataset", None), "metainfo", {}).get("classes")
            if classes is None:
                continue
            if len(classes) != head.num_classes:
                raise ValueError(f"the {name} data set has {len(classes)} classes, the head {head.num_classes}; "
                                 "give both the same class list")
            ours = getattr(head, "class_names", None)
            for number, (theirs, mine) in enumerate(zip(classes, ours or classes)):
                if theirs != mine:
                    raise ValueError(f"class {number} is {theirs!r} in the {name} data set and {mine!r} in the head; "
                                     "give both the same class list")

    def before_train(self, runner) -> None:
        """Raises ``ValueError`` where mixup or cutmix make targets of another number of classes than the head has."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        blending = getattr(model.data_preprocessor, "blending", None)
        for augment in getattr(blending, "augments", [blending]):
            count = getattr(augment, "num_classes", model.cls_head.num_classes)
            if count != model.cls_head.num_classes:
                raise ValueError(f"{type(augment).__name__} makes targets of {count} classes, the head has "
                                 f"{model.cls_head.num_classes}; set num_classes in model.data_preprocessor.blending")
