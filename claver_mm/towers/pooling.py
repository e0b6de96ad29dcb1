"""The second half of an image tower: from one frame's tokens to its embedding, as the tower itself does it.

Pure: imports torch and open_clip, nothing of ``mm*``.
Letters: ``N`` frames, ``L`` tokens of a frame, ``D`` width, ``E`` embedding size.
"""
from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

OF_POOLING = ("ln_post", "proj", "attn_pool", "attnpool", "head")
"""Parts of open_clip's image towers that come after the last block."""
OF_TIMM_POOLING = ("norm", "attn_pool", "fc_norm", "head_drop", "head")
"""The same of the timm model within a tower, its ``trunk``."""

Pooling = Callable[[Any, Tensor], Tensor]
"""``(holder of the parts, tokens (N, L, D)) -> (N, E)``."""


def leave_out_pooling(visual: nn.Module) -> None:
    """Take away what comes after the last block, in place."""
    if isinstance(visual, TimmModel):
        _leave_out(visual.trunk, OF_TIMM_POOLING)
    elif isinstance(visual, VisionTransformer):
        visual.pool_type = "none"  # gives all tokens
    _leave_out(visual, OF_POOLING)


def _leave_out(module: nn.Module, names: tuple[str, ...]) -> None:
    for name in names:
        if isinstance(getattr(module, name, None), nn.Parameter) or name == "attn_pool":
            setattr(module, name, None)
        elif isinstance(getattr(module, name, None), nn.Module):
            setattr(module, name, nn.Identity())


def take_pooling(visual: nn.Module, holder: nn.Module) -> Pooling:
    """Hand the parts of a whole tower that come after its last block to ``holder``, under their own names.

    Returns:
        The function that reads tokens with them.
    """
    if isinstance(visual, TimmModel):
        holder.trunk, holder.head = _hollow(visual.trunk), visual.head
        return _by_timm
    parts = [name for name in OF_POOLING if getattr(visual, name, None) is not None]
    for name in parts:
        setattr(holder, name, getattr(visual, name))
    if isinstance(visual, ModifiedResNet):
        return _by_attention_of_map
    if "attn_pool" in parts:
        return _by_pooler
    if visual.pool_type == "tok":
        return _by_class_token
    return _by_mean_then_norm if visual.final_ln_after_pool else _by_norm_then_mean


def _hollow(trunk: nn.Module) -> nn.Module:
    """A timm model of which no more is left than what its ``forward_head`` needs, and the norm before it."""
    hollow = copy(trunk)
    hollow._parameters, hollow._buffers = {}, {}
    hollow._modules = {name: part for name, part in trunk._modules.items() if name in OF_TIMM_POOLING}
    return hollow


def _by_timm(holder: Any, x: Tensor) -> Tensor:
    trunk = holder.trunk
    if not hasattr(trunk, "num_prefix_tokens"):  # of a map, which is averaged: in a single column as well
        x = x.unsqueeze(2) if getattr(trunk, "output_fmt", "NCHW") == "NHWC" else x.transpose(1, 2).unsqueeze(3)
    return holder.head(trunk.forward_head(trunk.norm(x) if hasattr(trunk, "norm") else x))


def _by_class_token(holder: Any, x: Tensor) -> Tensor:
    return holder.ln_post(x[:, 0]) @ holder.proj


def _by_mean_then_norm(holder: Any, x: Tensor) -> Tensor:
    return holder.ln_post(x[:, 1:].mean(dim=1)) @ holder.proj


def _by_norm_then_mean(holder: Any, x: Tensor) -> Tensor:
    return holder.ln_post(x)[:, 1:].mean(dim=1) @ holder.proj


def _by_pooler(holder: Any, x: Tensor) -> Tensor:
    """CoCa as open_clip trained it: of several queries the first."""
    return holder.ln_post(holder.attn_pool(x))[:, 0] @ holder.proj


def _by_attention_of_map(holder: Any, x: Tensor) -> Tensor:
    """CLIP's ResNets; the positions of the grid are read row by row, so that one column serves."""
    return holder.attnpool(x.transpose(1, 2).unsqueeze(3))
