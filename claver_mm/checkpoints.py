"""Checkpoints as MMEngine writes them: what ``torch.load`` may make of one, and what is looked at first.

Applied by ``compat.py``, with the same terms: each remedy probes the defect itself and names what makes it superfluous.
"""
from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader

from .weights import load_file
from .weights.numbers import ARRAY, NumberArray, NumberType, no_bytes, number

ONE_CYCLE: Any = object()
"""Stands for the class ``OneCycleParamScheduler`` in a checkpoint; a file cannot reach the class itself."""

STATISTICS = {name: getattr(HistoryBuffer, name) for name in ("current", "max", "mean", "min")}


class Log(HistoryBuffer):
    """Stands for ``HistoryBuffer`` in a checkpoint, and becomes one when its state has been checked."""

    def __init__(self) -> None:
        raise pickle.UnpicklingError("a checkpoint may not call HistoryBuffer")

    def __setstate__(self, state: dict) -> None:
        """Two arrays of numbers of one length, how long they may get, and MMEngine's own statistics.

        Raises:
            pickle.UnpicklingError: Anything else. The stock class would hand it on to all buffers of the process.
        """
        known = {"max_length", "_log_history", "_count_history", "statistics_methods"}
        if type(state) is not dict or not known - {"statistics_methods"} <= set(state) <= known:
            raise pickle.UnpicklingError("a log of a checkpoint is no HistoryBuffer")
        arrays = [state["_log_history"], state["_count_history"]]
        methods = state.get("statistics_methods", {})
        if type(methods) is not dict or any(STATISTICS.get(name) is not method for name, method in methods.items()) \
                or type(state["max_length"]) is not int \
                or not all(type(array) is NumberArray and array.ndim == 1 for array in arrays) \
                or len(arrays[0]) != len(arrays[1]):
            raise pickle.UnpicklingError("a log of a checkpoint holds what no HistoryBuffer does")
        self.__class__ = HistoryBuffer
        self.__dict__.update(max_length=state["max_length"], _log_history=np.array(arrays[0]),
                             _count_history=np.array(arrays[1]))
        self._set_default_statistics()


ATTRIBUTES_IN_CHECKPOINTS: dict[tuple[Any, str], Callable] = {
    **{(Log, name): method for name, method in STATISTICS.items()},
    (ONE_CYCLE, "_annealing_cos"): OneCycleParamScheduler._annealing_cos,
    (ONE_CYCLE, "_annealing_linear"): OneCycleParamScheduler._annealing_linear,
}
"""All that ``getattr`` is pickled for: methods which the log's history buffers and ``OneCycleLR`` keep."""


def getattr_in_checkpoint(owner: object, name: str) -> Callable:
    """What ``getattr`` may resolve in a checkpoint: an entry of a fixed table, nothing else.

    Raises:
        pickle.UnpicklingError: Any other attribute, so that a crafted file gains nothing by ``getattr``.
    """
    for (known, attribute), value in ATTRIBUTES_IN_CHECKPOINTS.items():
        if owner is known and isinstance(name, str) and name == attribute:
            return value
    raise pickle.UnpicklingError(f"a checkpoint may not look up {str(name)[:40]!r} on a {type(owner).__name__}")


def allow_mmengine_checkpoints() -> bool:
    """Let a weights-only ``torch.load`` read what MMEngine saves beside the weights, and nothing more.

    These are the log's history buffers and NumPy numbers and arrays of numbers, under NumPy 1's names as well, and the
    function that ``OneCycleLR`` keeps. A file reaches none of NumPy's own functions, which believe a forged dtype, but
    the checked ones of ``weights/numbers.py``. A custom statistic (``HistoryBuffer.register_statistics``) stays
    refused.

    Condition: torch refuses a checkpoint that holds a history buffer and a NumPy scalar (since torch 2.6). Source:
    ``runner/checkpoint.py:347``, mmengine issue 1655. Superfluous when MMEngine allows its classes.
    """
    checkpoint = io.BytesIO()
    torch.save([HistoryBuffer([1.0], [1]), np.float64(1)], checkpoint)
    checkpoint.seek(0)
    try:
        torch.load(checkpoint, weights_only=True)
    except pickle.UnpicklingError:
        torch.serialization.add_safe_globals([
            (Log, f"{HistoryBuffer.__module__}.{HistoryBuffer.__qualname__}"),
            (ARRAY, "numpy.ndarray"), (NumberType, "numpy.dtype"), (no_bytes, "builtins.bytes"),
            (getattr_in_checkpoint, "builtins.getattr"),
            (ONE_CYCLE, f"{OneCycleParamScheduler.__module__}.{OneCycleParamScheduler.__qualname__}"),
            *[(stand_in, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core")
              for name, stand_in in (("_reconstruct", NumberArray), ("scalar", number))],
        ])
        return True
    return False


def load_from_local(filename: str, map_location: str | torch.device | None = None) -> object:
    """A checkpoint file on disk, looked at before it is loaded; weights of every form that ``load_file`` reads.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A damaged or forged file; the message names it.
    """
    return load_file(Path(filename), map_location)


def check_before_loading() -> bool:
    """Let MMEngine load local checkpoints by ``claver_mm.weights.load_file``.

    Condition: the stock loader gives every file to torch unseen, ends the process at some forged ones, and names no
    file in its errors. Source: ``runner/checkpoint.py:333``. Superfluous when a damaged checkpoint's error names it and
    torch survives a nested key.
    """
    CheckpointLoader.register_scheme(prefixes="", loader=load_from_local, force=True)
    return True
