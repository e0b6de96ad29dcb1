"""What a run shows on the screen: what runs on what, a line an epoch, progress while it is busy.

MMEngine's logger writes the same to its file and to the screen. With ``ConsoleHook`` among the ``custom_hooks`` of a
config, the screen gets what is meant for a person, warnings and errors; the log file of the run still holds all.
"""
from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from datetime import timedelta

import torch
from mmaction.registry import HOOKS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop
from tqdm import tqdm

from ..noise import HOST_LOG_LINES
from ..protocols.views import kind_of
from .record import datasets_of, describe_classes, test_views

FOR_A_PERSON = dict(for_a_person=True)
"""``logger.info(text, extra=FOR_A_PERSON)`` shows a text on the screen, and logs it."""
FOR_A_FILE = ("Epoch(", "Iter(", "resumed epoch")
"""Beginnings of the host's lines that are shown too where the screen is no terminal: programs read them there."""


class Console(logging.StreamHandler):
    """Takes the place of an ``MMLogger``'s own handler for the screen: what is for a person, as it stands, and warnings
    and errors in the host's format, with any progress bar out of the way. Where the screen is no terminal, the host's
    lines of losses and metrics as well (``default_hooks.logger.interval``)."""

    def __init__(self, stock: logging.StreamHandler) -> None:
        super().__init__(sys.stdout)
        self.setLevel(stock.level)  # log_level of the config; errors alone on ranks other than 0
        self.setFormatter(stock.formatter)
        self.filters = list(stock.filters)

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:
        """See ``logging.Filterer.filter``."""
        shown = getattr(record, "for_a_person", False) or (
            record.levelno >= logging.WARNING and not record.getMessage().startswith(HOST_LOG_LINES)) or (
            not self.stream.isatty() and record.getMessage().startswith(FOR_A_FILE))
        return shown and super().filter(record)

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Handler.format``."""
        return record.getMessage() if getattr(record, "for_a_person", False) else super().format(record)

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler.emit``."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


def calm(logger: MMLogger) -> MMLogger:
    """The logger, whose screen from now on shows what is for a person alone."""
    logger.handlers = [Console(handler) if type(handler) is logging.StreamHandler else handler
                       for handler in logger.handlers]
    return logger


def is_calm(cfg: Mapping) -> bool:
    """Whether a config asks for it."""
    return any(kind_of(hook) == "ConsoleHook" for hook in cfg.get("custom_hooks") or () if isinstance(hook, Mapping))


def verbose(cfg: Config) -> None:
    """Let the run of a config show its whole log, as MMEngine does."""
    cfg.custom_hooks = [hook for hook in cfg.get("custom_hooks") or () if kind_of(hook) != "ConsoleHook"]


class Progress:
    """Steps of a part of a run, on rank 0: a bar where the screen is a terminal, else a line now and then.

    Args:
        say: Shows a line.
        what: Name of the part.
        total: Number of its steps.
        every: Seconds between lines.
    """

    def __init__(self, say, what: str, total: int, every: float) -> None:
        self.say, self.what, self.total, self.every = say, what, total, every
        self.bar = tqdm(desc=what, total=total, unit="step", leave=False, dynamic_ncols=True,
                        disable=None if is_main_process() else True)
        self.began = self.spoke = time.monotonic()

    def reach(self, done: int, note: str = "") -> None:
        """To be called after each step, with the number of steps that are done."""
        if not self.bar.disable:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(done - self.bar.n)
            return
        now = time.monotonic()
        if now - self.spoke >= self.every and done < self.total:
            self.spoke = now
            left = (now - self.began) / done * (self.total - done)
            self.say(_joined(f"{self.what}: step {done} of {self.total}", note, f"{clock(left)} to go"))

    def close(self) -> None:
        self.bar.close()


@HOOKS.register_module()
class ConsoleHook(Hook):
    """Shows a run: what runs on what, a line an epoch, progress, and where its results lie. On rank 0 alone.

    Where this hook is in a config, ``ClaverRunner`` keeps the rest of the log to its file. ``log_level`` and
    ``default_hooks.logger`` of a config go on as they are: the one for both, the other for the file.

    Args:
        every: Seconds between two lines of progress where the screen is no terminal.
    """

    priority = "LOWEST"  # after what it reports on: losses, metrics, checkpoints

    def __init__(self, every: float = 30.0) -> None:
        if every < 0:
            raise ValueError(f"every must be a number of seconds, got {every}")
        self.every = every
        self.training = False
        self.progress: dict[str, Progress] = {}
        self.finished: str | None = None  # an epoch whose line waits for the validation that may follow

    def _say(self, runner, text: str) -> None:
        runner.logger.info(text, extra=FOR_A_PERSON)

    def before_run(self, runner) -> None:
        """See ``Hook.before_run``; for a runner that is not ``ClaverRunner``."""
        calm(runner.logger)

    def before_train(self, runner) -> None:
        """See ``Hook.before_train``."""
        self.training = True
        self._head(runner, "train")
        self.began, self.first = time.monotonic(), runner.iter

    def before_train_epoch(self, runner) -> None:
        """See ``Hook.before_train_epoch``."""
        self._epoch_is_over(runner)
        total = len(runner.train_dataloader) if _by_epoch(runner) else runner.max_iters
        self._start(runner, "train", f"epoch {_epoch(runner)}" if _by_epoch(runner) else "training", total)
        self.clips, self.steps, self.epoch_began = 0, 0, time.monotonic()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """See ``Hook.after_train_iter``."""
        self.steps += 1
        self.clips += len(data_batch["inputs"]) * runner.world_size
        done = batch_idx + 1 if _by_epoch(runner) else runner.iter + 1
        self.progress["train"].reach(done, f"loss {_scalar(runner, 'train/loss'):.4f}")

    def after_train_epoch(self, runner) -> None:
        """See ``Hook.after_train_epoch``."""
        self._stop("train")
        self.finished = self._state(runner, f"epoch {_epoch(runner)}" if _by_epoch(runner) else "")

    def before_val(self, runner) -> None:
        """See ``Hook.before_val``."""
        if not self.training:
            self._head(runner, "val")

    def before_val_epoch(self, runner) -> None:
        """See ``Hook.before_val_epoch``."""
        what = f"epoch {runner.epoch}/{runner.max_epochs}, validation" if self.training and _by_epoch(runner) else \
            "validation"
        self._start(runner, "val", what, len(runner.val_dataloader))

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """See ``Hook.after_val_iter``."""
        self.progress["val"].reach(batch_idx + 1)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """See ``Hook.after_val_epoch``."""
        self._stop("val")
        if self.training and self.finished is None:
            if _by_epoch(runner):  # what a stopped run had not come to, made up for before the first step
                self.finished = f"epoch {runner.epoch}/{runner.max_epochs}"
            else:
                self.finished = self._state(runner, f"step {runner.iter}/{runner.max_iters}")
        if self.training:
            best = runner.message_hub.runtime_info.get("best_ckpt") or ""
            is_best = _by_epoch(runner) and best.endswith(f"epoch_{runner.epoch}.pth")
            self._epoch_is_over(runner, _words(metrics), "best so far" if is_best else "")
        else:
            self._say(runner, f"validation: {_words(metrics)}")

    def after_train(self, runner) -> None:
        """See ``Hook.after_train``."""
        self._epoch_is_over(runner)
        self.training = False
        self._say(runner, f"trained in {clock(time.monotonic() - self.began)}; checkpoints are in {runner.work_dir}")
        best = runner.message_hub.runtime_info.get("best_ckpt")
        if best:
            score = runner.message_hub.get_info("best_score")
            self._say(runner, f"the best of them, {float(score):.4f}, is {best}")

    def before_test(self, runner) -> None:
        """See ``Hook.before_test``."""
        self._head(runner, "test")

    def before_test_epoch(self, runner) -> None:
        """See ``Hook.before_test_epoch``."""
        self._start(runner, "test", "test", len(runner.test_dataloader))
        self.began = time.monotonic()

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """See ``Hook.after_test_iter``."""
        self.progress["test"].reach(batch_idx + 1)

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        """See ``Hook.after_test_epoch``."""
        self._stop("test")
        self._say(runner, f"test: {_words(metrics)}  in {clock(time.monotonic() - self.began)}")

    def _start(self, runner, part: str, what: str, total: int) -> None:
        self.progress[part] = Progress(lambda text: self._say(runner, text), what, total, self.every)

    def _stop(self, part: str) -> None:
        self.progress.pop(part).close()

    def _state(self, runner, what: str) -> str:
        """Of the training steps since the epoch began."""
        loss = _scalar(runner, "train/loss", self.steps)
        pace = self.clips / (time.monotonic() - self.epoch_began)
        return _joined(what, f"loss {loss:.4f}", f"lr {_scalar(runner, 'train/lr'):.2g}", f"{pace:.1f} clips/s")

    def _epoch_is_over(self, runner, *notes: str) -> None:
        if self.finished is None:
            return
        done = runner.iter - self.first
        left = (time.monotonic() - self.began) / max(done, 1) * (runner.max_iters - runner.iter)
        to_go = f"{clock(left)} to go" if runner.iter < runner.max_iters else ""
        self._say(runner, _joined(self.finished, *notes, to_go))
        self.finished = None

    def _head(self, runner, purpose: str) -> None:
        if is_main_process():
            entries = describe_run(runner, purpose)
            self._say(runner, "\n".join(f"{name:<8} {text}" for name, text in entries.items()))


def describe_run(runner, purpose: str) -> dict[str, str]:
    """What runs on what, a few words to each heading."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    datasets = datasets_of(runner, purpose)
    parts = [type(part).__name__ for name, part in model.named_children() if name != "data_preprocessor"]
    count, trained = (sum(p.numel() for p in model.parameters() if p.requires_grad or everything)
                      for everything in (True, False))
    learning = "all" if trained == count else f"{trained / 1e6:.2f} M"
    head = getattr(model, "cls_head", None)
    classes = describe_classes(head, list(datasets.values())) if head is not None else dict(count=0)
    names = classes.get("names")
    listed = f": {', '.join(names[:8])}{', ...' * (len(names) > 8)}" if isinstance(names, list) else ""
    views = test_views(runner.cfg) if purpose == "test" else {}
    seen = ", {clips} clips x {crops} crops of {frames} frames each".format(**views) if "clips" in views else ""
    device = torch.cuda.get_device_name() if get_device() == "cuda" else get_device()
    threads = f", {torch.get_num_threads()} threads" * (get_device() == "cpu")
    entries = {
        purpose: str(runner.cfg.filename or "a config in memory"),
        "model": f"{type(model).__name__} of {', '.join(parts)}; {count / 1e6:.2f} M parameters"
                 + (f", {learning} trained" if purpose == "train" else ""),
        "weights": _weights(runner, model, purpose),
        "classes": f"{classes['count']}{listed}",
        "videos": ", ".join(f"{name} {len(dataset)}" for name, dataset in datasets.items()) + seen,
        "runs on": f"{device}, {runner.world_size} process{'es' * (runner.world_size > 1)}{threads}"}
    if purpose == "train":
        steps = f"{runner.max_epochs} epochs of {len(runner.train_dataloader)} steps" if _by_epoch(runner) else \
            f"{runner.max_iters} steps"
        size = runner.train_dataloader.batch_size
        entries["length"] = steps + (f", {size * runner.world_size} clips each" if size else "")
    log = getattr(runner.logger, "log_file", None)
    return entries | {"folder": runner.work_dir} | ({"log": log} if log else {})


