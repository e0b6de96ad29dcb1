"""The processes of a run: how long they wait for each other, their end with the launcher, decisions of one."""
from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from mmengine.dist import broadcast_object_list, is_main_process

WAIT = 900
"""Seconds that ranks wait for each other, unless ``env_cfg.dist_cfg.timeout`` says otherwise. A rank that hangs costs
no more than that; one that has more to do than the others (writes a checkpoint, sums up a validation) has as long."""

Decision = TypeVar("Decision")


def timeout_of(dist_cfg: dict) -> float:
    """Seconds that ranks wait for each other.

    Raises:
        ValueError: ``timeout`` is no number above 0.
    """
    timeout = dist_cfg.get("timeout", WAIT)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise ValueError(f"env_cfg.dist_cfg.timeout must be a number of seconds above 0, got {timeout!r}")
    return timeout


def decided_by_rank_0(decide: Callable[[], Decision]) -> Decision:
    """What ``decide()`` gives on rank 0, or the error that it raises there, on all ranks: they may see other files."""
    outcome: list = [None, None]
    if is_main_process():
        try:
            outcome[0] = decide()
        except Exception as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def end_with_launcher(pause: float = 1.0) -> None:
    """Let this process end soon after torchrun, which cannot end its ranks where it is killed itself.

    Left alone, they would train on, hold their GPUs and write into the folder of the run that takes their place.

    Args:
        pause: Seconds between two looks.
    """
    name = "end with launcher"
    if "TORCHELASTIC_RUN_ID" not in os.environ or any(thread.name == name for thread in threading.enumerate()):
        return
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(pause)
        print(f"rank {os.environ.get('RANK')}: the launcher, process {launcher}, is gone; this rank ends as well",
              file=sys.stderr, flush=True)
        os._exit(1)

    threading.Thread(target=watch, name=name, daemon=True).start()
