"""What a run is told of videos that could not be read: in its log, and in its scores."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmaction.evaluation import AccMetric
from mmaction.registry import HOOKS, METRICS
from mmengine.dist import all_reduce
from mmengine.hooks import Hook

from .video_dataset import ActionVideoDataset


@HOOKS.register_module()
class ReportUnreadableHook(Hook):
    """Logs after every epoch which videos could not be read so far, on all ranks; the count is among the log's scalars.

    The next epoch of each rank counts on from the sum.
    """

    def after_train_epoch(self, runner) -> None:
        """Raises ``TooManyUnreadable`` where the ranks together are over the budget."""
        self._report(runner, "train", runner.train_dataloader.dataset)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """See ``Hook.after_val_epoch``."""
        self._report(runner, "val", runner.val_dataloader.dataset)

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        """See ``Hook.after_test_epoch``."""
        self._report(runner, "test", runner.test_dataloader.dataset)

    @staticmethod
    def _report(runner, split: str, dataset) -> None:
        if not isinstance(dataset, ActionVideoDataset):
            return
        failed = dataset.unreadable.to(torch.uint8)
        all_reduce(failed, op="max")
        dataset.unreadable.copy_(failed.bool())
        count = int(failed.sum())
        runner.message_hub.update_scalar(f"{split}/unreadable", count)
        if count:
            names = dataset.unreadable_videos()
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            runner.logger.warning(f"{count} of {len(dataset)} samples of the {split} data set could not be read: "
                                  f"{', '.join(names[:20])}{more}")
        dataset.check_unreadable()


@METRICS.register_module()
class AccMetricWithUnreadable(AccMetric):
    """``AccMetric`` in which a video that could not be read is wrong for its class, and which says how many they were.

    ``AccMetric`` finds them wrong in top-k accuracy too, but puts them into the last class in the mean over classes.
    """

    def process(self, data_batch: Sequence, data_samples: Sequence[dict]) -> None:
        """See ``AccMetric.process``."""
        super().process(data_batch, [self._wrong(sample) if "unreadable" in sample else sample
                                     for sample in data_samples])

    @staticmethod
    def _wrong(sample: dict) -> dict:
        scores = sample["pred_score"].float().clone()
        scores[sample["unreadable"]] = -torch.inf
        return dict(sample, pred_score=scores, gt_label=torch.tensor([sample["unreadable"]]))

    def compute_metrics(self, results: list) -> dict:
        """See ``AccMetric.compute_metrics``; adds ``unreadable``."""
        failed = sum(bool((result["pred"] == -float("inf")).any()) for result in results)
        return dict(super().compute_metrics(results), unreadable=failed)
