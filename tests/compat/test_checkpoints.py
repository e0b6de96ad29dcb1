"""What MMEngine saves loads under ``weights_only``; what a crafted file asks for stays refused."""
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from acts import load_checkpoint
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader
from numpy._core.multiarray import _reconstruct, scalar


def load(obj) -> object:
    """Save an object as torch does, and load it as MMEngine does: without ``weights_only``."""
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    buffer.seek(0)
    return torch.load(buffer)


class Call:
    """Pickles as a call, which an unrestricted load would carry out, and the state that its result is given."""

    def __init__(self, function, *args, state=None):
        self.call = (function, args) if state is None else (function, args, state)

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


FLOAT = Call(np.dtype, "f8", False, True, state=(3, "<", None, None, None, -1, -1, 0))
POINTER = Call(np.dtype, "f8", False, True,
               state=(3, "<", None, ("a",), {"a": (Call(np.dtype, "O", False, True), 0)}, 8, 8, 1))


def array(dtype=FLOAT, shape=(1,), content=b"A" * 8, owner=np.ndarray):
    return Call(_reconstruct, owner, (0,), b"b", state=(1, shape, dtype, False, content))


@pytest.mark.parametrize("forged", [
    array(POINTER), array(Call(np.dtype, "O", False, True)), array(Call(np.dtype, "V8", False, True)),
    array(Call(np.dtype, "M8", False, True)), array(Call(np.dtype, [("a", "O")])), array(Call(np.dtype, "f8,O")),
    array(Call(np.dtype, "f8", False, True, state=(3, "<", None, None, None, -1, -1, 63))),
    array(shape=(2,)), array(shape=(-1,)), array(shape=(2 ** 62, 2 ** 3)), array(content="A" * 8),
    array(content=None), array(owner=HistoryBuffer),
    Call(np.ndarray, (10 ** 9,)), Call(scalar, POINTER, b"A" * 8), Call(scalar, FLOAT, b"A"),
    Call(scalar, Call(np.dtype, "O", False, True), [1]), Call(scalar, Call(np.dtype, "b1", False, True), b"A"),
], ids=lambda value: "")
def test_a_forged_number_is_refused(forged):
    """A dtype with fields of objects read a number as a pointer: copying it on ``--resume`` ended the process."""
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        load(forged)


def test_numbers_and_arrays_stay_what_they_are():
    numbers = [np.float64(1.5), np.int64(-3), np.bool_(True), np.float16(2), np.array([[1, 2], [3, 4]]).T,
               np.array(2.5, ">f4"), np.array([], bool)]
    for _ in range(2):  # and are written again as NumPy's own
        loaded = load(numbers)
        for ours, theirs in zip(loaded, numbers):
            assert np.array_equal(ours, theirs) and ours.dtype == theirs.dtype.newbyteorder("=")
        assert type(pickle.loads(pickle.dumps(loaded[4]))) is np.ndarray
        numbers = loaded


def test_a_loaded_log_is_mmengines_own():
    log = load(HistoryBuffer([1, 2.5], [1, 1]))
    assert type(log) is HistoryBuffer and {type(part) for part in log.data} == {np.ndarray}
    log.update(4)
    assert (log.max(), log.mean(), len(log.data[1])) == (4, 2.5, 3)


@pytest.mark.parametrize("state", [
    {}, dict(max_length=5, _log_history=[1], _count_history=[1]),
    dict(max_length=5, _log_history=np.ones(2), _count_history=np.ones(1)),
    dict(max_length=5, _log_history=np.ones(1), _count_history=np.ones(1), update=1),
    dict(max_length=5, _log_history=np.ones(1), _count_history=np.ones(1),
         statistics_methods=dict(mean=HistoryBuffer.max)),
], ids=["empty", "lists", "lengths", "attribute", "statistics"])
def test_a_log_with_another_state_is_refused(state, monkeypatch):
    """The stock class hands the statistics of a file on to every log of the process."""
    monkeypatch.setattr(HistoryBuffer, "__getstate__", lambda log: state)
    with pytest.raises(pickle.UnpicklingError):
        load(HistoryBuffer())
    assert HistoryBuffer._statistics_methods["mean"] is HistoryBuffer.mean


def test_a_damaged_checkpoint_is_named(checkpoint, tmp_path):
    path = tmp_path / "cut.pth"
    path.write_bytes(Path(checkpoint).read_bytes()[:3000])
    with pytest.raises(ValueError, match="cut.pth cannot be read"):
        CheckpointLoader.load_checkpoint(str(path), map_location="cpu")


def test_no_mutated_checkpoint_ends_the_process(checkpoint):
    """150 of them, read in one process of bounded memory; 4,000 were read by hand with the same program."""
    program = Path(__file__).with_name("fuzz_checkpoints.py")
    result = subprocess.run([sys.executable, "-W", "ignore", str(program), checkpoint, "0", "150"], capture_output=True,
                            text=True)
    assert result.returncode == 0, (result.stdout[-500:], result.stderr[-500:])
    assert "done" in result.stdout
