"""What is dear to make is made once: a bounded store that threads share, and marks that tell whether weights changed.

Pure: imports torch alone.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from threading import Lock
from typing import Any

import torch
from torch import Tensor

LINE = 8192
"""Bytes of a line of weights, 1024 words of 64 bits; sums are taken along lines and across them."""


class Kept:
    """Values by key, each made once, however many threads ask for it at the same time.

    Values have ``nbytes``. The least recently used go where all together take more than ``room`` bytes; the newest
    stays in any case. A copy or a pickle begins empty, so that a module may hold one.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._lock = Lock()
        self._values: OrderedDict[Hashable, Future] = OrderedDict()

    def __reduce__(self) -> tuple:
        return type(self), (self.room,)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of ``key``, made by ``make()`` if there is none; an error of ``make`` reaches all who wait, and
        the next one tries again."""
        with self._lock:
            theirs = self._values.get(key)
            if theirs is None:
                future = self._values[key] = Future()
            else:
                self._values.move_to_end(key)
        if theirs is not None:
            return theirs.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                self._values.pop(key, None)
            future.set_exception(error)
            raise
        future.set_result(value)
        self._make_room()
        return value

    def _make_room(self) -> None:
        with self._lock:
            made = [(key, future.result().nbytes) for key, future in self._values.items()
                    if future.done() and future.exception() is None]
            total = sum(size for _, size in made)
            for key, size in made[:-1]:
                if total <= self.room:
                    break
                total -= size
                del self._values[key]


def versions(tensors: Iterable[Tensor]) -> tuple:
    """Changes whenever the tensors are replaced or written to, but for writes through ``.data``; costs no reading."""
    return tuple((x.data_ptr(), 0 if x.is_inference() else x._version) for x in map(_local, tensors))


@torch.no_grad()
def bit_sums(tensors: Iterable[Tensor]) -> tuple[int, ...]:
    """Changes whenever a bit of the tensors does, writes through ``.data`` (EMA hooks) included, which move no version
    counter; reads them all, at memory's speed.

    Lines of 64-bit words are summed along and across, each sum weighted by its number, so that words that change places
    show as well. Of sharded tensors each rank sums up its part, and all ranks get the same.
    """
    tensors = list(tensors)
    ends, sums = [], []
    for x in map(_local, tensors):
        data = x.detach().contiguous().reshape(-1).view(torch.uint8)
        whole = data.numel() // LINE * LINE
        ends.append(data[whole:])
        if whole:
            sums.append(_sums(data[:whole]))
    rest = torch.cat(ends)
    sums.append(_sums(torch.nn.functional.pad(rest, (0, -rest.numel() % LINE))))
    found = torch.stack(sums)
    if any(hasattr(x, "to_local") for x in tensors):
        found *= torch.distributed.get_rank() + 1
        torch.distributed.all_reduce(found)
    return tuple(found.flatten().tolist())


def _sums(data: Tensor) -> Tensor:
    """Two sums of whole lines of bytes; int64, wrapping."""
    lines = data.view(torch.int64).view(-1, LINE // 8)
    return torch.stack([(part * torch.arange(1, len(part) + 1, device=data.device)).sum()
                        for part in (lines.sum(dim=1), lines.sum(dim=0))])


def _local(x: Tensor) -> Tensor:
    """The part of a sharded tensor that lies here, or the tensor."""
    return x.to_local() if hasattr(x, "to_local") else x
