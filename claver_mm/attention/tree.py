"""Kronecker mask attention as a binary tree of unmasked flash attentions, with its own backward pass.

Letters: ``B`` clips, ``H`` heads, ``T`` frames, ``L`` tokens of a frame, ``S = T * L``, ``C`` width of a head;
``n`` siblings of a level, which share one call; ``span`` the tokens of a sibling.

The frames are cut in two; the right part attends to the left one without a mask (under ``kmt`` also the left to the
right), and both parts recurse. What remains is each token's own key. That is the allowed work and no more, in
``log2 T`` levels. Partial results merge by log-sum-exp in place, into the own value, so that no row is ever empty
and no flash call gets zero keys. With ``leaf > 1`` the recursion stops at groups of that many frames, which attend
under one small mask shared by all groups: cheaper than the own key for short frames.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.flop_counter import register_flop_formula

from .flash import flash, flash_backward, work_dtype
from .masked import shared_mask

TOKENS_AT_ONCE = 2048
"""Tokens of a level that share a call on the CPU; further siblings get calls of their own."""


def levels(T: int, leaf: int = 1, at_once: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """``(start, n, left, right)``: from frame ``start`` on, ``n`` siblings of ``left`` frames and ``right`` frames.

    Each pair of frames of different leaves is split by exactly one sibling. ``at_once`` is the number of frames that
    neighbouring siblings may have together; one sibling may always have more.
    """
    left = leaf
    while left < T:
        n, rest = divmod(T, 2 * left)
        yield from ((start, some, left, left) for start, some in _runs(n, 2 * left, at_once or T))
        if rest > left:
            yield n * 2 * left, 1, left, rest - left
        left *= 2


def leaves(T: int, leaf: int, at_once: int | None = None) -> Iterator[tuple[int, int, int]]:
    """``(start, n, size)``: from frame ``start`` on, ``n`` groups of ``size`` frames."""
    n, rest = divmod(T, leaf)
    yield from ((start, some, leaf) for start, some in _runs(n, leaf, at_once or T))
    if rest:
        yield n * leaf, 1, rest


def _runs(n: int, size: int, at_once: int) -> Iterator[tuple[int, int]]:
    step = max(1, at_once // size)
    return ((first * size, min(step, n - first)) for first in range(0, n, step))


def siblings(x: Tensor, start: int, n: int, span: int) -> Tensor:
    """View of ``(B, H, S, ...)`` from token ``start`` on as ``(B, n, H, span, ...)``."""
    return x[:, :, start:start + n * span].unflatten(2, (n, span)).transpose(1, 2)


def halves(x: Tensor, L: int, start: int, n: int, left: int, right: int) -> tuple[Tensor, Tensor]:
    """The two parts of each sibling, views ``(B, n, H, left * L, ...)`` and ``(B, n, H, right * L, ...)``."""
    x = siblings(x, start * L, n, (left + right) * L)
    return x[:, :, :, :left * L], x[:, :, :, left * L:]


def _at_once(q: Tensor, L: int) -> int | None:
    """Frames of a level that share a call: on a CPU some, so that temporary results stay small, elsewhere all."""
    return max(1, TOKENS_AT_ONCE // L) if q.device.type == "cpu" else None


def kronecker_tree(q: Tensor, k: Tensor, v: Tensor, pattern: str, num_frames: int, leaf: int,
                   scale: float) -> tuple[Tensor, Tensor]:
    """Output ``(B, H, S, C)`` and log-sum-exp ``(B, H, S)`` of ``kmt`` or ``kmct``.

    The log-sum-exp is there for the backward pass and carries no gradient of its own.

    Raises:
        NotImplementedError: A forward-mode or a second derivative is asked for.
    """
    if torch.compiler.is_compiling() and forward_ad._current_level >= 0:  # a compiler looks at forward() alone
        raise NotImplementedError("the tree form of Kronecker attention has no forward-mode derivative; "
                                  "claver_mm.attention.naive_attention has")
    return _Tree.apply(q, k, v, pattern, num_frames, leaf, scale)


class _Tree(torch.autograd.Function):
    """The forward operator with the backward one as its derivative.

    A function around operators without derivatives, not operators with ``register_autograd``: those let a tangent of
    forward mode fall without a word, and fail under ``torch.func``.
    """
    generate_vmap_rule = True

    @staticmethod
    def forward(q, k, v, pattern, num_frames, leaf, scale):
        return _tree(q, k, v, pattern, num_frames, leaf, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        q, k, v, *ctx.form = inputs
        out, lse = output
        ctx.mark_non_differentiable(lse)
        ctx.save_for_backward(q, k, v, out, lse)

    @staticmethod
    def backward(ctx, grad, _):
        return *_TreeBackward.apply(grad, *ctx.saved_tensors, *ctx.form), None, None, None, None


class _TreeBackward(torch.autograd.Function):
    """The backward operator; its own derivatives are refused."""
    generate_vmap_rule = True

    @staticmethod
    def forward(grad, q, k, v, out, lse, pattern, num_frames, leaf, scale):
        return _tree_backward(grad, q, k, v, out, lse, pattern, num_frames, leaf, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
        pass

    @staticmethod
    def backward(ctx, *_):
        raise NotImplementedError("the tree form of Kronecker attention has no second derivative; "
                                  "claver_mm.attention.naive_attention has")


@torch.library.custom_op("claver_mm::kronecker_tree", mutates_args=())
def _tree(q: Tensor, k: Tensor, v: Tensor, pattern: str, num_frames: int, leaf: int,
          scale: float) -> tuple[Tensor, Tensor]:
    dtype = work_dtype(q.dtype, q.device)
    out, lse = _empty_out(q, q.dtype), _empty_lse(q)
    if not q.numel():
        return out, lse
    for heads in _head_groups(q, _sum_dtype(dtype, leaf)):
        inputs = [_dense_rows(x[:, heads], dtype) for x in (q, k, v)]
        wide = _in_dtype(out[:, heads], _sum_dtype(dtype, leaf))
        _attend(inputs, wide, lse[:, heads], pattern, num_frames, leaf, scale)
        if wide.dtype != out.dtype:
            out[:, heads] = wide
    return out, lse


def _attend(inputs: Sequence[Tensor], out: Tensor, lse: Tensor, pattern: str, T: int, leaf: int, scale: float) -> None:
    """The forward pass of ``q, k, v``, written into ``out`` and ``lse``."""
    q, k, v = inputs
    L = q.shape[2] // T
    if leaf == 1:
        torch.sum(out.copy_(q).mul_(k), -1, out=lse).mul_(scale)
        out.copy_(v)
    else:
        for start, n, size in leaves(T, leaf, _at_once(q, L)):
            mask = shared_mask(pattern, size * L, L, q.dtype, q.device)
            q0, k0, v0, out0, lse0 = (siblings(x, start * L, n, size * L) for x in (q, k, v, out, lse))
            part, part_lse = _call(flash, (q0, k0, v0), scale, mask)
            out0.copy_(part)
            lse0.copy_(part_lse)
    for level in levels(T, leaf, _at_once(q, L)):
        (q0, q1), (k0, k1), (v0, v1), (out0, out1), (lse0, lse1) = (halves(x, L, *level) for x in (q, k, v, out, lse))
        _merge(out1, lse1, *_call(flash, (q1, k0, v0), scale))
        if pattern == "kmt":
            _merge(out0, lse0, *_call(flash, (q0, k1, v1), scale))


@torch.library.custom_op("claver_mm::kronecker_tree_backward", mutates_args=())
def _tree_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, pattern: str,
                   num_frames: int, leaf: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``q, k, v``, each ``(B, H, S, C)``, from that of the output."""
    dtype = work_dtype(q.dtype, q.device)
    dq, dk, dv = grads = [_empty_out(q, q.dtype) for _ in range(3)]
    if not q.numel():
        return dq, dk, dv
    for heads in _head_groups(q, _sum_dtype(dtype, leaf)):
        inputs = [*(_dense_rows(x[:, heads], dtype) for x in (grad, q, k, v, out)), lse[:, heads]]
        parts = [x[:, heads] for x in grads]
        wide = [_in_dtype(x, _sum_dtype(dtype, leaf)) for x in parts]
        _attend_backward(inputs, wide, pattern, num_frames, leaf, scale)
        for part, wider in zip(parts, wide):
            if wider.dtype != part.dtype:
                part.copy_(wider)
    return dq, dk, dv


