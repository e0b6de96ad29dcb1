"""Which form of Kronecker attention serves which inputs, and why.

Letters: ``H`` heads, ``T`` frames, ``L`` tokens of a frame, ``S = T * L``, ``C`` width of a head.
The thresholds were measured on a two-core Xeon with AMX, ``H = 12``, ``C = 64`` (``docs/benchmarks.md`` has the table);
elsewhere they may cost speed, never exactness. What the processor can do is asked of ``flash.multiplies_bfloat16``.
"""
from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .flash import LARGE_TILE_ROWS, why_not_flash, work_dtype
from .flex import why_not_flex
from .masked import MASK_BUDGET
from .patterns import check_pattern, tokens_per_frame

BACKENDS = {
    "plain": "unmasked attention after a reshape; joint, spatial, pipeline and class_token",
    "dense": "one attention under one shared mask of S x S",
    "tree": "unmasked flash attentions in a binary tree over the frames, with its own backward pass",
    "flex": "FlexAttention with an analytic block mask",
    "frames": "frame by frame under a strip of L x S",
}

LONG_FRAME = 128
"""From this number of tokens on, skipping a frame's own pairs outweighs what the skipping costs."""


class Choice(NamedTuple):
    """A backend and the reason for it."""
    name: str
    reason: str


def choose_backend(q: Tensor, k: Tensor, v: Tensor, pattern: str, num_frames: int, *, dropout_p: float = 0.0,
                   backend: str = "auto") -> Choice:
    """The backend that ``kronecker_attention`` takes for these arguments, and why.

    Raises:
        ValueError: Unknown pattern or backend, sizes that do not fit, or a forced backend that cannot serve them.
    """
    check_pattern(pattern)
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(f"unknown attention backend {backend!r}; known backends: auto, {', '.join(BACKENDS)}")
    if q.ndim != 4 or q.shape != k.shape or q.shape != v.shape:
        raise ValueError("q, k and v must have one shape (B, H, S, C), "
                         f"got {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}")
    if q.dtype != k.dtype or q.dtype != v.dtype or q.device != k.device or q.device != v.device:
        raise ValueError(f"q, k and v must have one dtype and device, got {q.dtype} on {q.device}, "
                         f"{k.dtype} on {k.device} and {v.dtype} on {v.device}; cast them, or use autocast")
    L = tokens_per_frame(q.shape[2], num_frames)
    needs_grad = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    best = _best if torch.compiler.is_compiling() else _remembered_best  # a short clip waits for this
    if backend == "auto":
        return best(q.dtype, q.device, q.shape[-1], pattern, num_frames, L, needs_grad, dropout_p)
    reason = why_not(backend, q.dtype, q.device, q.shape[-1], pattern, q.shape[2], needs_grad, dropout_p)
    if reason:
        other = best(q.dtype, q.device, q.shape[-1], pattern, num_frames, L, needs_grad, dropout_p)
        raise ValueError(f"backend {backend!r} cannot serve this call: {reason}; use backend={other.name!r} or 'auto'")
    return Choice(backend, "forced")


def why_not(backend: str, dtype: torch.dtype, device: torch.device, head_dim: int, pattern: str, S: int,
            needs_grad: bool, dropout_p: float) -> str:
    """Why a backend cannot serve such inputs; empty where it can."""
    masked = pattern in ("kmt", "kmct")
    if masked != (backend != "plain"):
        return f"pattern {pattern!r} needs {'a' if masked else 'no'} mask"
    if backend == "dense":
        if device.type != "cpu":
            return f"dense masks are for the CPU, the inputs are on {device.type!r}"
        return "" if S * S <= MASK_BUDGET else f"a mask of {S} x {S} is over the budget of {MASK_BUDGET} pairs"
    if dropout_p > 0 and backend in ("tree", "flex"):
        return f"it cannot honour dropout_p={dropout_p}"
    if backend == "tree":
        return why_not_flash(dtype, device, head_dim)
    if backend == "flex":
        return why_not_flex(dtype, device, head_dim, needs_grad)
    return ""


def _best(dtype: torch.dtype, device: torch.device, head_dim: int, pattern: str, T: int, L: int, needs_grad: bool,
          dropout_p: float) -> Choice:
    S = T * L
    if pattern not in ("kmt", "kmct"):
        return Choice("plain", f"{pattern} is unmasked attention after a reshape")

    def serves(name: str) -> bool:
        return not why_not(name, dtype, device, head_dim, pattern, S, needs_grad, dropout_p)

    if dropout_p > 0:
        return Choice("dense" if serves("dense") else "frames", f"honours dropout_p={dropout_p}")
    if device.type != "cpu":
        for name in ("flex", "tree"):
            if serves(name):
                return Choice(name, f"fastest that serves {dtype} on {device.type}")
        return Choice("frames", f"no fused form serves {dtype} on {device.type} with heads of {head_dim}")
    if not serves("tree"):
        return Choice("frames", why_not("tree", dtype, device, head_dim, pattern, S, needs_grad, dropout_p))
    if serves("dense") and dense_is_faster(pattern, T, L, work_dtype(dtype, device), needs_grad):
        return Choice("dense", f"{S} tokens: one small shared mask beats many small calls")
    return Choice("tree", f"{S} tokens: exactly the allowed work, no mask of S x S")


_remembered_best = lru_cache(maxsize=256)(_best)


def dense_is_faster(pattern: str, T: int, L: int, dtype: torch.dtype, needs_grad: bool) -> bool:
    """Whether, on a CPU and within the mask budget, one masked call beats the tree."""
    S = T * L
    if pattern == "kmt":  # cutting in two gains nothing where it costs the kernel its large tiles
        return L < LONG_FRAME or dtype == torch.bfloat16 or LARGE_TILE_ROWS <= S < 2 * LARGE_TILE_ROWS
    if dtype == torch.bfloat16:  # the products are so fast that merging costs as much, and small tiles more
        return S < (2048 if not needs_grad else 384 if L >= LONG_FRAME else 1024)
    return S < 256


def leaf_frames(pattern: str, T: int, L: int, dtype: torch.dtype, device: torch.device) -> int:
    """Frames of a group in which the tree ends, under one mask; 1 for no mask at all."""
    if pattern == "kmct" or device.type != "cpu" or (L >= LONG_FRAME and work_dtype(dtype, device) != torch.bfloat16):
        return 1
    leaf = T
    while leaf > 1 and (leaf * L) ** 2 > MASK_BUDGET:
        leaf = -(-leaf // 2)
    return leaf
