"""Slow, obvious reference of Kronecker mask attention: the masked softmax, written out (paper equations 6 and 7).

Letters: ``B`` clips, ``H`` heads, ``S = T * L`` tokens of a clip, ``C`` width of a head.
"""
from __future__ import annotations

from torch import Tensor

from .patterns import may_see, token_numbers, tokens_per_frame


def naive_attention_weights(q: Tensor, k: Tensor, pattern: str, num_frames: int, scale: float | None = None) -> Tensor:
    """Attention matrix, shape ``(B, H, S, S)``; rows sum to one."""
    S, C = q.shape[-2:]
    L = tokens_per_frame(S, num_frames)
    tokens = token_numbers(S, q.device)
    scores = q @ k.transpose(-1, -2) * (C ** -0.5 if scale is None else scale)
    scores = scores.masked_fill(~may_see(pattern, tokens, tokens, L), float("-inf"))
    return scores.softmax(dim=-1)


def naive_attention(q: Tensor, k: Tensor, v: Tensor, pattern: str, num_frames: int,
                    scale: float | None = None) -> Tensor:
    """Attention of ``q, k, v``, each ``(B, H, S, C)``, under the mask of ``pattern``; shape ``(B, H, S, C)``."""
    return naive_attention_weights(q, k, pattern, num_frames, scale) @ v
