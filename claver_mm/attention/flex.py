"""Kronecker mask attention on FlexAttention, with a block mask that is worked out, not evaluated.

Letters: ``T`` frames, ``L`` tokens of a frame, ``S = T * L``, ``N = ceil(S / 128)`` blocks of 128 tokens.

PyTorch's ``create_block_mask`` evaluates a mask at all ``S * S`` pairs. Here the first and last frame of each block
decide: ``N * N`` comparisons. Blocks need not agree with frames, so ``L`` is not padded; a block that the clip's end
cuts short counts as partial. The self pair stays inside the mask: no row is empty, nothing is merged.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.forward_ad import unpack_dual
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from .patterns import PATTERNS, token_numbers

BLOCK = 128
_TAKES_ANY_LENGTH = "seq_lengths" in inspect.signature(BlockMask.from_kv_blocks).parameters


def why_not_flex(dtype: torch.dtype, device: torch.device, head_dim: int, needs_grad: bool) -> str:
    """Why FlexAttention cannot serve these inputs; empty where it can."""
    if not _TAKES_ANY_LENGTH:
        return "this PyTorch's FlexAttention takes whole blocks of 128 tokens alone"
    if dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return f"FlexAttention does not take {dtype}"
    if head_dim < 16:
        return f"FlexAttention takes heads of at least 16, got {head_dim}"
    if device.type == "cpu":
        return "FlexAttention has no backward pass on a CPU" if needs_grad else ""
    if device.type != "cuda":
        return f"FlexAttention is not known to run on device {device.type!r}"
    return "" if _has_triton() else "FlexAttention on CUDA needs Triton"


@torch.compiler.assume_constant_result
def _has_triton() -> bool:
    from torch.utils._triton import has_triton
    return has_triton()


def flex(q: Tensor, k: Tensor, v: Tensor, pattern: str, num_frames: int, scale: float | None = None) -> Tensor:
    """Attention of ``q, k, v``, each ``(B, H, S, C)``, under ``kmt`` or ``kmct``; ``(B, H, S, C)``.

    Raises:
        NotImplementedError: Inside a ``torch.func`` transform, or where a forward-mode derivative is asked for.
    """
    T, L = num_frames, q.shape[2] // num_frames
    if torch.compiler.is_compiling() or isinstance(q, FakeTensor):
        return flex_attention(q, k, v, block_mask=block_mask(pattern, T, L, q.device), scale=scale)
    if any(torch._C._functorch.is_functorch_wrapped_tensor(x) or unpack_dual(x).tangent is not None
           for x in (q, k, v)):
        raise NotImplementedError("FlexAttention knows neither torch.func nor forward-mode derivatives; "
                                  "use backend='frames'")
    if not q.numel():
        return q + k + v  # as empty, and part of the graph of all three
    return _compiled(pattern, T, L, q.device)(q, k, v, scale)


@lru_cache(maxsize=64)
def _compiled(pattern: str, T: int, L: int, device: torch.device) -> Callable[..., Tensor]:
    """FlexAttention compiled for one mask; each dtype, and with or without gradients, is one recompilation of it."""
    with torch.inference_mode(False):
        mask = block_mask(pattern, T, L, device)

    def attention(q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
        return flex_attention(q, k, v, block_mask=mask, scale=scale)

    # all masks share the code above and would share its limit of recompilations
    takes = inspect.signature(torch.compile).parameters
    isolated: dict[str, Any] = dict(isolate_recompiles=True) if "isolate_recompiles" in takes else {}
    return torch.compile(attention, fullgraph=True, dynamic=False, **isolated)


def block_mask(pattern: str, T: int, L: int, device: torch.device) -> BlockMask:
    """FlexAttention's ``BlockMask`` of ``kmt`` or ``kmct``."""
    partial, full = classify_blocks(pattern, T, L, device)
    return BlockMask.from_kv_blocks(*_listed(partial), *_listed(full), BLOCK_SIZE=BLOCK, seq_lengths=(T * L, T * L),
                                    mask_mod=mask_mod(pattern, L))


def mask_mod(pattern: str, L: int) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The pattern's predicate as FlexAttention calls it; ``L`` is a plain integer, a constant of the kernel."""
    predicate = PATTERNS[pattern]
    return lambda b, h, q, k: predicate(q, k, L)


def classify_blocks(pattern: str, T: int, L: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Boolean ``(N, N)`` for blocks of queries and of keys: some pairs allowed, and all of them.

    A block of pairs of which none is allowed is in neither.
    """
    S = T * L
    first = token_numbers(-(-S // BLOCK), device) * BLOCK
    last = (first + BLOCK - 1).clamp(max=S - 1)
    whole = first + BLOCK <= S
    q_first, k_first, q_last, k_last = first[:, None] // L, first // L, last[:, None] // L, last // L
    diagonal = first[:, None] == first
    earlier = k_last < q_first
    if pattern == "kmct":
        some, every = (k_first < q_last) | diagonal, earlier
    else:
        one_frame = (q_first == q_last) & (k_first == k_last) & (q_first == k_first)
        some, every = ~one_frame | diagonal, earlier | (q_last < k_first)
        if L == 1:  # nothing but the self pair lies within a frame
            every = torch.ones_like(every)
    every = every & whole[:, None] & whole
    return some & ~every, every


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Number of marked key blocks of each query block, and their indices first in line; as ``BlockMask`` keeps them."""
    order = blocks.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1)[None, None].to(torch.int32), order[None, None].to(torch.int32)
