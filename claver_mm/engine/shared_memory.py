"""Batches of loader workers in shared memory, with an error where that is full."""
from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.utils.data import get_worker_info


class SharedCollate:
    """A ``collate_fn`` whose batches are in shared memory when it returns, if a worker calls it.

    torch's own collate does so by itself. Batches of MMEngine's (``pseudo_collate``) get there when a thread of the
    queue pickles them: what goes wrong in it is printed, the batch is lost, and the run waits for it for good.

    Args:
        collate: Makes a batch of a list of samples.

    Raises:
        RuntimeError: In the call, where shared memory is full; names what to change.
    """

    def __init__(self, collate: Callable) -> None:
        self.collate = collate

    def __call__(self, samples: list) -> object:
        batch = self.collate(samples)
        worker = get_worker_info()
        if worker is None:
            return batch
        try:
            _share(batch)
        except RuntimeError as error:
            if "shared memory" not in str(error) and "shm" not in str(error):
                raise
            raise RuntimeError(
                f"no room for a batch in shared memory, /dev/shm: {error}. Give it more room (docker run "
                f"--shm-size=8g), or keep fewer batches there: num_workers (now {worker.num_workers}), prefetch_factor "
                "or batch_size of the loader") from error
        return batch


def _share(value: object) -> None:
    if isinstance(value, Tensor):
        if value.device.type == "cpu" and value.layout == torch.strided:
            value.share_memory_()
    elif isinstance(value, BaseDataElement):
        _share(dict(value.items()))
    elif isinstance(value, Mapping):
        for entry in value.values():
            _share(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            _share(entry)
