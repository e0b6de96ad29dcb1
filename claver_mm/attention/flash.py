"""Unmasked flash attention that also tells its log-sum-exp, and its backward pass under a log-sum-exp given to it.

Letters: ``N`` batch, ``H`` heads, ``Q`` queries, ``K`` keys, ``C`` width of a head.

Attention over a union of key sets is the average of the attentions over each, weighted by the softmax of their
log-sum-exps. Conversely the backward pass over one set, given output and log-sum-exp of the union, yields exactly
that set's part of the gradients (Dao 2023, FlashAttention-2, section 3.1). PyTorch's own operators compute both, but
their log-sum-exp is not differentiable: call these functions inside one operator with its own backward (``tree.py``),
never under plain autograd.
"""
from __future__ import annotations

import torch
from torch import Tensor

aten = torch.ops.aten


BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16")
"""Capabilities, as PyTorch names them, with which an x86 processor multiplies bfloat16 as such."""


def _multiplies_bfloat16() -> bool:
    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False  # nothing would use the units
    if hasattr(torch.cpu, "get_capabilities"):
        known = torch.cpu.get_capabilities()
        return any(known.get(unit, False) for unit in BFLOAT16_UNITS)
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # before PyTorch 2.11 the only way to ask
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


_BFLOAT16 = _multiplies_bfloat16()


def multiplies_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware; others widen every number first."""
    return _BFLOAT16


LARGE_TILE_ROWS = 768
"""From this number of queries on, PyTorch's CPU kernel works in tiles of 256 queries, not 64 or 32."""


def work_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """What to compute in: on a CPU half precision is faster, and more exact, in float32 unless the hardware has it.

    float16 is always widened: no processor is known on which the flash operators gain by it.
    """
    if device.type != "cpu" or dtype not in (torch.float16, torch.bfloat16):
        return dtype
    return dtype if dtype == torch.bfloat16 and multiplies_bfloat16() else torch.float32


def why_not_flash(dtype: torch.dtype, device: torch.device, head_dim: int) -> str:
    """Why the functions below cannot serve these inputs; empty where they can."""
    if device.type == "cpu":
        known = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
        return "" if dtype in known else f"no flash operator for {dtype} on a CPU"
    if device.type != "cuda":
        return f"no flash operator known for device {device.type!r}"
    if dtype in (torch.float16, torch.bfloat16):
        fits = head_dim % 8 == 0 and head_dim <= 256
        return "" if fits else f"CUDA flash attention takes heads of a multiple of 8, up to 256 wide, got {head_dim}"
    if dtype == torch.float32:
        return "" if head_dim % 4 == 0 else f"CUDA efficient attention takes heads of a multiple of 4, got {head_dim}"
    return f"no flash operator for {dtype} on CUDA"


def flash(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Output ``(N, H, Q, C)`` and log-sum-exp ``(N, H, Q)`` of ``q (N, H, Q, C)`` over ``k, v (N, H, K, C)``.

    ``mask`` is an additive ``(Q, K)``, for the CPU alone. ``K`` must not be 0: the CPU kernel dies of it.
    """
    assert k.shape[2] > 0
    if q.device.type == "cpu":
        return aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=mask, scale=scale)
    assert mask is None
    if q.dtype == torch.float32:
        out, lse = aten._scaled_dot_product_efficient_attention(q, k, v, None, True, scale=scale)[:2]
        return out, lse[:, :, :q.shape[2]]  # its rows are padded to a multiple of 32
    out, lse = aten._scaled_dot_product_flash_attention(q, k, v, scale=scale)[:2]
    return out, lse


def flash_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, scale: float,
                   mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Part of the gradients of ``q, k, v`` that comes from these keys.

    ``out (N, H, Q, C)`` and ``lse (N, H, Q)`` are those of the whole attention, ``grad`` the gradient of ``out``.
    On the CPU the results may be wider than the inputs.
    """
    if q.device.type == "cpu":
        if q.dtype == torch.bfloat16 and q.shape[2] < LARGE_TILE_ROWS:  # small bfloat16 tiles are slower than float32
            grad, q, k, v, out = (x.float() for x in (grad, q, k, v, out))
            mask = None if mask is None else mask.float()
        return aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, q, k, v, out, lse, 0.0, False, attn_mask=mask, scale=scale)
    assert mask is None
    Q, K = q.shape[2], k.shape[2]
    if q.dtype == torch.float32:
        lse = torch.nn.functional.pad(lse, (0, -Q % 32), value=float("inf"))  # as the forward pass pads it
        philox = torch.zeros((), dtype=torch.long, device=q.device)  # read with dropout alone
        return aten._scaled_dot_product_efficient_attention_backward(
            grad, q, k, v, None, out, lse, philox, philox, 0.0, [True, True, True, False], scale=scale)[:3]
    rng_state = torch.zeros(2, dtype=torch.uint64, device=q.device)  # read with dropout alone
    unused = torch.zeros((), dtype=torch.uint64, device=q.device)
    return aten._scaled_dot_product_flash_attention_backward(
        grad, q, k, v, out, lse.contiguous(), None, None, Q, K, 0.0, False, rng_state, unused, scale=scale)
