"""Many short runs: on one thread each, since they share few cores."""
import pytest
import torch
from processes import leave_configs_unformatted


@pytest.fixture(autouse=True, scope="module")
def _short_runs():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        leave_configs_unformatted(patch.setattr)
        yield
    torch.set_num_threads(threads)
