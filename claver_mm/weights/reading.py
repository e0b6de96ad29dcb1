"""Weights files: what is in them.

Pure: imports torch, nothing of ``mm*``.
"""
from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from .archives import check_file, listed
from .layouts import NOT_WEIGHTS, StateDict, without_prefix
from .torchscript import is_torchscript, read_torchscript


def read_state_dict(path: str | Path) -> StateDict:
    """Weights from a file on disk, flat, without wrappers such as ``state_dict`` or a ``module.`` prefix.

    Reads TorchScript archives (OpenAI's ``.pt``), ``.safetensors`` and pickles (``.pt``, ``.pth``, ``.bin``). Nothing
    of a file is run, and no more memory is taken than a few times its size.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file holds no weights, is damaged or forged, or would run code; the message names it.
    """
    path = Path(path).expanduser()
    state_dict = load_file(path)
    if not isinstance(state_dict, Mapping):
        raise ValueError(f"{path} holds a {type(state_dict).__name__}, not a dict of weights")
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(state_dict.get(wrapper), Mapping):
            state_dict = state_dict[wrapper]
    metadata = getattr(state_dict, "_metadata", None)
    try:
        state_dict = without_prefix(state_dict)
    except ValueError as error:
        raise ValueError(f"{path} holds no weights that can be told apart: {error}") from error
    others = [key for key, value in state_dict.items() if not isinstance(value, Tensor)]
    if not state_dict or others:
        raise ValueError(f"{path} holds no flat dict of tensors, but the keys {listed(list(state_dict))}" +
                         (f", of which {listed(others)} are none" if state_dict else ""))
    weights = OrderedDict((key, value) for key, value in state_dict.items() if key not in NOT_WEIGHTS)
    if isinstance(metadata, Mapping):  # what the modules have said of their weights beside them
        vars(weights)["_metadata"] = OrderedDict(
            (re.sub(r"^(module\.?)+", "", key), said) for key, said in metadata.items()
            if isinstance(key, str) and isinstance(said, Mapping))
    return weights


def load_file(path: str | Path, map_location: str | torch.device | None = "cpu") -> object:
    """What a file of weights or a checkpoint holds, as it lies in it.

    Args:
        path: The file.
        map_location: As of ``torch.load``.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged or forged, or would run code; the message names it.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(path)
        if is_torchscript(path):
            return read_torchscript(path)
        check_file(path)
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own message advises to load the file without care
        raise ValueError(f"{path} is damaged, or holds more than tensors and plain values, which could run code and is "
                         "refused; if you trust its source, save its state dict alone") from error
    except PermissionError:
        raise
    except Exception as error:  # every format has errors of its own, few of which name the file
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} cannot be read as weights: {why}") from error
