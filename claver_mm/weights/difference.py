"""Weights of which only those are written that differ from others that everybody can have, the tower's public ones.

Pure: imports torch and safetensors, nothing of ``mm*``.
A file says in its header which kind it is: the ``whole`` of a model's weights, or a ``difference``, with the SHA-256 of
those left out, by which they are known again.
"""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .archives import listed
from .fitting import WeightsDoNotFit, load_strict
from .layouts import StateDict
from .reading import read_state_dict

WHOLE, DIFFERENCE = "whole", "difference"
SAYS = "claver_mm"
"""Key of a file's header; one, since safetensors writes several in any order, and equal weights make equal files."""
WORTH = 0.1
"""Share of the bytes that a difference has to save; for less nobody shall need a second file of weights."""


def write_weights(path: str | Path, weights: Mapping[str, Tensor], public: Mapping[str, Tensor] | None = None) -> str:
    """Write weights as ``.safetensors``: those alone that are not, bit for bit, among the ``public`` ones.

    Tensors that share memory are written out one by one, as each has its own name in the model.

    Returns:
        ``whole`` or ``difference``.
    """
    rest = {name for name, value in weights.items() if public and name in public and same_bits(value, public[name])}
    if sum(weights[name].nbytes for name in rest) < WORTH * sum(value.nbytes for value in weights.values()):
        rest = set()
    says = dict(weights=DIFFERENCE, sha256_of_the_rest=sha256_of(weights, rest)) if rest else dict(weights=WHOLE)
    Path(path).touch()
    mode = Path(path).stat().st_mode  # as the umask has it; safetensors lets nobody else read what it writes
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in weights.items() if name not in rest},
              path, {SAYS: json.dumps(says)})
    os.chmod(path, mode)
    return says["weights"]


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are of one dtype and shape, and of the same bits; ``==`` takes -0 for 0."""
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(_bytes(one), _bytes(other))


def sha256_of(weights: Mapping[str, Tensor], names: Iterable[str] | None = None) -> str:
    """SHA-256 of some weights, or all: names, dtypes, shapes and bits, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(weights if names is None else names):
        found.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)}\n".encode())
        found.update(_bytes(weights[name]).numpy().data)
    return found.hexdigest()


def is_difference(path: str | Path) -> bool:
    """Whether a file holds what differs from other weights, by its header.

    Raises:
        ValueError: A damaged file.
    """
    return _header(path).get("weights") == DIFFERENCE


def load_over(model: nn.Module, path: str | Path) -> None:
    """Load a file of weights; where it is a difference, over the public ones that the model has already.

    Raises:
        WeightsDoNotFit: Weights of another model, or public ones that are not those it differs from.
        FileNotFoundError, ValueError: As of ``read_state_dict``.
    """
    header = _header(path)
    if header.get("weights") != DIFFERENCE:
        return load_strict(model, read_state_dict(path), str(path))
    weights = {} if header["nothing"] else read_state_dict(path)
    has: StateDict = dict(model.state_dict())
    foreign = [name for name in weights if name not in has]
    if foreign:
        raise WeightsDoNotFit(f"{path} does not fit the model; left over: {listed(foreign)}")
    rest = [name for name in has if name not in weights]
    if sha256_of(has, rest) != header.get("sha256_of_the_rest"):
        raise WeightsDoNotFit(f"{path} holds what differs from the public weights of a tower, and these here are "
                              f"others: the {len(rest)} weights that it leaves out are not those it was saved beside")
    return load_strict(model, {**has, **weights}, str(path))


def _header(path: str | Path) -> dict:
    """What a file says of itself, and whether there is ``nothing`` else in it; a tower as it is differs in nothing."""
    if Path(path).suffix != ".safetensors" or not Path(path).is_file():
        return {}
    try:
        with safe_open(path, "pt") as file:
            says = json.loads((file.metadata() or {}).get(SAYS, "{}"))
            return {**says, "nothing": not file.keys()} if isinstance(says, dict) else {}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as weights: {error}") from error


def _bytes(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
