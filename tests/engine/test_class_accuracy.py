"""Accuracy by class: what the metric counts, and what a run writes of it."""
import contextlib
import io
import json

import pytest
import torch
from mmaction.registry import METRICS
from processes import run_on
from toy import toy_config

from claver_mm.engine.launch import build_runner


def evaluate(samples: list[dict], **options) -> tuple[dict, object]:
    metric = METRICS.build(dict(type="ClassAccMetric", **options))
    metric.dataset_meta = dict(classes=["a", "b", "c"])
    metric.process(None, samples)
    return metric.evaluate(len(samples)), metric


def sample(recognised: int, label: int, **more) -> dict:
    return dict(pred_score=torch.eye(3)[recognised], gt_label=torch.tensor([label]), **more)


def test_its_numbers_are_those_of_the_stock_metric():
    samples = [sample(0, 0), sample(1, 0), sample(2, 2), sample(1, 1)]
    stock = METRICS.build(dict(type="AccMetric"))
    stock.process(None, samples)
    metrics, metric = evaluate(samples)
    assert metrics == stock.evaluate(4) == pytest.approx({"acc/top1": 0.75, "acc/top5": 1.0, "acc/mean1": 5 / 6})
    assert metric.report.right == {1: 3} and metric.report.mean_class_accuracy == pytest.approx(5 / 6)
    assert [tuple(one) for one in metric.report.confusions] == [("a", "b", 1)]


def test_videos_that_could_not_be_read_are_counted_where_there_are_some():
    metrics, metric = evaluate([sample(0, 0), sample(1, -1, unreadable=1)])
    assert (metrics["acc/unreadable"], metrics["acc/top1"]) == (1, 0.5)
    assert metric.report.classes[1].unreadable == 1


def test_videos_with_several_labels_have_no_report():
    metrics, metric = evaluate([dict(pred_score=torch.eye(3)[0], gt_label=torch.tensor([1, 0, 1]))],
                               metric_list="mean_average_precision")
    assert metric.report is None and "acc/mean_average_precision" in metrics


def run_test(videos, work_dir, batch_size: int) -> tuple[dict, str]:
    """Metrics and screen of a test of 5 videos, random weights drawn from the seed."""
    cfg = toy_config("claver_motion", videos, work_dir, **{
        "test_dataloader.dataset.indices": 5, "test_dataloader.batch_size": batch_size})
    if batch_size == 1:
        cfg.launcher = "pytorch"
    with contextlib.redirect_stdout(io.StringIO()) as screen:
        metrics = build_runner(cfg).test()
    return metrics, screen.getvalue()


def test_a_test_on_two_processes_writes_and_shows_one_report_of_all_videos(motion_videos, tmp_path):
    """Five videos on two ranks are padded to six."""
    (metrics, screen), (others, silence) = run_on(2, run_test, motion_videos, tmp_path / "two", 1)
    alone, _ = run_test(motion_videos, tmp_path / "one", 2)
    assert metrics == others == alone and silence == ""
    reports = [json.loads(next((tmp_path / name).glob("test_*.json")).read_text()) for name in ("one", "two")]
    assert reports[0] == reports[1] and reports[0]["videos"] == 5
    assert sum(entry["videos"] for entry in reports[0]["classes"]) == 5
    assert reports[0]["top1"] == pytest.approx(metrics["acc/top1"])
    assert "worst confusions" in screen and "2 processes" in screen
