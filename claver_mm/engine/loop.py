"""MMEngine's loop over epochs, which goes on within an epoch, accumulates by epoch and makes up for validations."""
from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from mmaction.registry import LOOPS
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

PLACE, VALIDATED = "place_within_epoch", "epoch_validated"
"""Kept in the message hub, and so in every checkpoint: iterations of the epoch that are done, and how many it has; the
last epoch that was validated."""


@LOOPS.register_module(name="EpochBasedTrainLoop")
class ResumableTrainLoop(EpochBasedTrainLoop):
    """Takes the place of the host's loop of that name in MMAction2's scope, with its arguments.

    A resumed run ends as one that was not stopped:

    - From a checkpoint within an epoch it goes on with the next batch; those before it are not read again.
    - Gradient accumulation counts from the start of each epoch, whose last update may be the mean of fewer losses, so
      that no gradient is pending between epochs. (The stock loop counts over the whole run, and a resume loses what
      was pending.)
    - Where the checkpoint was written before the validation of its epoch, that is made up for first. One that brought
      no new best checkpoint leaves no trace in a checkpoint, and is done again.

    Raises:
        ValueError: In ``run``, a checkpoint from within an epoch of another length, or before the update was due.
    """

    _done = 0  # iterations of the epoch that come from a checkpoint

    def run(self) -> torch.nn.Module:
        """See ``EpochBasedTrainLoop.run``."""
        hub, resumed = self.runner.message_hub, self._iter > 0
        self._done = self._place() if resumed else 0
        if not resumed:
            hub.update_info(VALIDATED, 0)
        self.runner.call_hook("before_train")
        if resumed and self._epoch and not self._done and hub.get_info(VALIDATED, 0) != self._epoch:
            self._validate_if_due("epoch {} was not validated, or without gain, before the run was stopped: it is now")
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()
        self.runner.call_hook("after_train")
        return self.runner.model

    def _validate_if_due(self, saying: str = "") -> None:
        self._decide_current_val_interval()
        if (self.runner.val_loop is not None and self._epoch >= self.val_begin
                and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)):
            if saying:
                self.runner.logger.info(saying.format(self._epoch))
            self.runner.val_loop.run()

    def run_epoch(self) -> None:
        """See ``EpochBasedTrainLoop.run_epoch``; begins where the checkpoint ended."""
        done, self._done, length = self._done, 0, len(self.dataloader)
        if self._counts > 1:
            self.runner.optim_wrapper.initialize_count_status(self.runner.model, done, length)
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        for number, data_batch in enumerate(remaining(self.dataloader, done), start=done):
            self.runner.message_hub.update_info(PLACE, [number + 1, length])
            self.run_iter(number, data_batch)
        self.runner.message_hub.update_info(PLACE, [0, length])
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    @property
    def _counts(self) -> int:
        return getattr(self.runner.optim_wrapper, "_accumulative_counts", 1)

    @property
    def gradient_is_pending(self) -> bool:
        """Whether a gradient waits for the losses of further iterations, so that a checkpoint would lose it."""
        done, length = self.runner.message_hub.get_info(PLACE, [0, 0])
        return done < length and done % self._counts != 0

    def _place(self) -> int:
        """Iterations that are done of the epoch that a checkpoint is in."""
        length = len(self.dataloader)
        done, of = self.runner.message_hub.get_info(PLACE, [None, None])
        if done is None:  # of the stock loop
            if self._iter != self._epoch * length:
                print_log(f"the checkpoint is of iteration {self._iter} and does not say how far it was in epoch "
                          f"{self._epoch + 1}; this epoch starts over", "current", logging.WARNING)
            if self._iter % self._counts:
                print_log(f"the checkpoint lacks the gradient of its last {self._iter % self._counts} iterations, "
                          "which were to be accumulated", "current", logging.WARNING)
            return 0
        if done and of != length:
            raise ValueError(f"the checkpoint was written after {done} of the {of} iterations of an epoch, which now "
                             f"has {length}: go on with as many processes and clips each as before "
                             "(train_dataloader.batch_size), or from a checkpoint between epochs")
        if done < length and done % self._counts:
            raise ValueError(f"the checkpoint was written after {done} iterations of an epoch, where the gradient of "
                             f"the last {done % self._counts} waited for others: go on with the "
                             "optim_wrapper.accumulative_counts of before, or from a checkpoint between epochs")
        if done and not hasattr(self.dataloader.dataset, "seed_samples"):
            print_log(f"{type(self.dataloader.dataset).__name__} does not draw by sample, as ActionVideoDataset does: "
                      "the rest of this epoch draws other random numbers than without the stop", "current",
                      logging.WARNING)
        return done


def remaining(loader: DataLoader, done: int) -> Iterable:
    """The batches of an epoch after the first ``done``, which are not read."""
    if not done:
        return loader
    batches = list(loader.batch_sampler)[done:]
    if not batches:
        return ()
    return DataLoader(
        loader.dataset, batch_sampler=batches, num_workers=loader.num_workers, collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory, timeout=loader.timeout, worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context, generator=loader.generator,
        prefetch_factor=loader.prefetch_factor)
