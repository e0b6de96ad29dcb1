"""What MMEngine saves loads under ``weights_only``; what a crafted file asks for stays refused."""
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from acts import load_checkpoint
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler


def load(obj) -> object:
    """Save an object as torch does, and load it as MMEngine does: without ``weights_only``."""
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    buffer.seek(0)
    return torch.load(buffer)


class Call:
    """Pickles as a call, which an unrestricted load would carry out."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def test_stock_torch_load_refuses_mmengine_checkpoints(assert_stock_fails):
    """mmengine issue 1655: weights_only is the default since torch 2.6."""
    assert_stock_fails(load_checkpoint, "UnpicklingError")


def test_mmengine_checkpoint_loads(checkpoint):
    loaded = load_checkpoint(checkpoint)
    log = loaded["message_hub"]["log_scalars"]["train/loss"]
    assert isinstance(log, HistoryBuffer)
    assert log.statistics("mean") == pytest.approx(log.data[0].mean())
    assert loaded["param_schedulers"][1]["anneal_func"] is OneCycleParamScheduler._annealing_cos


def test_training_resumes(toy_runner, checkpoint, tmp_path):
    runner = toy_runner(tmp_path, "compat_resume", max_epochs=3, resume=True, load_from=checkpoint)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 6)
    assert len(runner.message_hub.get_scalar("train/loss").data[0]) == 6


def test_checkpoint_written_under_numpy1_loads():
    """NumPy 1 pickled its functions under numpy.core; pickles of the old format are plain bytes."""
    buffer = io.BytesIO()
    torch.save([HistoryBuffer([0.5], [1]), np.float32(2)], buffer, _use_new_zipfile_serialization=False)
    old = buffer.getvalue().replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core.multiarray" in old
    log, number = torch.load(io.BytesIO(old))
    assert (log.current(), number) == (0.5, 2)


@pytest.mark.parametrize("owner, name", [
    (HistoryBuffer, "register_statistics"),
    (HistoryBuffer, "__init__"),
    (HistoryBuffer.mean, "__globals__"),
    (OneCycleParamScheduler, "__init__"),
    (np.ndarray, "tofile"),
    ([], "append"),
])
def test_crafted_getattr_is_refused(owner, name):
    with pytest.raises(pickle.UnpicklingError, match="may not look up"):
        load(Call(getattr, owner, name))


@pytest.mark.parametrize("function", [os.mkdir, Path, eval, __import__, np.load])
def test_arbitrary_global_is_refused(function, tmp_path):
    with pytest.raises(pickle.UnpicklingError):
        load(Call(function, str(tmp_path / "ran")))
    assert not (tmp_path / "ran").exists()


def test_checkpoint_cannot_build_a_scheduler():
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        load(Call(OneCycleParamScheduler, None, "lr"))
