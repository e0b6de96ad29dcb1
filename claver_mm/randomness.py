"""Random numbers that depend on what is being drawn, not on which process draws it. Imports nothing of ``mm*``."""
from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def mixed_seed(*numbers: int) -> int:
    """One seed in ``[0, 2**63)`` from several numbers (run seed, epoch, rank, sample), the same on every machine."""
    mixed = 0
    for number in numbers:
        mixed = (mixed ^ (number + 0x9E3779B97F4A7C15)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed ^= mixed >> 31
    return mixed >> 1


def seed_everything(seed: int) -> None:
    """Seed ``random``, NumPy and torch of this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Inside, ``random``, NumPy and torch (CPU) draw from ``seed``; after it they go on where they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_everything(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
