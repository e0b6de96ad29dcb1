"""Attention layers seen from outside: what each weight of an attention matrix did for a score.

Pure: imports torch and nothing of ``mm*``.
Letters: ``B`` sequences, ``H`` heads, ``S`` tokens, ``R`` of them as queries, ``D`` width, ``C = D / H``.

Attention weights are never kept. A hook keeps a layer's input and output of one normal forward pass, whatever form of
attention that takes; after the backward pass the weights ``A = softmax(q k')`` and their gradient ``dA = dO v'`` are
written out from these, a few rows at a time.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..attention import may_see
from ..temporal import KroneckerAttention

WEIGHTS_AT_ONCE = 1 << 24
"""Elements of attention matrices that are written out at once (64 MiB in float32)."""


@dataclass
class AttentionCall:
    """One call of an attention layer."""

    layer: nn.Module
    inputs: Tensor
    """``(B, S, D)``."""
    output: Tensor
    """``(B, R, D)``, after the output projection and part of the graph."""
    rows: Tensor
    """Token numbers of the queries, ``(R,)``."""
    bias: Callable[[Tensor], Tensor | None]
    """What is added to the scores of some rows: ``(r,) -> (r, S)``, or None for nothing."""

    @torch.no_grad()
    def weights(self, gradient: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Attention weights and their gradients, a few rows at a time.

        Args:
            gradient: That of ``output``, ``(B, R, D)``.

        Yields:
            Token numbers of some queries ``(r,)``, their weights and the weights' gradients, ``(B, H, r, S)`` each.
        """
        q, k, v = self._queries_keys_values()
        heads, S = q.shape[1], k.shape[2]
        dO = self._heads(gradient @ self.layer.out_proj.weight, heads)
        at_once = max(1, WEIGHTS_AT_ONCE // (len(q) * heads * S))
        for rows, q_part, dO_part in zip(*(x.split(at_once, dim) for x, dim in ((self.rows, 0), (q, 2), (dO, 2)))):
            scores = q_part @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            bias = self.bias(rows)
            A = (scores if bias is None else scores + bias).softmax(dim=-1)
            yield rows, A, dO_part @ v.transpose(-1, -2)

    def _queries_keys_values(self) -> tuple[Tensor, Tensor, Tensor]:
        if isinstance(self.layer, KroneckerAttention):
            q, k, v = self.layer.queries_keys_values(self.inputs)
        else:
            projected = linear(self.inputs, self.layer.in_proj_weight, self.layer.in_proj_bias)
            q, k, v = (self._heads(part, self.layer.num_heads) for part in projected.chunk(3, dim=-1))
        return q[:, :, self.rows], k, v

    @staticmethod
    def _heads(x: Tensor, heads: int) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)


@contextmanager
def record_attention(layers: Sequence[nn.Module]) -> Iterator[list[AttentionCall]]:
    """Keep input and output of every call of some attention layers, in order of call, while the context lasts.

    Nothing is computed differently meanwhile. Leave the context before the backward pass, which may call layers again
    (activation checkpointing).

    Args:
        layers: ``KroneckerAttention``, or ``nn.MultiheadAttention`` as self-attention, batch first (open_clip's).

    Raises:
        ValueError: Another kind of layer.
    """
    calls: list[AttentionCall] = []
    for layer in layers:
        if not isinstance(layer, KroneckerAttention) and not _is_plain(layer):
            raise ValueError(f"relevance reads Kronecker attention and plain nn.MultiheadAttention (batch first, with "
                             f"biases), not {type(layer).__name__}; choose an architecture whose towers are made of "
                             "them, for example those of the paper")

    def keep(layer: nn.Module, args: tuple, kwargs: dict, output) -> None:
        inputs = args[0]
        if isinstance(layer, KroneckerAttention):
            calls.append(_kronecker_call(layer, inputs, output, *args[1:], **kwargs))
        else:
            mask = kwargs.get("attn_mask")
            rows = torch.arange(inputs.shape[1], device=inputs.device)
            calls.append(AttentionCall(layer, inputs.detach(), output[0], rows,
                                       lambda rows: None if mask is None else mask[rows].to(inputs.dtype)))

    handles = [layer.register_forward_hook(keep, with_kwargs=True) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _is_plain(layer: nn.Module) -> bool:
    return (isinstance(layer, nn.MultiheadAttention) and layer.batch_first and layer.in_proj_bias is not None
            and layer.bias_k is None and not layer.add_zero_attn)


def _kronecker_call(layer: KroneckerAttention, inputs: Tensor, output: Tensor, num_frames: int,
                    class_tokens_only: bool = False) -> AttentionCall:
    S = inputs.shape[1]
    L = S // num_frames
    tokens = torch.arange(S, device=inputs.device)

    def bias(rows: Tensor) -> Tensor:
        blocked = ~may_see(layer.pattern, rows, tokens, L)
        return torch.zeros(blocked.shape, dtype=inputs.dtype, device=inputs.device).masked_fill_(blocked, -torch.inf)

    return AttentionCall(layer, inputs.detach(), output, tokens[::L] if class_tokens_only else tokens, bias)
