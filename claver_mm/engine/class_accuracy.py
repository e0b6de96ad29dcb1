"""Accuracy by class at the end of a test or a training: measured, shown, and written into the work folder."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from mmaction.registry import HOOKS, METRICS
from mmengine.dist import master_only
from mmengine.hooks import Hook

from ..datasets.unreadable import AccMetricWithUnreadable
from ..files import write_text
from ..protocols.class_report import ClassReport, class_report
from .console import FOR_A_PERSON


@METRICS.register_module()
class ClassAccMetric(AccMetricWithUnreadable):
    """``AccMetric`` that keeps accuracies by class and confusions, for ``ClassReportHook``.

    Videos that could not be read are wrong for their class, and counted in ``unreadable`` where there are some.
    """

    report: ClassReport | None = None
    """Of the last evaluation, on rank 0; None where videos have several labels or several scores."""

    def compute_metrics(self, results: list) -> dict:
        """See ``AccMetric.compute_metrics``."""
        metrics = super().compute_metrics(results)
        single = all(isinstance(entry["label"], int) and isinstance(entry["pred"], np.ndarray) for entry in results)
        topk = ((self.metric_options or {}).get("top_k_accuracy") or {}).get("topk", (1, 5))
        self.report = class_report(
            np.stack([entry["pred"] for entry in results]), [entry["label"] for entry in results],
            (self.dataset_meta or {}).get("classes"), sorted({1, *np.atleast_1d(topk).tolist()})) if single else None
        return metrics if metrics.get("unreadable") else {k: v for k, v in metrics.items() if k != "unreadable"}


@HOOKS.register_module()
class ClassReportHook(Hook):
    """Shows the worst classes and confusions at the end of a test, or of a training by its last validation, and writes
    all of them into the work folder: ``test_<time>.json`` or ``val_<time>.json``.

    Needs ``ClassAccMetric`` among the metrics; is silent where there is none.

    Args:
        rows: At most so many classes and confusions are shown.
    """

    priority = "LOWEST"

    def __init__(self, rows: int = 10) -> None:
        if rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}")
        self.rows = rows

    def after_train(self, runner) -> None:
        """See ``Hook.after_train``."""
        if runner.val_loop is not None:
            self._show(runner, "val", runner.val_loop.evaluator, f" on the {len(runner.val_dataloader.dataset)} videos "
                       "of the last validation")

    def after_val(self, runner) -> None:
        """See ``Hook.after_val``; a validation within a training has its line alone."""
        if runner._train_loop is None or isinstance(runner._train_loop, dict):
            self._show(runner, "val", runner.val_loop.evaluator)

    def after_test(self, runner) -> None:
        """See ``Hook.after_test``."""
        self._show(runner, "test", runner.test_loop.evaluator)

    @master_only
    def _show(self, runner, purpose: str, evaluator, where: str = "") -> None:
        report = next((found for found in (getattr(metric, "report", None) for metric in evaluator.metrics) if found),
                      None)
        if report is None:
            return
        path = Path(runner.work_dir, f"{purpose}_{runner.timestamp}.json")
        write_text(path, json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n")
        runner.logger.info(f"\n{report.table(self.rows)}\n\nall classes and confusions{where}: {path}",
                           extra=FOR_A_PERSON)
