"""One call of an attention layer: what each weight of its attention matrix did for a score.

Pure: imports torch alone.
Letters: ``B`` sequences, ``H`` heads, ``S`` tokens, ``R`` queries, ``C`` width of a head, ``D`` width of the output.

Attention weights are never kept. Of one normal forward pass a layer's input and output are (``layers.py``), whatever
form of attention that takes; after the backward pass the weights ``A = softmax(q k')`` and their gradient
``dA = dO v'`` are written out from these, a few rows at a time.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

WEIGHTS_AT_ONCE = 1 << 24
"""Elements of attention matrices that are written out at once (64 MiB in float32)."""


@dataclass
class AttentionCall:
    """One call of an attention layer."""

    output: Tensor
    """Part of the graph: the layer's output ``(B, R, D)``, or what its heads gave, ``(B, R, H * C)``."""
    projection: Tensor | None
    """The weight ``(D, H * C)`` between heads and output; None where ``output`` is that of the heads."""
    rows: Tensor
    """Token numbers of the queries, ``(R,)``."""
    num_tokens: int
    """``S``."""
    bias: Callable[[Tensor], Tensor | None]
    """What is added to the scores of some rows, ``(r,)``: ``(r, S)`` or ``(B, H, r, S)``; None for nothing."""
    queries_keys_values: Callable[[], tuple[Tensor, Tensor, Tensor]]
    """``(B, H, R, C)`` and two of ``(B, H, S, C)``, in float32 at least."""

    @torch.no_grad()
    def weights(self, gradient: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Attention weights and their gradients, a few rows at a time.

        Args:
            gradient: That of ``output``.

        Yields:
            Token numbers of some queries ``(r,)``, their weights and the weights' gradients, ``(B, H, r, S)`` each, in
            float32 at least, whatever the layer computed in.
        """
        with torch.autocast(gradient.device.type, enabled=False):
            yield from self._weights(gradient)

    def _weights(self, gradient: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        q, k, v = self.queries_keys_values()
        B, heads, R = q.shape[:3]
        dO = wide(gradient) if self.projection is None else wide(gradient) @ wide(self.projection)
        dO = split_heads(dO.reshape(B, R, -1), heads)
        at_once = max(1, WEIGHTS_AT_ONCE // (B * heads * self.num_tokens))
        for rows, q_part, dO_part in zip(*(x.split(at_once, dim) for x, dim in ((self.rows, 0), (q, 2), (dO, 2)))):
            scores = q_part @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            bias = self.bias(rows)
            A = (scores if bias is None else scores + bias).softmax(dim=-1)
            yield rows, A, dO_part @ v.transpose(-1, -2)


def wide(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``(B, S, H * C) -> (B, H, S, C)``."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