def _weights(runner, model, purpose: str) -> str:
    """Where the model's weights come from."""
    checkpoint = getattr(runner, "checkpoint", None) or runner._load_from
    if purpose == "train" and runner.iter:
        return f"resumed from {checkpoint}, after epoch {runner.epoch} and step {runner.iter}"
    if checkpoint:
        return str(checkpoint)
    initial = {name: getattr(part, "pretrained", None) or (getattr(part, "init_cfg", None) or {}).get("checkpoint")
               if not isinstance(getattr(part, "init_cfg", None), list) else None
               for name, part in model.named_children()}
    return ", ".join(f"{name}: {source}" for name, source in initial.items() if source) or "random"


def _by_epoch(runner) -> bool:
    return isinstance(runner.train_loop, EpochBasedTrainLoop)


def _epoch(runner) -> str:
    """Of the epoch that runs."""
    return f"{runner.epoch + 1:>{len(str(runner.max_epochs))}}/{runner.max_epochs}"


def _scalar(runner, name: str, last: int = 1) -> float:
    """Mean over the last values that the run logged, not a number where there is none."""
    history = runner.message_hub.log_scalars.get(name)
    return float("nan") if history is None else float(history.mean(last))


def _joined(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def _words(metrics: dict | None) -> str:
    return "  ".join(f"{name} {float(value):.4f}" for name, value in (metrics or {}).items()
                     if not hasattr(value, "ndim") or value.ndim == 0)


def clock(seconds: float) -> str:
    """``1:23:45``."""
    return str(timedelta(seconds=round(seconds)))
