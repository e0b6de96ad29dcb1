"""Training gives the same numbers in one process, in several, sharded, and with accumulation."""
import pickle

import pytest
import torch
from processes import run_on
from toy import scalars, toy_config

from claver_mm.engine.launch import build_runner

SAME = {"model.data_preprocessor.blending": None,  # mixup pairs clips within a process
        "model.cls_head.num_draws": 99,            # an iteration draws, and accumulation has more of them
        "model.cls_head.bank": None, "log_processor.window_size": 1, "param_scheduler": None,
        "train_dataloader.dataset.indices": 40, "train_cfg.max_epochs": 4, "train_cfg.val_begin": 4,
        "val_dataloader.dataset.indices": 4, "test_dataloader": None, "test_cfg": None, "test_evaluator": None,
        "default_hooks.checkpoint": dict(type="CheckpointHook", interval=2),
        # AdamW blows rounding up to a whole step where a gradient is zero (the bias of keys)
        "optim_wrapper.optimizer": dict(_delete_=True, type="SGD", lr=0.1, momentum=0.9, weight_decay=0.001)}
"""20 updates of 8 clips, in which nothing but the sharing out of work differs."""

BATCH, SHARDED = "train_dataloader.batch_size", {"model_wrapper_cfg.type": "FullyShard"}


def small_config(videos, work_dir, launcher="none", **changes):
    cfg = toy_config("claver_b16_kmct_k400", videos, work_dir, **{**SAME, **changes})
    cfg.launcher, cfg.experiment_name = launcher, work_dir.name
    return cfg


def train_all(videos, folder, launcher, scenarios):
    for name, changes in scenarios.items():
        cfg = small_config(videos, folder / name, launcher, **changes)
        cfg.val_evaluator = [cfg.val_evaluator, dict(type="DumpResults", out_file_path=str(folder / f"{name}.pkl"))]
        build_runner(cfg).train()


@pytest.fixture(scope="module")
def folder(motion_videos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scaling")
    run_on(1, train_all, motion_videos, folder, "none", {
        "one": {}, "accumulated": {BATCH: 4, "optim_wrapper.accumulative_counts": 2}})
    run_on(2, train_all, motion_videos, folder, "pytorch", {
        "ddp-2": {BATCH: 4}, "sharded-2": {BATCH: 4, **SHARDED}})
    run_on(4, train_all, motion_videos, folder, "pytorch", {
        "resumed-sharded-4": {BATCH: 2, **SHARDED, "resume": True, "load_from": str(folder / "one/epoch_2.pth")}})
    run_on(1, train_all, motion_videos, folder, "none", {
        "resumed": {"resume": True, "load_from": str(folder / "sharded-2/epoch_2.pth")}})
    return folder


def outcome(folder, name):
    """(losses of updates, weights, scores of validation)."""
    losses = torch.tensor([entry["loss"] for entry in scalars(folder / name) if "loss" in entry], dtype=torch.float64)
    weights = torch.load(folder / name / "epoch_4.pth", weights_only=True)["state_dict"]
    scores = [entry["pred_score"] for entry in pickle.loads((folder / f"{name}.pkl").read_bytes())]
    return losses.unflatten(0, (-1, 2)).mean(dim=1) if name == "accumulated" else losses, weights, torch.stack(scores)


@pytest.mark.parametrize("name", ["accumulated", "ddp-2", "sharded-2", "resumed", "resumed-sharded-4"])
def test_20_steps_agree_with_one_process(folder, name):
    """Ranks share out the texts. Resumed runs go on from step 10 of a run of the other kind."""
    (losses, weights, scores), (others, others_weights, others_scores) = outcome(folder, "one"), outcome(folder, name)
    start = 10 if "resumed" in name else 0
    assert len(losses) == 20 and losses[0] - losses[-1] > 0.1
    torch.testing.assert_close(others, losses[start:], rtol=1e-5, atol=0)
    assert list(others_weights) == list(weights)
    for key, value in weights.items():
        torch.testing.assert_close(others_weights[key], value, rtol=0, atol=1e-5, msg=lambda text, key=key: key + text)
    torch.testing.assert_close(others_scores, scores, rtol=0, atol=1e-5)


def refused(videos, work_dir, changes):
    cfg = small_config(videos, work_dir, "pytorch", **changes)
    if "ema" in changes:
        cfg.custom_hooks = [*cfg.custom_hooks, dict(type=changes["ema"])]
    with pytest.raises(ValueError) as error:
        build_runner(cfg)
    return str(error.value)


def refusals(videos, work_dir, cases):
    return [refused(videos, work_dir, changes) for changes in cases]


def test_wrappers_that_cannot_work_are_refused(motion_videos, tmp_path):
    cases = {"FSDP1": {"model_wrapper_cfg.type": "MMFullyShardedDataParallel"},
             "DataParallel": {"model_wrapper_cfg.type": "DataParallel"},
             "no find_unused": {**SHARDED, "model_wrapper_cfg.find_unused_parameters": True},
             "takes blocks": {**SHARDED, "model_wrapper_cfg.block": "KroneckerBlock"},
             "EMAHook copies": {**SHARDED, "ema": "EMAHook"},
             "EMAHook copies the model": {**SHARDED, "ema": "mmengine.EMAHook"}}  # torch's own refusal, by another name
    for said, part in zip(run_on(1, refusals, motion_videos, tmp_path, list(cases.values()))[0], cases):
        assert part in said, said
