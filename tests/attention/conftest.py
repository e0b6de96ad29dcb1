"""Threads and processors for the tests of attention."""
import os

import pytest
import torch

from claver_mm.attention import flash
from claver_mm.attention.choice import _remembered_best


@pytest.fixture(autouse=True)
def _threads():
    """One, since many small operators gain nothing by more and the tests share the machine; or OMP_NUM_THREADS."""
    threads = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[True, False], ids=["native", "widened"])
def processor(request, monkeypatch) -> bool:
    """A CPU that multiplies bfloat16 in hardware, and one that does not, as far as the forms ask."""
    monkeypatch.setattr(flash, "multiplies_bfloat16", lambda: request.param)
    _remembered_best.cache_clear()
    yield request.param
    _remembered_best.cache_clear()
