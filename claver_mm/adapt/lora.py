"""Low-rank updates of attention: queries, keys, values and output of every attention layer, merged when training ends.

By ``torch.nn.utils.parametrize``, which changes the weight that a layer reads: open_clip's and torch's attention read
``in_proj_weight`` and ``out_proj.weight`` themselves, and never call the layers that wrappers put in their place (peft
issue 761). Pure: imports nothing of ``mm*``. Hu et al. 2021, arXiv 2106.09685.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LINEAR = ("qkv", "proj", "q_proj", "k_proj", "v_proj", "out_proj", "q", "k", "v", "o", "query", "key", "value", "dense")
"""What layers of an attention module are called in torch, timm, open_clip and transformers."""


class LowRank(nn.Module):
    """``W -> W + B A``, ``A`` of ``rank`` rows; zero at first. A weight of queries, keys and values in one has an
    update for each of the three."""

    def __init__(self, weight: Tensor, rank: int, parts: int = 1) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.A = nn.Parameter(torch.empty(parts, rank, columns, device=weight.device))
        self.B = nn.Parameter(torch.zeros(parts, rows // parts, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.A, a=5 ** 0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.B @ self.A).flatten(0, 1)


def add_lora(tower: nn.Module, rank: int) -> int:
    """Let the attention of a tower learn updates of a rank; what else it has is frozen.

    Returns:
        How many weights are updated.

    Raises:
        ValueError: A rank below 1, or a tower without attention.
    """
    if rank < 1:
        raise ValueError(f"the rank of LoRA must be at least 1, got {rank}")
    tower.requires_grad_(False)
    found = list(_weights(tower))
    if not found:
        raise ValueError("this tower has no attention whose weights LoRA could update; fine-tune it whole "
                         "(docs/own_videos.md)")
    for layer, name, parts in found:
        parametrize.register_parametrization(layer, name, LowRank(getattr(layer, name), rank, parts))
        changed: Any = layer.parametrizations
        changed[name].original.requires_grad_(False)
    return len(found)


def merge_lora(tower: nn.Module) -> None:
    """Put the updates into the weights, under which the tower computes what it computed with them."""
    for layer in list(tower.modules()):
        changed: Any = getattr(layer, "parametrizations", {})
        for name in list(changed):
            if any(isinstance(part, LowRank) for part in changed[name]):
                with torch.no_grad():
                    parametrize.remove_parametrizations(layer, name, leave_parametrized=True)


def is_direction(name: str) -> bool:
    """Whether a parameter is an ``A``, which stays as it is where a result is scaled towards the start."""
    return ".parametrizations." in name and name.endswith(".A")


def _weights(tower: nn.Module) -> Iterator[tuple[nn.Module, str, int]]:
    """Layer, name of its weight, and how many parts that has."""
    for module in tower.modules():
        if "Attention" not in type(module).__name__ and "Attn" not in type(module).__name__:
            continue
        if isinstance(getattr(module, "in_proj_weight", None), nn.Parameter):
            yield module, "in_proj_weight", 3
        for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if isinstance(getattr(module, name, None), nn.Parameter):
                yield module, name, 1
        for name, layer in module.named_children():
            if name in LINEAR and isinstance(layer, nn.Linear):
                yield layer, "weight", 3 if name == "qkv" else 1
