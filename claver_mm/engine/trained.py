"""Weights of a model that no checkpoint gives: pretrained ones, or random ones, whose answers mean nothing."""
from __future__ import annotations

import logging
import warnings

from mmengine.logging import MMLogger
from torch import nn


class UntrainedWarning(UserWarning):
    """A model has random weights, so that what it says means nothing."""


def check_trained(model: nn.Module) -> bool:
    """Whether a model has pretrained weights where there is no checkpoint; refuse, or warn of, those that stay random.

    Warns:
        UntrainedWarning: All of them: a small model from scratch.

    Raises:
        ValueError: Parts of the model, beside others that are pretrained; they are named.
    """
    parts = {"image tower": getattr(model, "backbone", None), "temporal transformer": getattr(model, "neck", None),
             "text tower": getattr(model, "cls_head", None)}
    parts = {name: part for name, part in parts.items() if part is not None}
    random = [name for name, part in parts.items()
              if not getattr(part, "pretrained", None) and not (_loads(part) or _loads(model))]
    if random and len(random) < len(parts):
        raise ValueError(f"no checkpoint: the {' and the '.join(random)} of this config would be random, and its "
                         "scores would mean nothing; give the weights of a training, or ask for untrained=True")
    if random:
        warnings.warn("no checkpoint: all weights of this config are random, its scores mean nothing",
                      UntrainedWarning, stacklevel=3)
    return not random


def _loads(part: nn.Module) -> bool:
    """Whether the host loads weights for a part."""
    wanted = getattr(part, "init_cfg", None) or []
    return any(entry.get("type") == "Pretrained" for entry in ([wanted] if isinstance(wanted, dict) else wanted))


def init_quietly(model: nn.Module) -> None:
    """``init_weights`` without the host's line for every single parameter."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)
