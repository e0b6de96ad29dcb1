"""Forms of Kronecker mask attention that hand ``scaled_dot_product_attention`` a mask.

Letters: ``B`` clips, ``H`` heads, ``T`` frames, ``L`` tokens of a frame, ``S = T * L``, ``C`` width of a head.

``dense`` reads one ``S x S`` mask, for clips within ``MASK_BUDGET``. ``frames`` takes the queries of one frame at a
time; all its masks are views of one strip of ``L x (2S - L)``, so that what the backward pass keeps is linear in
``T``. ``attend_rows`` serves a few queries, such as the class tokens, under a mask of as many rows.
"""
from __future__ import annotations

from threading import Lock

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from .patterns import may_see, token_numbers, tokens_per_frame

MASK_BUDGET = 1 << 23
"""Largest number of pairs, ``S * S``, that a mask kept on the CPU may have (32 MiB in float32)."""

_CACHED_MASKS = 8
_masks: dict[tuple, Tensor] = {}  # the one used last comes last
_masks_lock = Lock()


def shared_mask(pattern: str, num_tokens: int, L: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Additive mask ``(S, S)``, 0 where a token may see another and ``-inf`` elsewhere.

    The last few masks are kept and shared by all callers, blocks of a network and threads among them; do not write to
    one.
    """
    if torch.compiler.is_compiling():  # part of the graph, where equal masks are computed once
        return _additive(pattern, num_tokens, L, dtype, device)
    key = (pattern, num_tokens, L, dtype, device)
    with _masks_lock:
        mask = _masks.pop(key, None)
        if mask is not None:
            _masks[key] = mask
            return mask
    with torch.inference_mode(False):  # a mask made in inference mode could not be saved for a backward pass
        mask = _additive(pattern, num_tokens, L, dtype, device)
    if not outlives_its_call(mask):
        return mask
    with _masks_lock:
        mask = _masks.setdefault(key, mask)
        while len(_masks) > _CACHED_MASKS:
            _masks.pop(next(iter(_masks)))
    return mask


def outlives_its_call(x: Tensor) -> bool:
    """Whether a tensor may be kept: not one made under a fake-tensor mode or inside a ``torch.func`` transform."""
    return type(x) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(x)


def _additive(pattern: str, num_tokens: int, L: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    tokens = token_numbers(num_tokens, device)
    allowed = may_see(pattern, tokens, tokens, L)
    return torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill_(~allowed, float("-inf"))


def dense(q: Tensor, k: Tensor, v: Tensor, pattern: str, num_frames: int, scale: float | None = None,
          dropout_p: float = 0.0, work_dtype: torch.dtype | None = None) -> Tensor:
    """One call under the shared mask, computed in ``work_dtype`` (that of ``q`` when None); ``(B, H, S, C)``."""
    work_dtype = work_dtype or q.dtype
    mask = shared_mask(pattern, q.shape[2], q.shape[2] // num_frames, work_dtype, q.device)
    if work_dtype == q.dtype:  # casts that change nothing cost a short clip a few percent
        return sdpa(q, k, v, attn_mask=mask, dropout_p=dropout_p, scale=scale)
    q_wide, k_wide, v_wide = (x.to(work_dtype) for x in (q, k, v))
    with torch.autocast(q.device.type, enabled=False):  # it would cast them back
        out = sdpa(q_wide, k_wide, v_wide, attn_mask=mask, dropout_p=dropout_p, scale=scale)
    return out.to(q.dtype)


def frames(q: Tensor, k: Tensor, v: Tensor, pattern: str, num_frames: int, scale: float | None = None,
           dropout_p: float = 0.0) -> Tensor:
    """One call for the queries of each frame, of ``kmt`` or ``kmct``; ``(B, H, S, C)``."""
    S = q.shape[2]
    T, L = num_frames, S // num_frames
    # how a frame sees itself is the same for all frames and both patterns: between T - 1 frames of zeros on either
    # side it slides along the keys
    strip = q.new_zeros(L, 2 * S - L)
    strip[:, S - L:S] = _additive(pattern, L, L, q.dtype, q.device)
    outputs = []
    for t in range(T):
        rows, end = slice(t * L, (t + 1) * L), (t + 1) * L if pattern == "kmct" else S
        mask = strip[:, S - (t + 1) * L:][:, :end]
        outputs.append(sdpa(q[:, :, rows], k[:, :, :end], v[:, :, :end], attn_mask=mask, dropout_p=dropout_p,
                            scale=scale))
    return torch.cat(outputs, dim=2)


def attend_rows(q_rows: Tensor, rows: Tensor, k: Tensor, v: Tensor, pattern: str, num_frames: int, *,
                scale: float | None = None) -> Tensor:
    """Attention of a few queries of a clip over all its keys, exact and differentiable.

    Args:
        q_rows: ``(B, H, R, C)``, the queries of the tokens in ``rows``.
        rows: Token numbers ``(R,)``, integers in ``0 .. S-1``; class tokens are ``torch.arange(0, S, L)``.
        k, v: ``(B, H, S, C)``, tokens frame-major.
        pattern: A name in ``PATTERNS``.
        num_frames: ``T``; ``S`` must be a multiple of it.
        scale: Factor on the scores; ``C ** -0.5`` when None.

    Returns:
        ``(B, H, R, C)``, the rows of ``kronecker_attention``. Memory grows with ``R * S``.

    Raises:
        ValueError: Unknown pattern, ``S`` does not divide into ``num_frames``, or ``rows`` is not one number a query.
    """
    S = k.shape[2]
    L = tokens_per_frame(S, num_frames)
    if rows.shape != q_rows.shape[2:3]:
        raise ValueError(f"rows has shape {tuple(rows.shape)} and q_rows {tuple(q_rows.shape)}; "
                         "give one token number for each query, (R,) and (B, H, R, C)")
    mask = may_see(pattern, rows, token_numbers(S, k.device), L)
    return sdpa(q_rows, k, v, attn_mask=None if pattern == "joint" else mask, scale=scale)
