"""A run that is resumed within an epoch ends as one that was not stopped, or is refused."""
import shutil

import pytest
from mmengine.hooks import Hook
from stopped import assert_same, logged, small_run

from claver_mm.engine.checkpoints import checkpoints_in

BY_ITERATION = {"default_hooks.checkpoint.by_epoch": False, "default_hooks.checkpoint.interval": 3,
                "default_hooks.checkpoint.max_keep_ckpts": 9, "default_hooks.checkpoint.save_best": None,
                "val_dataloader": None, "val_cfg": None, "val_evaluator": None}


class Seen(Hook):
    """Epoch and number of every iteration."""

    def __init__(self):
        self.iterations = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.iterations.append((runner.epoch, batch_idx))


@pytest.fixture(scope="module")
def whole(motion_videos, tmp_path_factory):
    """Work folder of a run of 3 epochs of 5 iterations, two of them an update, due to be saved every 3."""
    folder = tmp_path_factory.mktemp("whole")
    small_run(motion_videos, folder, **BY_ITERATION).train()
    return folder


def test_checkpoints_by_iteration_wait_for_the_update(whole):
    """Updates are made after 2, 4 and 5 iterations of an epoch. A checkpoint in between lost half a gradient."""
    assert [path.name for path in sorted(checkpoints_in(whole), key=lambda path: int(path.stem[5:]))] == [
        "iter_4.pth", "iter_7.pth", "iter_9.pth", "iter_12.pth", "iter_15.pth"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_goes_on_within_an_epoch(whole, motion_videos, tmp_path, workers):
    """It started the epoch over: iterations twice, rates ahead of them, and other weights without a word."""
    seen = Seen()
    shutil.copy(whole / "iter_9.pth", tmp_path)
    small_run(motion_videos, tmp_path, seen, resume="auto", **BY_ITERATION, **{
        "train_dataloader.num_workers": workers, "train_dataloader.persistent_workers": workers > 0}).train()
    assert seen.iterations == [(1, 4), *((2, number) for number in range(5))]
    assert_same(whole / "iter_15.pth", tmp_path / "iter_15.pth")
    assert "lost" not in logged(tmp_path) and "starts over" not in logged(tmp_path)


@pytest.mark.parametrize("changes, says", [
    ({"train_dataloader.batch_size": 2}, "after 4 of the 5 iterations of an epoch, which now has 10"),
    ({"optim_wrapper.accumulative_counts": 3}, "the gradient of the last 1 waited for others"),
], ids=["batch", "accumulation"])
def test_a_run_that_cannot_go_on_within_an_epoch_is_refused(whole, motion_videos, tmp_path, changes, says):
    shutil.copy(whole / "iter_9.pth", tmp_path)
    with pytest.raises(ValueError, match=says):
        small_run(motion_videos, tmp_path, resume="auto", **BY_ITERATION, **changes).train()
