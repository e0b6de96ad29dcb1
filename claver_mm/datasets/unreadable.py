"""What a run is told of videos that could not be read: in its log, and in its scores."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmaction.evaluation import AccMetric
from mmaction.registry import HOOKS, METRICS
from mmengine.dist import all_reduce
from mmengine.hooks import Hook

from .video_dataset import ActionVideoDataset, leaf_datasets


@HOOKS.register_module()
class ReportUnreadableHook(Hook):
    """Logs after every epoch which videos could not be read so far, on all ranks; the count is among the log's scalars.

    The next epoch of each rank counts on from the sum. Of a ``ConcatDataset`` each part has its own budget.
    """

    def before_run(self, runner) -> None:
        """Raises ``ValueError`` where videos are scored as wrong by a metric that does not know them."""
        for split in ("val", "test"):
            loop = getattr(runner, f"_{split}_loop")
            if not hasattr(loop, "evaluator"):  # not of this run
                continue
            scored = any(getattr(part, "score_unreadable", False) for part in leaf_datasets(loop.dataloader.dataset))
            if scored and any(type(metric) is AccMetric for metric in loop.evaluator.metrics):
                raise ValueError(f"score_unreadable=True of the {split} data set needs {split}_evaluator.type="
                                 "'AccMetricWithUnreadable'; AccMetric puts such videos into the last class")

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
        parts = [part for part in leaf_datasets(dataset) if isinstance(part, ActionVideoDataset)]
        if not parts:
            return
        for part in parts:
            failed = part.unreadable.to(torch.uint8)
            all_reduce(failed, op="max")
            part.unreadable.copy_(failed.bool())
        count = sum(int(part.unreadable.sum()) for part in parts)
        runner.message_hub.update_scalar(f"{split}/unreadable", count)
        if count:
            names = [name for part in parts for name in part.unreadable_videos()]
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            runner.logger.warning(f"{count} of {sum(map(len, parts))} samples of the {split} data set could not be "
                                  f"read: {', '.join(names[:20])}{more}")
        for part in parts:
            part.check_unreadable()


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
