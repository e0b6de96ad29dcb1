"""The first half of an image tower: from frames to their tokens before pooling (paper section 3.1, equation 1).

Pure: imports torch, open_clip and pure parts of this package, nothing of ``mm*``.
Letters: ``N`` frames, ``B`` clips, ``T`` frames of a clip, ``L`` tokens of a frame, ``D`` width.

A tower is cut where its tokens have gone through the last block: before the norm that comes last, where transformers
have one there. What comes after the cut reads one frame's tokens and lies in ``claver_mm.towers.pooling``; in between
stands the temporal transformer. Both halves keep open_clip's names, so that each weight has one place.
"""
from __future__ import annotations

import math
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from ..temporal import init_transformer
from .architectures import Arch, build_visual, model_config, shown_arch, side_of, tower_of
from .pooling import leave_out_pooling
from .positions import fit_positions_when_loading


def build_image_trunk(arch: Arch, image_size: int | tuple[int, int] | None = None) -> nn.Module:
    """The image tower up to its last block: without the norm after it, pooling and projection.

    open_clip's transformer starts from CLIP's own initialisation, which open_clip gives its text tower alone; without
    it a tower that is trained from scratch learns several times more slowly. Weights of another input size load: their
    positional embedding is interpolated.

    Raises:
        ValueError: As of ``model_config``.
    """
    visual = build_visual(model_config(arch, image_size))
    leave_out_pooling(visual)
    if isinstance(visual, VisionTransformer):
        init_transformer(visual.transformer.resblocks)
    fit_positions_when_loading(visual)
    return visual


def image_tokens(trunk: Any, images: Tensor) -> Tensor:
    """All tokens of the last block, ``(N, 3, h, w) -> (N, L, D)``: prefix tokens, then those of the grid, row by row.

    A map, as convolutional towers give, is such a grid.
    """
    expected = side_of(trunk)
    if tuple(images.shape[-2:]) != expected:
        raise ValueError(f"the image tower is built for frames of {expected} pixels, got {tuple(images.shape[-2:])}; "
                         "set image_size on the backbone, or crop the frames to fit")
    features = trunk.trunk.forward_features(images) if isinstance(trunk, TimmModel) else trunk(images)
    if features.ndim == 3:
        return features
    if isinstance(trunk, TimmModel) and getattr(trunk.trunk, "output_fmt", "NCHW") == "NHWC":
        return features.flatten(1, 2)
    return features.flatten(2).transpose(1, 2)


def clip_tokens(trunk: nn.Module, clips: Tensor, token_grid: int | None = None) -> Tensor:
    """``image_tokens`` of clips, frame by frame: ``(B, 3, T, h, w) -> (B, T, L, D)``; see ``pool_tokens``."""
    if clips.ndim != 5:
        raise ValueError(f"expected clips (B, 3, T, h, w), got shape {tuple(clips.shape)}; "
                         "use FormatShape and data_preprocessor with 'NCTHW'")
    B, _, T = clips.shape[:3]
    tokens = image_tokens(trunk, clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (B, T))
    return tokens if token_grid is None else pool_tokens(tokens, token_grid)


def pool_tokens(tokens: Tensor, token_grid: int) -> Tensor:
    """Fewer tokens for what comes after the image tower: those of the grid are averaged on a square one of
    ``token_grid`` a side, prefix tokens stay: ``(B, T, L, D) -> (B, T, L', D)``.

    The grid is taken to be square, and what does not fill a square to be prefix tokens, as of all towers here.

    Raises:
        ValueError: The grid is not finer.
    """
    L = tokens.shape[2]
    side = math.isqrt(L)
    if not 2 <= token_grid < side:
        raise ValueError(f"token_grid={token_grid} must lie between 2 and {side - 1}; the grid has {side} a side")
    prefix, grid = tokens.split([L - side * side, side * side], dim=2)
    pooled = adaptive_avg_pool2d(grid.flatten(0, 1).transpose(1, 2).unflatten(2, (side, side)), token_grid)
    return torch.cat([prefix, pooled.flatten(2).transpose(1, 2).unflatten(0, tokens.shape[:2])], dim=2)


def keep_batch_statistics(trunk: nn.Module) -> None:
    """Batch norms of a tower in training use the statistics that they were trained with, as under ``norm_eval`` of
    MMAction2's ResNets: the frames of a few clips are no sample of images."""
    for module in trunk.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def set_checkpointing(trunk: Any, on: bool, arch: Arch) -> None:
    """Whether activations of a tower's blocks are computed again in the backward pass.

    Raises:
        ValueError: A tower that cannot.
    """
    if on and not tower_of(arch).checkpointing:
        raise ValueError(f"the image tower of {shown_arch(arch)} cannot compute activations again; leave "
                         "grad_checkpointing of the backbone out, or freeze it")
    trunk.set_grad_checkpointing(on)
