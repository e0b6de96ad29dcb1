"""Attention layers seen from outside: what each weight of an attention matrix did for a score.

Pure: imports torch and nothing of ``mm*``.
Letters: ``B`` sequences, ``H`` heads, ``S`` tokens, ``R`` of them as queries, ``D`` width, ``C = D / H``.

Attention weights are never kept. A hook keeps a layer's input and output of one normal forward pass, whatever form of
attention that takes; after the backward pass the weights ``A = softmax(q k')`` and their gradient ``dA = dO v'`` are
written out from these, a few rows at a time.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..attention import may_see
from ..temporal import KroneckerAttention
from .twin import hooked

WEIGHTS_AT_ONCE = 1 << 24
"""Elements of attention matrices that are written out at once (64 MiB in float32)."""


Layer = KroneckerAttention | nn.MultiheadAttention


@dataclass
class AttentionCall:
    """One call of an attention layer."""

    layer: Layer
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
            Token numbers of some queries ``(r,)``, their weights and the weights' gradients, ``(B, H, r, S)`` each, in
            float32 at least, whatever the layer computed in.
        """
        with torch.autocast(gradient.device.type, enabled=False):
            yield from self._weights(gradient)

    def _weights(self, gradient: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        q, k, v = self._queries_keys_values()
        heads, S = q.shape[1], k.shape[2]
        dO = self._heads(self._wide(gradient) @ self._wide(self.layer.out_proj.weight), heads)
        at_once = max(1, WEIGHTS_AT_ONCE // (len(q) * heads * S))
        for rows, q_part, dO_part in zip(*(x.split(at_once, dim) for x, dim in ((self.rows, 0), (q, 2), (dO, 2)))):
            scores = q_part @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            bias = self.bias(rows)
            A = (scores if bias is None else scores + bias).softmax(dim=-1)
            yield rows, A, dO_part @ v.transpose(-1, -2)

    def _queries_keys_values(self) -> tuple[Tensor, Tensor, Tensor]:
        layer = self.layer
        if isinstance(layer, KroneckerAttention):
            weight, bias, heads = layer.in_proj.weight, layer.in_proj.bias, layer.heads
        else:
            weight, bias, heads = layer.in_proj_weight, layer.in_proj_bias, layer.num_heads
        projected = linear(*(self._wide(x) for x in (self.inputs, weight, bias)))
        q, k, v = (self._heads(part, heads) for part in projected.chunk(3, dim=-1))
        return q[:, :, self.rows], k, v

    @staticmethod
    def _wide(x: Tensor) -> Tensor:
        return x.to(torch.promote_types(x.dtype, torch.float32))

    @staticmethod
    def _heads(x: Tensor, heads: int) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)


@contextmanager
def record_attention(layers: Sequence[nn.Module]) -> Iterator[list[AttentionCall]]:
    """Keep input and output of every call of some attention layers by this thread, in order, while the context lasts.

    Nothing is computed differently meanwhile. Leave the context before the backward pass, which may call layers again
    (activation checkpointing). Where other threads use the layers, record those of a ``twin_of`` the model.

    Args:
        layers: ``KroneckerAttention``, or ``nn.MultiheadAttention`` as self-attention, batch first (open_clip's).

    Raises:
        ValueError: Another kind of layer, a compiled one, or a call with masks that are not of tokens alone.
    """
    calls: list[AttentionCall] = []
    for layer in layers:
        if not isinstance(layer, KroneckerAttention) and not _is_plain(layer):
            raise ValueError(f"relevance reads Kronecker attention and plain nn.MultiheadAttention (batch first, with "
                             f"biases), not {type(layer).__name__}; choose an architecture whose towers are made of "
                             "them, for example those of the paper")

    def keep(layer: Layer, args: tuple, kwargs: dict, output: Any) -> None:
        bound = inspect.signature(layer.forward).bind(*args, **kwargs).arguments
        calls.append(_kronecker_call(layer, output, **bound) if isinstance(layer, KroneckerAttention)
                     else _plain_call(layer, output, **bound))

    with hooked((layer, keep) for layer in layers):
        yield calls


def attention_layers(tower: nn.Module | None) -> list[nn.Module]:
    """Attention layers of a transformer, or of a tower that has one, first to last."""
    blocks = getattr(getattr(tower, "transformer", tower), "resblocks", ())
    return [block.attn for block in blocks]


def _is_plain(layer: nn.Module) -> TypeGuard[nn.MultiheadAttention]:
    return (isinstance(layer, nn.MultiheadAttention) and layer.batch_first and layer.in_proj_bias is not None
            and layer.bias_k is None and not layer.add_zero_attn)


def _plain_call(layer: nn.MultiheadAttention, output: tuple[Tensor, Tensor | None], query: Tensor,
                attn_mask: Tensor | None = None, key_padding_mask: Tensor | None = None, **_: object) -> AttentionCall:
    if key_padding_mask is not None or (attn_mask is not None and attn_mask.ndim != 2):
        raise ValueError("relevance reads attention under no mask or one of tokens by tokens, (S, S), the same for all "
                         "texts; choose an architecture whose towers pad and mask nothing else")

    def bias(rows: Tensor) -> Tensor | None:
        if attn_mask is None:
            return None
        mask = attn_mask[rows]
        return torch.zeros(mask.shape, device=mask.device).masked_fill_(mask, -torch.inf) \
            if mask.dtype == torch.bool else mask.float()

    return AttentionCall(layer, query.detach(), output[0], torch.arange(query.shape[1], device=query.device), bias)


def _kronecker_call(layer: KroneckerAttention, output: Tensor, x: Tensor, num_frames: int,
                    class_tokens_only: bool = False) -> AttentionCall:
    S = x.shape[1]
    L = S // num_frames
    tokens = torch.arange(S, device=x.device)

    def bias(rows: Tensor) -> Tensor:
        blocked = ~may_see(layer.pattern, rows, tokens, L)
        return torch.zeros(blocked.shape, device=x.device).masked_fill_(blocked, -torch.inf)

    return AttentionCall(layer, x.detach(), output, tokens[::L] if class_tokens_only else tokens, bias)
