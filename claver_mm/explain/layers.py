"""Attention layers of this package, of PyTorch, open_clip and timm, seen from outside.

Pure: imports torch, open_clip, timm and pure parts of this package, nothing of ``mm*``.
Letters: ``B`` sequences, ``S`` tokens, ``D`` width, ``R`` queries of a pooling.

Each kind of layer has one function that makes an ``AttentionCall`` of its input and output: queries, keys and values
as the layer itself makes them, and where a gradient says what its heads' result was worth. That is the output where
nothing but a projection lies in between; timm's layers may norm and gate there, so of them the heads' result itself is
kept, which is what their module ``norm`` (or ``proj``) is given.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from open_clip.modified_resnet import AttentionPool2d
from timm.layers import AttentionPoolLatent, apply_rot_embed_cat
from timm.models.eva import AttentionRope, EvaAttention
from timm.models.vision_transformer import Attention
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import linear

from ..attention import may_see
from ..temporal import KroneckerAttention
from .attention import AttentionCall, split_heads, wide
from .twin import hooked

QueriesKeysValues = tuple[Tensor, Tensor, Tensor]


@contextmanager
def record_attention(layers: Sequence[nn.Module]) -> Iterator[list[AttentionCall]]:
    """Keep what every call of some attention layers by this thread was, in order, while the context lasts.

    Nothing is computed differently meanwhile. Leave the context before the backward pass, which may call layers again
    (activation checkpointing). Where other threads use the layers, record those of a ``twin_of`` the model.

    Args:
        layers: Such as ``readable`` says yes to.

    Raises:
        ValueError: Another kind of layer, a compiled one, or a call with masks that are not of tokens alone.
    """
    calls: list[AttentionCall] = []
    hooks = []
    for layer in layers:
        if not readable(layer):
            raise ValueError(f"relevance reads Kronecker attention, plain nn.MultiheadAttention (batch first, with "
                             f"biases) and the attention of timm's ViT and EVA, not {type(layer).__name__}; choose an "
                             "architecture whose towers are made of them, for example those of the paper")
        hooks += _hooks(layer, calls)
    with hooked(hooks):
        yield calls


def readable(layer: nn.Module | None) -> bool:
    """Whether a layer is one whose attention weights can be written out."""
    if isinstance(layer, nn.MultiheadAttention):
        return (layer.batch_first and layer.in_proj_bias is not None and layer.bias_k is None
                and not layer.add_zero_attn)
    return isinstance(layer, tuple(KINDS))


def attention_layers(tower: Any) -> list[nn.Module] | None:
    """Attention layers of a transformer, or of a tower that has one, first to last.

    None where its tokens see each other in a way that cannot be read: by convolution, in windows, with biases of their
    own, or by a text tower of another library.
    """
    transformer = getattr(tower, "transformer", None) or getattr(tower, "trunk", None) or tower
    blocks = getattr(transformer, "resblocks", None) or getattr(transformer, "blocks", None) or ()
    layers: list[Any] = [getattr(block, "attn", None) for block in blocks]
    return layers if layers and all(map(readable, layers)) else None


def pooling_layer(head: Any) -> nn.Module:
    """The attention by which a ``CLIPHead`` pools the tokens of a frame; one that does not has none to ask for."""
    pool = getattr(getattr(head, "trunk", None), "attn_pool", None) or getattr(head, "attnpool", None)
    return pool or head.attn_pool.attn


def _hooks(layer: nn.Module, calls: list[AttentionCall]) -> list[tuple[nn.Module, Callable]]:
    make = next(make for kind, make in KINDS.items() if isinstance(layer, kind))
    of_heads: list[Tensor] = []

    def keep(layer: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        bound = inspect.signature(layer.forward).bind(*args, **kwargs).arguments
        calls.append(make(layer, of_heads.pop() if inner else output, **bound))

    behind = getattr(layer, "norm", None) if isinstance(layer, TIMM) else None
    inner = (behind or layer.proj) if isinstance(layer, (*TIMM, AttentionPoolLatent)) else None
    return [(layer, keep)] if inner is None else [
        (inner, lambda module, args, kwargs, output: of_heads.append(args[0])), (layer, keep)]


def _kronecker_call(layer: KroneckerAttention, output: Tensor, x: Tensor, num_frames: int,
                    class_tokens_only: bool = False) -> AttentionCall:
    S = x.shape[1]
    L = S // num_frames
    tokens = torch.arange(S, device=x.device)
    rows = tokens[::L] if class_tokens_only else tokens
    inputs = x.detach()

    def bias(rows: Tensor) -> Tensor:
        blocked = ~may_see(layer.pattern, rows, tokens, L)
        return torch.zeros(blocked.shape, device=x.device).masked_fill_(blocked, -torch.inf)

    def read() -> QueriesKeysValues:
        q, k, v = _fused(inputs, layer.in_proj.weight, layer.in_proj.bias, layer.heads)
        return q[:, :, rows], k, v

    return AttentionCall(output, layer.out_proj.weight, rows, S, bias, read)


def _plain_call(layer: nn.MultiheadAttention, output: tuple[Tensor, Tensor | None], query: Tensor, key: Tensor,
                attn_mask: Tensor | None = None, key_padding_mask: Tensor | None = None, **_: object) -> AttentionCall:
    if key_padding_mask is not None:
        raise ValueError("relevance reads attention under no mask or one of tokens by tokens, (S, S) or "
                         "(B * H, S, S), not under a key_padding_mask; choose another architecture")
    heads = layer.num_heads
    to_itself = query is key
    query, key = query.detach(), key.detach()

    def bias(rows: Tensor) -> Tensor | None:
        if attn_mask is None:
            return None
        mask = attn_mask[..., rows, :]
        if mask.ndim == 3:  # one for each text and head
            mask = mask.unflatten(0, (-1, heads))
        return torch.zeros(mask.shape, device=mask.device).masked_fill_(mask, -torch.inf) \
            if mask.dtype == torch.bool else mask.float()

    def read() -> QueriesKeysValues:
        if to_itself:
            return _fused(query, layer.in_proj_weight, layer.in_proj_bias, heads)
        weights = layer.in_proj_weight.chunk(3) if layer.in_proj_weight is not None else (
            layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
        q, k, v = (split_heads(linear(*map(wide, parts)), heads)
                   for parts in zip((query, key, key), weights, layer.in_proj_bias.chunk(3)))
        return q, k, v

    rows = torch.arange(query.shape[1], device=query.device)
    return AttentionCall(output[0], layer.out_proj.weight, rows, key.shape[1], bias, read)


def _fused(x: Tensor, weight: Tensor, bias: Tensor | None, heads: int) -> QueriesKeysValues:
    q, k, v = (split_heads(part, heads) for part in linear(
        wide(x), wide(weight), None if bias is None else wide(bias)).chunk(3, dim=-1))
    return q, k, v


def _timm_call(layer: Attention | AttentionRope | EvaAttention, of_heads: Tensor, x: Tensor,
               rope: Tensor | None = None, attn_mask: Tensor | None = None, is_causal: bool = False) -> AttentionCall:
    if attn_mask is not None or is_causal:
        raise ValueError(f"relevance reads {type(layer).__name__} of timm without a mask; choose an architecture whose "
                         "image tower masks nothing")
    inputs = x.detach()
    rows = torch.arange(x.shape[1], device=x.device)
    return AttentionCall(of_heads, None, rows, x.shape[1], _no_bias, lambda: _timm_parts(layer, inputs, rope))


def _timm_parts(layer: Any, x: Tensor, rope: Tensor | None) -> QueriesKeysValues:
    heads = layer.num_heads
    if layer.qkv is not None:
        bias = layer.qkv.bias
        if getattr(layer, "q_bias", None) is not None:  # EVA's, which has no bias of keys
            bias = torch.cat([layer.q_bias, layer.k_bias, layer.v_bias])
        q, k, v = _fused(x, layer.qkv.weight, bias, heads)
    else:
        q, k, v = (_wide_call(part, wide(x)).unflatten(-1, (-1, layer.head_dim)).transpose(1, 2)
                   for part in (layer.q_proj, layer.k_proj, layer.v_proj))
    q, k = _wide_call(layer.q_norm, q), _wide_call(layer.k_norm, k)
    if rope is not None:
        q, k = (_rotated(layer, part, wide(rope)) for part in (q, k))
    groups = heads // k.shape[1]  # queries that share keys and values
    return q, k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)


def _rotated(layer: Any, x: Tensor, rope: Tensor) -> Tensor:
    """Queries or keys turned by their place in the grid; prefix tokens have none."""
    prefix, grid = x.split([layer.num_prefix_tokens, x.shape[2] - layer.num_prefix_tokens], dim=2)
    how = dict(half=True) if getattr(layer, "rotate_half", False) else {}
    return torch.cat([prefix, apply_rot_embed_cat(grid, rope, **how)], dim=2)


def _latent_call(layer: AttentionPoolLatent, of_heads: Tensor, x: Tensor,
                 attn_mask: Tensor | None = None) -> AttentionCall:
    """Of SigLIP's and PE's pooling: learnt queries over the tokens of a frame."""
    if attn_mask is not None:
        raise ValueError("relevance reads attention pooling without a mask; this one was called with one")
    inputs = x.detach()

    def read() -> QueriesKeysValues:
        tokens = wide(inputs)
        if layer.pos_embed is not None:
            tokens = tokens + wide(layer.pos_embed)
        q = split_heads(_wide_call(layer.q, wide(layer.latent)).expand(len(tokens), -1, -1), layer.num_heads)
        k, v = (split_heads(part, layer.num_heads) for part in _wide_call(layer.kv, tokens).chunk(2, dim=-1))
        return _wide_call(layer.q_norm, q), _wide_call(layer.k_norm, k), v

    rows = torch.arange(layer.latent_len, device=x.device)
    return AttentionCall(of_heads, None, rows, x.shape[1], _no_bias, read)


def _map_call(layer: AttentionPool2d, output: Tensor, x: Tensor) -> AttentionCall:
    """Of the pooling of CLIP's ResNets: the mean of a map as the query, and as one more token, the first."""
    inputs = x.detach()

    def read() -> QueriesKeysValues:
        tokens = wide(inputs).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + wide(layer.positional_embedding)
        q, k, v = (split_heads(_wide_call(part, of), layer.num_heads) for part, of in (
            (layer.q_proj, tokens[:, :1]), (layer.k_proj, tokens), (layer.v_proj, tokens)))
        return q, k, v

    return AttentionCall(output, layer.c_proj.weight, torch.zeros(1, dtype=torch.long, device=x.device),
                         1 + x[0, 0].numel(), _no_bias, read)


def _no_bias(rows: Tensor) -> None:
    return None


def _wide_call(module: nn.Module, x: Tensor) -> Tensor:
    """What a module gives with its weights in float32 at least."""
    weights = {name: wide(weight) for name, weight in (*module.named_parameters(), *module.named_buffers())}
    return functional_call(module, weights, (x,))


TIMM = (Attention, AttentionRope, EvaAttention)
KINDS: dict[type[nn.Module], Callable[..., AttentionCall]] = {
    KroneckerAttention: _kronecker_call, nn.MultiheadAttention: _plain_call, **dict.fromkeys(TIMM, _timm_call),
    AttentionPoolLatent: _latent_call, AttentionPool2d: _map_call}
"""How a call of each kind of layer is read."""
