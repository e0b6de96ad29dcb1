"""Fully sharded data parallelism for any model, by torch's ``fully_shard`` (FSDP2; Zhao et al. 2023, arXiv 2304.11277).

Imports torch alone. Each rank keeps its part of every weight, gradient and optimiser state; a block's weights are
gathered when its turn comes. Weights load and save whole, so that checkpoints are those of a run that is not sharded
and fit any number of processes.

MMEngine's own wrapper is FSDP1, which refuses to run without an accelerator (``torch/distributed/fsdp/_init_utils.py``,
"FSDP needs a non-CPU accelerator device"), and which its ``Runner`` would initialise too late and save on one rank
alone. FSDP2 runs with gloo on CPUs as well, and leaves module and names as they are.
"""
from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor
from torch.optim import Optimizer

BLOCKS = ("*Block", "*Bottleneck", "*Layer")
"""What classes of blocks are called: ``ResidualAttentionBlock`` of open_clip, ``KroneckerBlock`` of the neck,
``EvaBlock`` and the like of timm, ``Bottleneck`` of CLIP's ResNets, ``BertLayer`` and the like of transformers."""


def shard(model: nn.Module, device: str, blocks: Sequence[str] = BLOCKS, reshard_after_forward: bool = True) -> None:
    """Shard a model over all ranks, in place, starting from the weights of rank 0.

    Args:
        model: A module that is only entered through its ``forward``; on ``device`` already.
        device: ``cuda`` or ``cpu``.
        blocks: Names of classes, or patterns of names, whose modules are gathered one by one, those within others with
            the outer one; the rest is gathered for the whole step.
        reshard_after_forward: Give a block's weights back between forward and backward pass, for the price of
            gathering them twice.
    """
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    for tensor in model.state_dict().values():
        dist.broadcast(tensor, src=0)
    scalars = _replicate_scalars(model, mesh)
    for module in blocks_of(model, blocks):
        fully_shard(module, mesh=mesh, reshard_after_forward=reshard_after_forward)
    fully_shard(model, mesh=mesh, ignored_params={owner._parameters[name] for owner, name in scalars})
    for module in model.modules():
        module.register_load_state_dict_pre_hook(_take_own_part)
    model.register_state_dict_post_hook(_make_whole)


def blocks_of(module: nn.Module, names: Sequence[str] = BLOCKS) -> list[nn.Module]:
    """The outermost modules with parameters whose class is called so."""
    found = []
    for child in module.children():
        if any(fnmatchcase(type(child).__name__, name) for name in names):
            found += [child] if any(True for _ in child.parameters()) else []
        else:
            found += blocks_of(child, names)
    return found


def is_sharded(model: nn.Module) -> bool:
    """Whether ``shard`` was called on it."""
    return isinstance(model, FSDPModule)


def keep_state_whole(optimizer: Optimizer) -> None:
    """Let the optimiser of a sharded model save and load whole tensors. All ranks must ask for its state at once."""
    optimizer.register_state_dict_post_hook(_make_state_whole)
    optimizer.register_load_state_dict_post_hook(_take_own_state)


def _replicate_scalars(model: nn.Module, mesh: DeviceMesh) -> list[tuple[nn.Module, str]]:
    """Parameters without a dimension to shard (CLIP's logit scale) become replicated tensors of the mesh, so that an
    optimiser finds tensors of one kind; the forward pass gets them as ordinary tensors."""
    scalars = [(owner, name) for owner in model.modules()
               for name, parameter in owner.named_parameters(recurse=False) if parameter.ndim == 0]
    for owner, name in scalars:
        parameter = owner._parameters[name]
        whole = distribute_tensor(parameter.detach(), mesh, [Replicate()])
        owner._parameters[name] = nn.Parameter(whole, parameter.requires_grad)
    replicated: list[nn.Parameter] = []

    def unwrap(*_) -> None:
        for owner, name in scalars:
            replicated.append(owner._parameters[name])
            local = owner._parameters[name].to_local(grad_placements=[Replicate()])
            if local.requires_grad:
                local.register_hook(_mean_over_ranks)
            owner._parameters[name] = local

    def wrap(*_) -> None:
        while replicated:
            owner, name = scalars[len(replicated) - 1]
            owner._parameters[name] = replicated.pop()

    if scalars:
        model.register_forward_pre_hook(unwrap)
        model.register_forward_hook(wrap, always_call=True)
    return scalars


def _mean_over_ranks(grad: Tensor) -> Tensor:
    grad = grad.clone()
    dist.all_reduce(grad)
    return grad / dist.get_world_size()


def _whole(value: object) -> object:
    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def _part(value: Tensor, like: DTensor) -> DTensor:
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _make_whole(module: nn.Module, state_dict: dict, *_) -> None:
    state_dict.update({key: _whole(value) for key, value in state_dict.items()})


def _take_own_part(module: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        value = state_dict.get(prefix + name)
        if isinstance(parameter, DTensor) and value is not None and value.shape == parameter.shape:
            state_dict[prefix + name] = _part(value, parameter)


def _make_state_whole(_: Optimizer, state_dict: dict) -> dict:
    state = {number: {key: _whole(value) for key, value in entry.items()}
             for number, entry in state_dict["state"].items()}
    return dict(state_dict, state=state)


def _take_own_state(optimizer: Optimizer) -> None:
    for parameter, entry in optimizer.state.items():
        for key, value in entry.items():
            if isinstance(parameter, DTensor) and isinstance(value, Tensor) and value.shape == parameter.shape:
                entry[key] = _part(value, parameter)