def _attend_backward(inputs: Sequence[Tensor], grads: Sequence[Tensor], pattern: str, T: int, leaf: int,
                     scale: float) -> None:
    """The backward pass of ``grad, q, k, v, out, lse``, written into the gradients of ``q, k, v``."""
    q = inputs[1]
    L = q.shape[2] // T
    if leaf == 1:
        _own_key_backward(inputs, grads, scale, L if pattern == "kmct" or T == 1 else 0)
    else:
        for start, n, size in leaves(T, leaf, _at_once(q, L)):
            mask = shared_mask(pattern, size * L, L, q.dtype, q.device)
            group = [siblings(x, start * L, n, size * L) for x in inputs]
            for total, part in zip(grads, _call(flash_backward, group, scale, mask)):
                siblings(total, start * L, n, size * L).copy_(part)
    for level in levels(T, leaf, _at_once(q, L)):
        left, right = zip(*(halves(x, L, *level) for x in inputs))
        (dq0, dq1), (dk0, dk1), (dv0, dv1) = (halves(x, L, *level) for x in grads)
        _add_parts((dq1, dk0, dv0), right[:2] + left[2:4] + right[4:], scale)
        if pattern == "kmt":
            _add_parts((dq0, dk1, dv1), left[:2] + right[2:4] + left[4:], scale)


