"""What a training step keeps in memory for its backward pass, counted on the model itself, without its weights.

Pure: torch and the pure parts of this package.
Letters: ``N`` texts, ``n`` tokens of a text.
"""
from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from .costs import VideoSide
from .towers.architectures import tower_of


def kept_bytes(model: nn.Module, *inputs: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass of ``model(*inputs)``, its parameters and buffers not counted.

    To be called under ``FakeTensorMode`` for the CPU, on fake tensors: the operators are those of a CPU, whose fused
    attention keeps what a GPU's keeps. A checkpointed module keeps its inputs alone.
    """
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # the storages themselves, lest a number be used again

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return x

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        model(*inputs)
    return sum(storage.nbytes() for storage in kept.values())


@dataclass(frozen=True)
class Activations:
    """Bytes kept between forward and backward pass by video side and text side, and what a checkpointed part computes
    again at a time, at most."""
    video: int
    text: int
    recomputed: int

    @property
    def total(self) -> int:
        """What must fit in memory beside weights, gradients and optimiser."""
        return self.video + self.text + self.recomputed


def activations(model: nn.Module, shape: tuple[int, ...], text_batches: Sequence[tuple[int, int]] = (),
                text_checkpointing: bool = False) -> Activations:
    """Activations of a training step, in float32 unless under ``torch.autocast("cpu", ...)``.

    Args:
        model: A recogniser on the meta device.
        shape: That of its inputs.
        text_batches: Shapes ``(N, n)`` of the batches of texts.
        text_checkpointing: Whether the text tower computes each batch again in the backward pass.
    """
    model = copy.deepcopy(model)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu").train()
        video, recomputed = kept_bytes(VideoSide(model), torch.empty(shape)), 0
        backbone: Any = model.backbone
        trunk: Any = getattr(backbone, "visual", None)
        if trunk is not None and any(getattr(part, "grad_checkpointing", False) for part in trunk.modules()):
            trunk.set_grad_checkpointing(False)
            blocks = tower_of(backbone.arch).depth or 1  # of stages of several sizes: all of it, a bound
            recomputed = (kept_bytes(VideoSide(model), torch.empty(shape)) - video) // blocks
        batches = []
        if text_batches:
            head: Any = model.cls_head
            batches = [kept_bytes(head.clip.text, torch.zeros(size, dtype=torch.long)) for size in text_batches]
    if text_checkpointing:
        return Activations(video, sum(8 * N * n for N, n in text_batches), max(recomputed, *batches, 0))
    return Activations(video, sum(batches), recomputed)
