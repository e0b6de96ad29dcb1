"""Class texts through a text tower at little cost, exactly.

Pure: imports torch alone.
Letters: ``N`` texts, ``U`` different ones, ``n`` tokens of a text up to its end, ``W`` ranks, ``E`` embedding size.

CLIP's tower is causal and is read at the end-of-text token, so nothing after it matters: a batch may be cut behind its
last end. Other towers (SigLIP, CLIPA, MobileCLIP, CoCa, those of Hugging Face) get their texts whole. Texts of similar
length share a batch, equal texts are encoded once, and ranks share out the texts of a training step.
"""
from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

TOKENS_AT_ONCE = 16384
"""Tokens of a batch of texts: enough to fill a GPU, and a bound on the memory that a batch needs."""

LENGTH_STEP = 4
"""Lengths that differ by less may share a batch: fewer, larger batches against tokens behind the end."""


def encode_texts(tower: nn.Module, tokens: Tensor, tokens_at_once: int = TOKENS_AT_ONCE, checkpointing: bool = False,
                 share: bool = False) -> Tensor:
    """What ``tower(tokens)`` gives, up to rounding: ``(N, context) -> (N, E)``, on the tower's device.

    Args:
        tower: Any text tower. open_clip's ``TextTransformer`` gets its texts cut behind their ends where nothing
            there matters and ``allow_short_texts`` was called, as ``CLIPHead`` does.
        tokens: Token ids on any device; those on a CPU spare a GPU a synchronisation.
        tokens_at_once: Tokens of a batch.
        checkpointing: Keep no activations; each batch is computed again in the backward pass, so that the activations
            of one batch bound the memory.
        share: Every rank of the default process group encodes its part of the texts, and gets all features. All ranks
            must call this with the same tokens. The gradient that reaches a rank's weights is that of its texts in the
            sum of all ranks' losses, so that an average over ranks (DDP, FSDP) is what it would be without sharing.

    Raises:
        ValueError: No texts, or ``tokens_at_once`` below one.
    """
    if tokens.ndim != 2 or not len(tokens):
        raise ValueError(f"token ids must be of shape (N, context) with N > 0, got {tuple(tokens.shape)}")
    if tokens_at_once < 1:
        raise ValueError(f"tokens_at_once must be at least 1, got {tokens_at_once}")
    device = next(tower.parameters()).device
    W, rank = (dist.get_world_size(), dist.get_rank()) if share and dist.is_initialized() else (1, 0)
    different, position = torch.unique(tokens, dim=0, return_inverse=True)
    lengths = text_lengths(tower, different)
    order = lengths.argsort(descending=True, stable=True)  # the batch that needs most memory comes first
    spare = order[-1:].expand(-len(order) % W)
    groups = torch.cat([order, spare]).unflatten(0, (-1, W))  # one text for each rank, of almost one length
    features = []
    for first, last, n in _batches(lengths[groups[:, 0]].tolist(), tokens_at_once):
        batch = different[groups[first:last, rank], :n].to(device, non_blocking=True)
        if checkpointing and torch.is_grad_enabled():
            features.append(checkpoint(tower, batch, use_reentrant=False))
        else:
            features.append(tower(batch))
    encoded = torch.cat(features)  # (U / W, E)
    if W > 1:
        encoded = _Gather.apply(encoded).transpose(0, 1).flatten(0, 1)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return encoded[place[position].to(device, non_blocking=True)]


def text_lengths(tower: Any, tokens: Tensor) -> Tensor:
    """How many tokens of each text the tower has to see: ``(N, context) -> (N,)``.

    All of them, unless the tower takes short texts, is causal, has no class token at the end, and is read at the
    end-of-text token.
    """
    pool = getattr(tower, "pool_type", None)
    causal = getattr(tower, "attn_mask", None) is not None and getattr(tower, "cls_emb", None) is None
    if causal and _takes_short_texts(tower):
        if pool == "argmax":
            return tokens.argmax(dim=1) + 1
        if pool == "eos":
            ends: Tensor = tokens == tower.eos_id
            return torch.where(ends.any(dim=1), ends.int().argmax(dim=1) + 1, tokens.shape[1])
    return torch.full((len(tokens),), tokens.shape[1])


def read_positions(tower: nn.Module, tokens: Tensor) -> Tensor:
    """Number of the token that open_clip's ``TextTransformer`` reads each text at: ``(N, context) -> (N,)``.

    One that has a class token reads that, which stands behind the text: ``context``.
    """
    pool, first = tower.pool_type, torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)
    if tower.cls_emb is not None:
        return first + tokens.shape[1]
    if pool == "eos":
        return (tokens == tower.eos_id).int().argmax(dim=1)
    if pool == "argmax":
        return tokens.argmax(dim=1)
    return dict(first=first, last=first + tokens.shape[1] - 1)[pool]


def allow_short_texts(tower: nn.Module) -> None:
    """Let open_clip's text tower take fewer tokens than its context, whose causal mask it hands on whole.

    By a hook on its blocks, which serves checkpointing, compilation and sharded weights as well. It is for whoever
    builds a tower: one that runs in another thread at the time must not get a hook. A second call changes nothing.
    """
    with _one_at_a_time:
        blocks = getattr(tower, "transformer", None)
        if isinstance(blocks, nn.Module) and not _takes_short_texts(tower):
            blocks.register_forward_pre_hook(_fit_mask, with_kwargs=True)


_one_at_a_time = Lock()


def _takes_short_texts(tower: nn.Module) -> bool:
    blocks = getattr(tower, "transformer", None)
    return isinstance(blocks, nn.Module) and any(  # sharding and the like put the blocks into a module of their own
        _fit_mask in part._forward_pre_hooks.values() for part in blocks.modules())


def _fit_mask(blocks: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    mask = kwargs.get("attn_mask")
    if mask is not None:
        n = (args[0] if args else kwargs["x"]).shape[1]
        kwargs = dict(kwargs, attn_mask=mask[..., :n, :n])
    return args, kwargs


def _batches(lengths: list[int], tokens_at_once: int) -> Iterator[tuple[int, int, int]]:
    """``(first, last, n)`` of batches of texts sorted from long to short, cut at ``n`` tokens."""
    first = 0
    while first < len(lengths):
        n = lengths[first]
        last = min(len(lengths), first + max(1, tokens_at_once // n))
        while lengths[last - 1] <= n - LENGTH_STEP:
            last -= 1
        yield first, last, n
        first = last


class _Gather(torch.autograd.Function):
    """``(G, E)`` of every rank -> ``(W, G, E)`` on every rank; the backward pass sums the gradients of all ranks.

    torch.distributed.nn has such a function, deprecated, and through an all-to-all where a backend has no
    reduce-scatter.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        dist.all_reduce(grad)
        return grad[dist.get_rank()]
