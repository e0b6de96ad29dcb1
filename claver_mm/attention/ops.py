"""Kronecker mask attention on ``scaled_dot_product_attention`` (paper section 3.2).

Letters: ``B`` clips, ``H`` heads, ``T`` frames, ``L`` tokens of a frame, ``S = T * L``, ``C`` width of a head.

``joint``, ``spatial``, ``pipeline`` and ``class_token`` are plain attention after a reshape. ``kmt`` and ``kmct`` need
a mask: one boolean ``S x S`` mask, shared by all blocks, where it is small; above that budget one frame of queries at
a time under an ``L x S`` mask, so that no ``S x S`` buffer exists.
"""
from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from .patterns import check_pattern, may_see, token_numbers, tokens_per_frame

DENSE_MASK_BUDGET = 1 << 20
"""Largest ``S * S`` for which one dense boolean mask is kept (1 MiB)."""


def kronecker_attention(q: Tensor, k: Tensor, v: Tensor, pattern: str, num_frames: int, *,
                        scale: float | None = None, dropout_p: float = 0.0) -> Tensor:
    """Attention over all tokens of a clip under the mask of a pattern.

    Args:
        q, k, v: Each ``(B, H, S, C)``, tokens frame-major, class token of a frame first.
        pattern: ``kmt``, ``kmct``, ``joint``, ``spatial``, ``pipeline`` or ``class_token``.
        num_frames: ``T``; ``S`` must be a multiple of it.
        scale: Factor on the scores; ``C ** -0.5`` when None.
        dropout_p: Dropout on the attention weights; pass 0 in evaluation.

    Returns:
        ``(B, H, S, C)``. Under ``class_token`` the rows of patches are their own values.

    Raises:
        ValueError: Unknown pattern, or ``S`` does not divide into ``num_frames``.
    """
    check_pattern(pattern)
    B, H, S, C = q.shape
    T, L = num_frames, tokens_per_frame(S, num_frames)
    kwargs = dict(scale=scale, dropout_p=dropout_p)
    if pattern == "joint":
        return sdpa(q, k, v, **kwargs)
    if pattern == "spatial":
        return _per_group(q, k, v, T, L, kwargs)
    if pattern == "pipeline":
        by_slot = [x.unflatten(2, (T, L)).transpose(2, 3).flatten(2, 3) for x in (q, k, v)]
        return _per_group(*by_slot, L, T, kwargs).unflatten(2, (L, T)).transpose(2, 3).flatten(2, 3)
    if pattern == "class_token":
        classes = sdpa(q[:, :, ::L], k[:, :, ::L], v[:, :, ::L], **kwargs)
        return torch.cat([classes.unsqueeze(3), v.unflatten(2, (T, L))[:, :, :, 1:]], dim=3).flatten(2, 3)
    if S * S <= DENSE_MASK_BUDGET:
        return sdpa(q, k, v, attn_mask=_dense_mask(pattern, S, L, q.device), **kwargs)
    return _frame_by_frame(q, k, v, pattern, T, L, kwargs)


def _per_group(q: Tensor, k: Tensor, v: Tensor, groups: int, size: int, kwargs: dict) -> Tensor:
    """Plain attention inside each of ``groups`` runs of ``size`` neighbouring tokens."""
    grouped = [x.unflatten(2, (groups, size)).transpose(1, 2).flatten(0, 1) for x in (q, k, v)]
    return sdpa(*grouped, **kwargs).unflatten(0, (q.shape[0], groups)).transpose(1, 2).flatten(2, 3)


@lru_cache(maxsize=16)
def _dense_mask(pattern: str, S: int, L: int, device: torch.device) -> Tensor:
    tokens = token_numbers(S, device)
    return may_see(pattern, tokens, tokens, L)


def _frame_by_frame(q: Tensor, k: Tensor, v: Tensor, pattern: str, T: int, L: int, kwargs: dict) -> Tensor:
    outputs = []
    for t in range(T):
        end = (t + 1) * L if pattern == "kmct" else T * L  # keys of later frames are never read
        rows = slice(t * L, (t + 1) * L)
        tokens = token_numbers(T * L, q.device)
        mask = may_see(pattern, tokens[rows], tokens[:end], L)
        outputs.append(sdpa(q[:, :, rows], k[:, :, :end], v[:, :, :end], attn_mask=mask, **kwargs))
    return torch.cat(outputs, dim=2)
