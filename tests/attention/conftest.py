"""Threads for the tests of attention."""
import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Many small operators: threads cost more than they give, and the tests share the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