def _head_groups(q: Tensor, sum_dtype: torch.dtype) -> list[slice]:
    """Heads that are worked on together: where sums are wider than inputs, as few as keep all threads of a CPU busy, so
    that little is wide at a time."""
    B, H = q.shape[:2]
    if q.device.type != "cpu" or q.dtype == sum_dtype:
        return [slice(0, H)]
    step = min(H, -(-torch.get_num_threads() // B))
    return [slice(first, first + step) for first in range(0, H, step)]


def _in_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor itself, or an empty one like it in another dtype."""
    return x if x.dtype == dtype else _empty_out(x, dtype)


def _sum_dtype(dtype: torch.dtype, leaf: int) -> torch.dtype:
    """What partial results add up in: at least float32, save where few of them follow a leaf of many frames."""
    return dtype if leaf > 1 else torch.promote_types(dtype, torch.float32)


def _dense_rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    x = x.to(dtype)
    return x if x.stride(-1) == 1 else x.contiguous()  # the kernels read a row as one run


def _empty_out(q: Tensor, dtype: torch.dtype) -> Tensor:
    """``(B, H, S, C)`` laid out as ``(B, S, H, C)``, so that joining the heads afterwards is a view."""
    B, H, S, C = q.shape
    return q.new_empty(B, S, H, C, dtype=dtype).transpose(1, 2)


def _empty_lse(q: Tensor) -> Tensor:
    B, H, S, _ = q.shape
    return q.new_empty(B, S, H, dtype=torch.promote_types(q.dtype, torch.float32)).transpose(1, 2)


def _call(function: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor], scale: float,
          mask: Tensor | None = None) -> list[Tensor]:
    """A flash function on tensors ``(B, n, H, ...)``, clips and siblings taken together as its batch."""
    batch = tensors[0].shape[:2]
    results = function(*(x.flatten(0, 1) for x in tensors), scale, mask)
    return [x.unflatten(0, batch) for x in results]


def _merge(out: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> None:
    """Take the attention over further keys into ``out`` and ``lse``, in place."""
    out.lerp_(part.to(out.dtype), torch.sigmoid(part_lse - lse).unsqueeze(-1).to(out.dtype))
    lse.copy_(torch.logaddexp(lse, part_lse))


def _add_parts(totals: tuple[Tensor, Tensor, Tensor], tensors: tuple[Tensor, ...], scale: float) -> None:
    for total, part in zip(totals, _call(flash_backward, tensors, scale)):
        total.add_(part)


def _own_key_backward(inputs: Sequence[Tensor], grads: Sequence[Tensor], scale: float, alone: int) -> None:
    """Write the own key's part of the gradients; the first ``alone`` tokens see nothing else."""
    (grad, q, k, v, out, lse), (dq, dk, dv) = inputs, grads
    p = dk.copy_(q).mul_(k).sum(-1).mul_(scale).sub_(lse).exp_()  # weight of the own key
    ds = dq.copy_(v).sub_(out).mul_(grad).sum(-1).mul_(p).mul_(scale)
    p[:, :, :alone], ds[:, :, :alone] = 1, 0  # exactly, whatever the order of summation
    p, ds = p.unsqueeze(-1), ds.unsqueeze(-1)
    dq.copy_(k).mul_(ds)
    dk.copy_(q).mul_(ds)
    dv.copy_(grad).mul_(p)


@_tree.register_fake
def _(q, k, v, pattern, num_frames, leaf, scale):
    return _empty_out(q, q.dtype), _empty_lse(q)


@_tree_backward.register_fake
def _(grad, q, k, v, out, lse, pattern, num_frames, leaf, scale):
    return tuple(_empty_out(q, q.dtype) for _ in range(3))


def _flops(q_shape: tuple[int, ...], pattern: str, num_frames: int, products: int) -> int:
    B, H, S, C = q_shape
    L = S // num_frames
    seen_of_others = (S - L) * S if pattern == "kmt" else (S - L) * S // 2
    return 2 * products * B * H * C * (seen_of_others + S)


@register_flop_formula(torch.ops.claver_mm.kronecker_tree)
def _(q_shape: torch.Size, k: object, v: object, pattern: str, num_frames: int, *_: object, **__: object) -> int:
    return _flops(q_shape, pattern, num_frames, products=2)


@register_flop_formula(torch.ops.claver_mm.kronecker_tree_backward)
def _(grad: object, q_shape: torch.Size, k: object, v: object, out: object, lse: object, pattern: str, num_frames: int,
      *_: object, **__: object) -> int:
    return _flops(q_shape, pattern, num_frames, products=5)  # the scores are computed again
