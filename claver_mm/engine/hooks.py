"""Hooks that make a run repeatable, log the whole batch, skip what is not finite, and refuse classes that differ."""
from __future__ import annotations

import torch
from mmaction.registry import HOOKS
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop
from torch import Tensor

from ..randomness import mixed_seed, seed_everything


@HOOKS.register_module()
class SeedEpochHook(Hook):
    """Seeds every iteration by its number, so that a resumed run draws what an uninterrupted one would have drawn.

    The process draws (mixup, cutmix, drop-path) from ``(seed, epoch, rank, iteration)``; each training sample draws
    (frames, crops, colours) from ``(seed, epoch, sample)`` where the data set has ``seed_samples(seed, epoch)``, as
    ``ActionVideoDataset``. A wrapped data set (``RepeatDataset``) draws as the host does;
    ``ActionVideoDataset(times=...)`` takes its place. MMEngine seeds workers alike in every epoch, and only once where
    they persist.
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
        if hasattr(dataset, "seed_samples"):  # not set_epoch, which other data sets have with other arguments
            dataset.seed_samples(runner.seed, runner.epoch)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """See ``Hook.before_train_iter``."""
        seed_everything(mixed_seed(runner.seed, runner.epoch, runner.rank, batch_idx))


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
class DrawTextsHook(Hook):
    """Numbers the draws of texts by the iteration, so that a resumed run draws what an uninterrupted one would."""

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """See ``Hook.before_train_iter``; heads that draw no texts are passed by."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if hasattr(model.cls_head, "next_draw"):
            model.cls_head.next_draw = runner.iter


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Skips updates whose loss is not finite on some rank, on all ranks alike, and stops a run that has only such ones.

    With gradient accumulation, one loss that is not finite spoils the update that it is part of. Weights, optimiser
    state and the scale of a ``GradScaler`` stay as they were; schedulers go on. The count is logged, and kept over a
    resume.

    It takes the place of ``update_params`` on the run's own optimiser wrapper, whichever type that is: wrappers of
    another type would have to be made for each precision, and ``--amp``, MMAction2's and ours, would refuse them.

    Args:
        patience: Skipped updates in a row after which training stops.

    Raises:
        FloatingPointError: In training, after ``patience`` skipped updates in a row.
        ValueError: ``patience`` below one, or a model with several optimisers, which it steps by itself.
    """

    COUNT = "skipped_updates"

    def __init__(self, patience: int = 10) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        self.patience = patience
        self.in_a_row = 0

    def before_train(self, runner) -> None:
        """See ``Hook.before_train``."""
        wrapper = runner.optim_wrapper
        if isinstance(wrapper, OptimWrapperDict):
            raise ValueError("NonFiniteLossHook guards one optimiser, this model has several; take it out of "
                             "custom_hooks")
        losses: list[Tensor] = []  # of one update; read when it is due, so that a GPU need not wait in between

        def update_params(loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
            losses.append(loss.detach())
            wrapper.backward(wrapper.scale_loss(loss))
            if not wrapper.should_update():
                return
            finite = torch.stack([torch.isfinite(loss).all() for loss in losses]).all().float()
            all_reduce(finite, "min")
            if finite:
                wrapper.step(**(step_kwargs or {}))
            wrapper.zero_grad(**(zero_kwargs or {}))
            self._count(runner, bool(finite), losses)
            losses.clear()

        wrapper.update_params = update_params

    def _count(self, runner, finite: bool, losses: list[Tensor]) -> None:
        self.in_a_row = 0 if finite else self.in_a_row + 1
        if finite:
            return
        count = runner.message_hub.get_info(self.COUNT, 0) + 1
        runner.message_hub.update_info(self.COUNT, count)
        values = ", ".join(f"{loss.item():g}" for loss in losses)
        runner.logger.warning(f"iteration {runner.iter + 1}: the loss is not finite on some rank ({values} on this "
                              f"one); no update, the {count}. that is skipped, {self.in_a_row} in a row")
        if self.in_a_row >= self.patience:
            raise FloatingPointError(
                f"the loss was not finite in {self.in_a_row} updates in a row, up to iteration {runner.iter + 1}; "
                f"weights are those before them. Lower the learning rate or lengthen the warm-up, take bfloat16 or "
                f"float32 instead of float16, look at the data; --resume goes on from the last checkpoint in "
                f"{runner.work_dir}")

    def after_train(self, runner) -> None:
        """See ``Hook.after_train``."""
        runner.optim_wrapper.__dict__.pop("update_params", None)
        count = runner.message_hub.get_info(self.COUNT, 0)
        if count:
            runner.logger.warning(f"{count} updates were skipped, since their loss was not finite")


SAID_IN = "model.classes (model.cls_head.classes where the parts are written out)"


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
                                 f"give both the same class list: say it in {SAID_IN}, and leave it out elsewhere")
            ours = getattr(head, "class_names", None)
            for number, (theirs, mine) in enumerate(zip(classes, ours or classes)):
                if theirs != mine:
                    raise ValueError(f"class {number} is {theirs!r} in the {name} data set and {mine!r} in the head; "
                                     f"give both the same class list: say it in {SAID_IN}, and leave it out elsewhere")

    def before_train(self, runner) -> None:
        """Raises ``ValueError`` where mixup or cutmix make targets of another number of classes than the head has."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        blending = getattr(model.data_preprocessor, "blending", None)
        for augment in getattr(blending, "augments", [blending]):
            count = getattr(augment, "num_classes", model.cls_head.num_classes)
            if count != model.cls_head.num_classes:
                raise ValueError(f"{type(augment).__name__} makes targets of {count} classes, the head has "
                                 f"{model.cls_head.num_classes}; leave num_classes out of "
                                 "model.data_preprocessor.blending, and it follows")
