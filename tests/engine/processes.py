"""Functions run in several gloo processes at once, each of which has the package imported already."""
from __future__ import annotations

import multiprocessing
import os
import queue
import socket
import traceback
from collections.abc import Callable

from toy import leave_configs_unformatted

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["claver_mm", "toy", "matplotlib.pyplot", "torch.distributed.fsdp"])


def run_on(world: int, function: Callable, *arguments) -> list:
    """What ``function(*arguments)`` gives on each of ``world`` ranks, in the environment that torchrun makes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = CONTEXT.Queue()
    workers = [CONTEXT.Process(target=_work, args=(rank, world, port, function, arguments, results))
               for rank in range(world)]
    for worker in workers:
        worker.start()
    outcomes = {}
    try:
        for _ in workers:
            rank, outcome, error = _next(results, workers)
            assert error is None, f"rank {rank}: {error}"
            outcomes[rank] = outcome
    finally:
        for worker in workers:
            if len(outcomes) < world:
                worker.terminate()
            worker.join()
    return [outcomes[rank] for rank in range(world)]


def _next(results, workers: list, seconds: float = 300) -> tuple:
    """The next result; an error as soon as a process has died without one."""
    for _ in range(int(seconds)):
        dead = [worker.exitcode for worker in workers if worker.exitcode]
        try:
            return results.get(timeout=1)
        except queue.Empty:
            assert not dead, f"a process ended with exit code {dead[0]}, without a word"
    raise AssertionError(f"no result after {seconds} seconds")


def _work(rank: int, world: int, port: int, function: Callable, arguments: tuple, results) -> None:
    import gc

    import torch
    import torch.distributed as dist
    gc.freeze()  # what was imported; MMEngine collects garbage for each data set
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port))
    torch.set_num_threads(1)
    leave_configs_unformatted()
    try:
        results.put((rank, function(*arguments), None))
    except BaseException:
        results.put((rank, None, traceback.format_exc()))
    if dist.is_initialized():
        dist.destroy_process_group()
