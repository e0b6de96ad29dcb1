"""The masks of the Kronecker attention family as named predicates (paper section 3.2, equations 5 to 8).

Letters: ``T`` frames of a clip, ``L`` tokens of a frame (class token first), ``S = T * L`` tokens of a clip.
Tokens are laid out frame-major: token ``i`` lies in frame ``i // L`` at slot ``i % L``. A predicate takes the token
numbers of queries and keys, two integer tensors that broadcast, and says which query may see which key.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Predicate = Callable[[Tensor, Tensor, int], Tensor]


def other_frame_or_self(q: Tensor, k: Tensor, L: int) -> Tensor:
    """KMTA: blocks ``I_T (x) (1_L - I_L)`` (equation 5)."""
    return (q // L != k // L) | (q == k)


def earlier_frame_or_self(q: Tensor, k: Tensor, L: int) -> Tensor:
    """KMCTA: blocks ``I_T (x) (1_L - I_L) + U_T (x) 1_L``, ``U_T`` strictly upper triangular (equation 8)."""
    return (k // L < q // L) | (q == k)


def everything(q: Tensor, k: Tensor, L: int) -> Tensor:
    """Joint attention: blocks nothing."""
    return (q == q) & (k == k)


def same_frame(q: Tensor, k: Tensor, L: int) -> Tensor:
    """Spatial attention: blocks ``(1_T - I_T) (x) 1_L``."""
    return q // L == k // L


def same_slot(q: Tensor, k: Tensor, L: int) -> Tensor:
    """Pipeline (tube) attention: blocks ``1_T (x) (1_L - I_L)``."""
    return q % L == k % L


def class_tokens_or_self(q: Tensor, k: Tensor, L: int) -> Tensor:
    """Class-token-only attention: the class tokens among themselves; a patch sees itself alone, its value passes."""
    return ((q % L == 0) & (k % L == 0)) | (q == k)


PATTERNS: dict[str, Predicate] = {
    "kmt": other_frame_or_self,
    "kmct": earlier_frame_or_self,
    "joint": everything,
    "spatial": same_frame,
    "pipeline": same_slot,
    "class_token": class_tokens_or_self,
}


def may_see(pattern: str, queries: Tensor, keys: Tensor, L: int) -> Tensor:
    """Boolean mask, True where the query may see the key.

    Args:
        pattern: A name in ``PATTERNS``.
        queries: Token numbers of the queries, shape ``(Q,)``.
        keys: Token numbers of the keys, shape ``(K,)``.
        L: Tokens of a frame.

    Returns:
        Shape ``(Q, K)``.
    """
    check_pattern(pattern)
    return PATTERNS[pattern](queries[:, None], keys[None, :], L)


def check_pattern(pattern: str) -> None:
    """Raise ``ValueError`` for a pattern that is not in ``PATTERNS``."""
    if pattern not in PATTERNS:
        hint = " CLIP-Mean has no temporal transformer: leave the neck out (neck=None)." if pattern == "mean" else ""
        raise ValueError(f"unknown attention pattern {pattern!r}; known patterns: {', '.join(PATTERNS)}.{hint}")


def tokens_per_frame(num_tokens: int, num_frames: int) -> int:
    """``L`` of a clip of ``num_tokens = T * L`` tokens; ``ValueError`` where it does not divide into frames."""
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    if num_tokens < 1 or num_tokens % num_frames:
        raise ValueError(f"a sequence of {num_tokens} tokens does not divide into {num_frames} frames; "
                         "give num_frames such that num_tokens = num_frames * tokens_per_frame")
    return num_tokens // num_frames


def token_numbers(num_tokens: int, device: torch.device) -> Tensor:
    """``0 .. S-1``, the argument of every predicate."""
    return torch.arange(num_tokens, device=device)
