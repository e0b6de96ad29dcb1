"""Inputs as the module yields them, and a float64 reference that fits into memory at any size."""
from __future__ import annotations

import torch
from torch import Tensor

from claver_mm.attention import may_see


def packed(T: int, L: int, dtype: torch.dtype = torch.float64, B: int = 2, H: int = 2, C: int = 4) -> list[Tensor]:
    """``q, k, v``, each ``(B, H, S, C)``: views of one packed projection, none of them contiguous."""
    qkv = torch.randn(B, T * L, 3, H, C, dtype=dtype)
    return [x.requires_grad_() for x in qkv.permute(2, 0, 3, 1, 4).unbind(0)]


def results(function, inputs: list[Tensor], grad: Tensor) -> list[Tensor]:
    """Output and gradients of ``q, k, v``; zeros where an input takes no part."""
    out = function(*inputs)
    grads = torch.autograd.grad(out, inputs, grad.to(out.dtype), allow_unused=True)
    return [out.detach(), *(torch.zeros_like(x) if g is None else g for x, g in zip(inputs, grads))]


def repeats_bit_for_bit(function, inputs: list[Tensor], grad: Tensor) -> bool:
    """Whether two runs under deterministic algorithms give the same output and gradients."""
    torch.use_deterministic_algorithms(True)
    try:
        runs = [results(function, inputs, grad) for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    return all(torch.equal(a, b) for a, b in zip(*runs))


def reference(inputs: list[Tensor], grad: Tensor, pattern: str, T: int) -> list[Tensor]:
    """What ``results`` should be: the masked softmax in float64, the queries of one frame at a time."""
    q, k, v = (x.detach().double() for x in inputs)
    S = q.shape[2]
    L, tokens = S // T, torch.arange(S)
    out, dq, dk, dv = (torch.zeros_like(q) for _ in range(4))
    for rows in tokens.split(L):
        seen = slice(0, (rows[-1] + 1) if pattern == "kmct" else S)
        part = [q[:, :, rows], k[:, :, seen], v[:, :, seen]]
        scores = part[0] @ part[1].transpose(-1, -2) * q.shape[-1] ** -0.5
        p = scores.masked_fill_(~may_see(pattern, rows, tokens[seen], L), float("-inf")).softmax(-1)
        g = grad[:, :, rows].double()
        out[:, :, rows] = p @ part[2]
        dv[:, :, seen] += p.transpose(-1, -2) @ g
        ds = (g @ part[2].transpose(-1, -2)).sub_((g * out[:, :, rows]).sum(-1, keepdim=True)).mul_(p)
        dq[:, :, rows] = ds @ part[1] * q.shape[-1] ** -0.5
        dk[:, :, seen] += ds.transpose(-1, -2) @ part[0] * q.shape[-1] ** -0.5
    return [out, dq, dk, dv]


def relative_error(got: Tensor, expected: Tensor, grad: Tensor) -> float:
    """Norm of the difference over the norm of what is expected, or a share of that of ``grad`` where it vanishes."""
    return (got.double() - expected).norm().item() / max(expected.norm().item(), 1e-2 * grad.norm().item())
