"""Unreadable videos in a whole run, and in its scores."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import METRICS
from mmengine.registry import init_default_scope
from toy import toy_config

from claver_mm.datasets import TooManyUnreadable
from claver_mm.engine.launch import build_runner


@pytest.fixture
def config(motion_videos, tmp_path):
    """The demo's config with two broken videos in either list."""
    cfg = toy_config("claver_motion", motion_videos, tmp_path / "run")
    (tmp_path / "text.mp4").write_text("not a video")
    for split, lines in (("train", "train"), ("test", "val")):
        good = [f"{motion_videos}/{line}" for line in (motion_videos / f"{lines}.txt").read_text().splitlines()[:14]]
        (tmp_path / f"{split}.txt").write_text("\n".join(
            [f"{tmp_path}/text.mp4 0", *good, f"{tmp_path}/missing.mp4 7"]))
        cfg[f"{split}_dataloader"].dataset.update(ann_file=str(tmp_path / f"{split}.txt"), data_prefix=dict(video=""))
    cfg.train_dataloader.update(num_workers=2)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="ReportUnreadableHook")]
    return cfg


def log_of(cfg) -> str:
    return next(Path(cfg.work_dir).glob("*/*.log")).read_text()


def test_a_run_goes_on_without_them_and_its_log_names_them(config, tmp_path):
    config.train_dataloader.dataset.max_unreadable = 2
    runner = build_runner(config)
    runner.train()
    log = log_of(config)
    assert "takes its place" in log and f"no video at {tmp_path}/missing.mp4" in log
    assert (f"2 of 16 samples of the train data set could not be read: {tmp_path}/text.mp4, {tmp_path}/missing.mp4"
            in log)
    assert runner.message_hub.get_scalar("train/unreadable").current() == 2


def test_those_of_concatenated_data_sets_are_reported_too(config, tmp_path):
    """A wrapped data set was passed over: its videos were replaced, and neither counted nor added up over ranks."""
    part = config.train_dataloader.dataset
    part.max_unreadable = 2
    config.train_dataloader.dataset = dict(type="ConcatDataset", datasets=[part, part])
    runner = build_runner(config)
    runner.train()
    assert "4 of 32 samples of the train data set could not be read" in log_of(config)
    assert runner.message_hub.get_scalar("train/unreadable").current() == 4


def test_a_run_over_its_budget_stops(config):
    config.train_dataloader.dataset.max_unreadable = 1
    config.train_dataloader.num_workers = 0
    with pytest.raises(TooManyUnreadable, match="2 of the 16 samples"):
        build_runner(config).train()


def test_in_testing_they_count_as_wrong_and_are_reported(config):
    config.test_dataloader.dataset.score_unreadable = True
    config.test_evaluator = dict(type="AccMetricWithUnreadable", metric_options=dict(top_k_accuracy=dict(topk=(7,))))
    results = build_runner(config).test()
    assert results["acc/unreadable"] == 2
    assert results["acc/top7"] <= 14 / 16


def test_scoring_them_needs_the_metric_that_knows_them(config):
    """``AccMetric`` went on, and counted them in the mean over classes as videos of the last class."""
    config.test_dataloader.dataset.score_unreadable = True
    config.test_evaluator.type = "AccMetric"
    with pytest.raises(ValueError, match="score_unreadable=True of the test data set needs test_evaluator.type='Acc"):
        build_runner(config).test()


def score(metric: str, failed: dict[int, int], labels: list[int]) -> dict:
    """A perfect scorer of 4 classes on ``labels``, with the places of ``failed`` unreadable."""
    init_default_scope("mmaction")
    evaluator = METRICS.build(dict(type=metric, metric_options=dict(top_k_accuracy=dict(topk=(1,)))))
    for place, label in enumerate(labels):
        sample = dict(pred_score=torch.eye(4)[label], gt_label=torch.tensor([label]))
        if place in failed:
            sample.update(gt_label=torch.tensor([-1]), unreadable=label)
        evaluator.process(None, [sample])
    return evaluator.evaluate(len(labels))


def test_a_perfect_scorer_loses_what_cannot_be_read_in_the_class_it_belongs_to():
    labels = [0, 0, 1, 1, 2, 2, 3, 3]
    assert score("AccMetricWithUnreadable", {}, labels) == score("AccMetric", {}, labels) | {"acc/unreadable": 0}
    result = score("AccMetricWithUnreadable", {0: 0, 1: 0}, labels)
    assert result["acc/top1"] == pytest.approx(6 / 8)
    assert result["acc/mean1"] == pytest.approx(np.mean([0, 1, 1, 1])) and result["acc/unreadable"] == 2
    assert score("AccMetric", {0: 0, 1: 0}, labels)["acc/top1"] == pytest.approx(6 / 8)
