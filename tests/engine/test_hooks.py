"""Losses that are not finite: the update is left out, on all ranks alike, and training stops after too many. Seeds."""
from types import SimpleNamespace

import pytest
import torch
from mmaction.models.losses import CrossEntropyLoss
from mmaction.registry import MODELS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import AmpOptimWrapper
from processes import run_on
from toy import toy_config

from claver_mm.engine import DrawTextsHook, NonFiniteLossHook, SeedEpochHook
from claver_mm.engine.launch import build_runner


@MODELS.register_module()
class LossThatIsNotFinite(CrossEntropyLoss):
    """Infinite in the calls ``bad`` on ranks ``ranks``."""

    def __init__(self, bad, ranks=(0,)):
        super().__init__()
        self.bad, self.ranks, self.calls = bad, ranks, 0

    def _forward(self, *args, **kwargs):
        loss = super()._forward(*args, **kwargs)
        self.calls += 1
        return loss * float("inf") if self.calls in self.bad and get_rank() in self.ranks else loss


class Watch(Hook):
    """Weights after every iteration."""

    def __init__(self):
        self.weights = []

    def after_train_iter(self, runner, *args, **kwargs):
        model = getattr(runner.model, "module", runner.model)
        self.weights.append({name: value.clone() for name, value in model.state_dict().items()})


def watched(videos, work_dir, bad, ranks=(0,), launcher="none", **changes):
    """Runner and weights after each of 6 iterations."""
    cfg = toy_config("claver_b16_kmct_k400", videos, work_dir, **{
        "model.cls_head.bank": None, "model.cls_head.num_draws": 1, "train_dataloader.batch_size": 4,
        "train_dataloader.dataset.indices": 24, "val_dataloader": None, "val_cfg": None, "val_evaluator": None,
        "model.cls_head.loss_cls": dict(type="LossThatIsNotFinite", bad=bad, ranks=ranks), **changes})
    cfg.launcher, cfg.experiment_name = launcher, work_dir.name
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=9)
    runner = build_runner(cfg)
    watch = Watch()
    runner.register_hook(watch)
    return runner, watch


def moved(watch):
    """Whether each iteration after the first changed a weight."""
    return [any(not torch.equal(value, after[key]) for key, value in before.items())
            for before, after in zip(watch.weights, watch.weights[1:])]


@pytest.mark.parametrize("changes, bad, expected", [
    ({}, [3], [True, False, True, True, True]),
    ({"optim_wrapper.type": "AmpOptimWrapper"}, [2, 3], [False, False, True, True, True]),
    ({"optim_wrapper.accumulative_counts": 2}, [3], [True, False, False, False, True]),
], ids=["float32", "bfloat16", "accumulation"])
def test_an_update_with_a_loss_that_is_not_finite_is_left_out(motion_videos, tmp_path, changes, bad, expected):
    runner, watch = watched(motion_videos, tmp_path, bad, **changes)
    runner.train()
    assert moved(watch) == expected
    assert all(value.isfinite().all() for value in watch.weights[-1].values())
    assert runner.message_hub.get_info("skipped_updates") == (2 if len(bad) == 2 else 1)
    assert "update" not in "".join(runner.optim_wrapper.__dict__)


def on_two_ranks(videos, folder, wrappers):
    outcomes = {}
    for wrapper in wrappers:
        runner, watch = watched(videos, folder / wrapper, [2], (1,), "pytorch", **{
            "model_wrapper_cfg.type": wrapper, "train_dataloader.batch_size": 2})
        runner.train()
        outcomes[wrapper] = moved(watch), watch.weights[-1]["cls_head.clip.logit_scale"].item()
    return outcomes


def test_one_rank_whose_loss_is_not_finite_makes_all_leave_out_the_update(motion_videos, tmp_path):
    wrappers = ["MMDistributedDataParallel", "FullyShard"]
    first, second = run_on(2, on_two_ranks, motion_videos, tmp_path, wrappers)
    assert first == second
    assert [first[wrapper][0] for wrapper in wrappers] == [[False, True, True, True, True]] * 2


def test_training_stops_after_so_many_in_a_row(motion_videos, tmp_path):
    runner, watch = watched(motion_videos, tmp_path, [1, 3, 4, 5, 6])
    next(hook for hook in runner.hooks if isinstance(hook, NonFiniteLossHook)).patience = 3
    with pytest.raises(FloatingPointError, match="(?s)not finite in 3 updates in a row, up to iteration 5.*bfloat16"):
        runner.train()
    assert runner.message_hub.get_info("skipped_updates") == 4


def test_the_scale_of_a_grad_scaler_stays(monkeypatch):
    """Left to itself, the scaler would halve it each time, for a loss that no scale makes finite."""
    module = "mmengine.optim.optimizer.amp_optimizer_wrapper"
    monkeypatch.setattr(f"{module}.is_cuda_available", lambda: True)
    monkeypatch.setattr(f"{module}.GradScaler", lambda: torch.amp.GradScaler("cpu", init_scale=8.0))
    weight = torch.nn.Parameter(torch.ones(2))
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD([weight], lr=0.1), dtype="bfloat16")
    runner = SimpleNamespace(optim_wrapper=wrapper, message_hub=MessageHub.get_instance("scaler"), iter=0,
                             logger=MMLogger.get_current_instance(), work_dir="here")
    hook = NonFiniteLossHook(patience=3)
    hook.before_train(runner)
    for factor in (1.0, float("nan"), float("inf"), 1.0, float("nan")):
        before = weight.detach().clone()
        wrapper.update_params((weight * factor).sum())
        assert torch.equal(weight, before if factor != 1.0 else before - 0.1)
    assert wrapper.loss_scaler.get_scale() == 8.0 and hook.in_a_row == 1


def test_no_patience_is_refused():
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        NonFiniteLossHook(patience=0)


def test_a_data_set_s_own_set_epoch_is_left_alone():
    """It was called with seed and epoch, where everyone else's takes the epoch."""
    class Theirs:
        def set_epoch(self, epoch):
            raise AssertionError

    runner = SimpleNamespace(seed=0, epoch=1, rank=0, train_dataloader=SimpleNamespace(dataset=Theirs()))
    SeedEpochHook().before_train_epoch(runner)
    first = torch.rand(3)
    for number, same in ((0, False), (1, False), (1, True)):
        SeedEpochHook().before_train_iter(runner, number)
        last, first = first, torch.rand(3)
        assert torch.equal(first, last) == same


def test_draws_follow_the_iteration_of_a_run_and_heads_that_draw_nothing_are_passed_by():
    head, runner = SimpleNamespace(next_draw=0), SimpleNamespace(iter=41, model=SimpleNamespace())
    runner.model.cls_head = head
    DrawTextsHook().before_train_iter(runner, 0)
    assert head.next_draw == 41
    runner.model.cls_head = SimpleNamespace()
    DrawTextsHook().before_train_iter(runner, 0)
