"""Small runs that are stopped: by an error, by a full disk, by SIGKILL wherever something of a run reaches the disk."""
from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
from mmengine.hooks import Hook
from processes import CONTEXT
from toy import leave_configs_unformatted, toy_config

from claver_mm.engine.launch import build_runner

SCORES = {1: 0.2, 2: 0.6, 3: 0.4}
"""Of epochs, so that the second is the best."""


class Scores(Hook):
    """In place of accuracies, which a few steps leave to chance."""
    priority = "HIGHEST"

    def after_val_epoch(self, runner, metrics=None):
        metrics.clear()
        metrics["acc/top1"] = SCORES[runner.epoch]


class Events(Hook):
    """Calls ``at`` with the number of each event of a training: an iteration, and what is done to files, before and
    after it."""

    def __init__(self, at):
        self.count, self.at, self.training = 0, at, False
        for name in ("fsync", "replace", "unlink", "remove"):
            setattr(os, name, self._watched(getattr(os, name)))

    def before_run(self, runner):
        self.training = True

    def event(self, *_, **__):
        if self.training:
            self.count += 1
            self.at(self.count)

    before_train_iter = before_val_iter = event

    def _watched(self, function):
        def watched(*args, **kwargs):
            self.event()
            result = function(*args, **kwargs)
            self.event()
            return result
        return watched


def small_run(videos: Path, folder: Path, *hooks: Hook, **changes):
    """A runner of 3 epochs of 5 iterations, with mixup, two losses an update, and a validation after each epoch."""
    cfg = toy_config("claver_b16_kmct_k400", videos, folder, **{
        "model.cls_head.bank": None, "model.cls_head.num_draws": 1, "train_dataloader.dataset.indices": 20,
        "train_dataloader.batch_size": 4, "val_dataloader.dataset.indices": 2, "train_cfg.max_epochs": 3,
        "default_hooks.checkpoint.max_keep_ckpts": 2, "default_hooks.checkpoint.published_keys": None,
        "optim_wrapper.accumulative_counts": 2, "test_dataloader": None, "test_cfg": None, "test_evaluator": None,
        **changes})
    cfg.experiment_name = f"{folder.name}_{os.urandom(4).hex()}"
    runner = build_runner(cfg)
    for hook in (Scores(), *hooks):
        runner.register_hook(hook)
    return runner


def saved(path: Path) -> dict:
    """Weights and state of the optimiser in a checkpoint, one entry a tensor."""
    checkpoint = torch.load(path, weights_only=True)
    state = {(number, key): value for number, entry in checkpoint["optimizer"]["state"].items()
             for key, value in entry.items()}
    return checkpoint["state_dict"] | state


def assert_same(path: Path, other: Path) -> None:
    one, two = saved(path), saved(other)
    assert list(one) == list(two)
    for key, value in one.items():
        assert torch.equal(value, two[key]), key


def logged(folder: Path) -> str:
    """All that runs in a work folder have logged."""
    return "\n".join(path.read_text() for path in sorted(folder.glob("*/*.log")))


def killed_at(number: int, videos: Path, folder: Path, **changes) -> None:
    """Train in a process of its own, which is killed at that event; one that does not come is an error."""
    process = CONTEXT.Process(target=_train_until, args=(number, videos, folder, changes))
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL, process.exitcode


def _train_until(number: int, videos: Path, folder: Path, changes: dict) -> None:
    torch.set_num_threads(1)
    leave_configs_unformatted()
    events = Events(lambda count: os.kill(os.getpid(), signal.SIGKILL) if count == number else None)
    small_run(videos, folder, events, **changes).train()


def count_events(videos: Path, folder: Path) -> int:
    """Events of a run that is not killed."""
    queue = CONTEXT.SimpleQueue()
    process = CONTEXT.Process(target=_count, args=(queue, videos, folder))
    process.start()
    process.join(240)
    return queue.get()


def _count(queue, videos: Path, folder: Path) -> None:
    leave_configs_unformatted()
    events = Events(lambda count: None)
    small_run(videos, folder, events).train()
    queue.put(events.count)
