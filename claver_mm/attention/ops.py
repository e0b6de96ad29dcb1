"""The door to Kronecker mask attention (paper section 3.2).

Letters: ``B`` clips, ``H`` heads, ``T`` frames, ``L`` tokens of a frame, ``S = T * L``, ``C`` width of a head.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from .choice import choose_backend, leaf_frames
from .flash import work_dtype
from .flex import flex
from .masked import dense, frames
from .tree import kronecker_tree


def kronecker_attention(q: Tensor, k: Tensor, v: Tensor, pattern: str, num_frames: int, *,
                        scale: float | None = None, dropout_p: float = 0.0, backend: str = "auto") -> Tensor:
    """Attention over all tokens of a clip under the mask of a pattern.

    Args:
        q, k, v: Each ``(B, H, S, C)``, tokens frame-major, class token of a frame first.
        pattern: ``kmt``, ``kmct``, ``joint``, ``spatial``, ``pipeline`` or ``class_token``.
        num_frames: ``T``; ``S`` must be a multiple of it.
        scale: Factor on the scores; ``C ** -0.5`` when None.
        dropout_p: Dropout on the attention weights; pass 0 in evaluation.
        backend: A name in ``BACKENDS``, or ``auto``; ``choose_backend`` tells which that is, and why.

    Returns:
        ``(B, H, S, C)``. Under ``class_token`` the rows of patches are their own values. As with
        ``scaled_dot_product_attention``, autocast decides the dtype where it is on.

    Raises:
        ValueError: Unknown pattern or backend, sizes, dtypes or devices that do not fit, or a forced backend that
            cannot serve them.
        NotImplementedError: A derivative that the backend has not: a second or a forward-mode one of ``tree``, any
            inside a ``torch.func`` transform of ``flex``. ``naive_attention`` has them all.
    """
    q, k, v = _autocast(q, k, v)
    name = choose_backend(q, k, v, pattern, num_frames, dropout_p=dropout_p, backend=backend).name
    if name == "plain":
        return _plain(q, k, v, pattern, num_frames, scale, dropout_p)
    if name == "dense":
        return dense(q, k, v, pattern, num_frames, scale, dropout_p, work_dtype(q.dtype, q.device))
    if name == "tree":
        leaf = leaf_frames(pattern, num_frames, q.shape[2] // num_frames, q.dtype, q.device)
        return kronecker_tree(q, k, v, pattern, num_frames, leaf, q.shape[-1] ** -0.5 if scale is None else scale)[0]
    if name == "flex":
        return flex(q, k, v, pattern, num_frames, scale)
    return frames(q, k, v, pattern, num_frames, scale, dropout_p)


def _autocast(*tensors: Tensor) -> list[Tensor]:
    """Cast as autocast casts the arguments of ``scaled_dot_product_attention``: all but float64."""
    device = tensors[0].device.type
    if not _knows_autocast(device) or not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [x if x.dtype == torch.float64 else x.to(dtype) for x in tensors]


@torch.compiler.assume_constant_result  # Dynamo of PyTorch 2.6 cannot trace what it calls
def _knows_autocast(device: str) -> bool:
    """The meta device does not, and raises where it is asked whether autocast is on."""
    return torch.amp.is_autocast_available(device)


def _plain(q: Tensor, k: Tensor, v: Tensor, pattern: str, T: int, scale: float | None, dropout_p: float) -> Tensor:
    attend = partial(sdpa, scale=scale, dropout_p=dropout_p)
    L = q.shape[2] // T
    if pattern == "joint":
        return attend(q, k, v)
    if pattern == "spatial":
        return _per_group(attend, (q, k, v), T, L)
    if pattern == "pipeline":
        by_slot = [x.unflatten(2, (T, L)).transpose(2, 3).flatten(2, 3) for x in (q, k, v)]
        return _per_group(attend, by_slot, L, T).unflatten(2, (L, T)).transpose(2, 3).flatten(2, 3)
    classes = attend(q[:, :, ::L], k[:, :, ::L], v[:, :, ::L])
    return torch.cat([classes.unsqueeze(3), v.unflatten(2, (T, L))[:, :, :, 1:]], dim=3).flatten(2, 3)


def _per_group(attend: Callable[..., Tensor], inputs: Sequence[Tensor], groups: int, size: int) -> Tensor:
    """Plain attention inside each of ``groups`` runs of ``size`` neighbouring tokens."""
    grouped = [x.unflatten(2, (groups, size)).transpose(1, 2).flatten(0, 1) for x in inputs]
    return attend(*grouped).unflatten(0, (len(inputs[0]), groups)).transpose(1, 2).flatten(2, 3)
