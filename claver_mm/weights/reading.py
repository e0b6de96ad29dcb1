"""Weights files: which there are, where they are, and what is in them.

Pure: imports torch and open_clip, nothing of ``mm*``.
"""
from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import open_clip
import torch
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from ..clip import PAPER_ARCHS, Arch, model_config
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


def resolve_pretrained(pretrained: str | Path, arch: Arch) -> Path:
    """Path of a weights file: the file itself, or an open_clip tag (``openai``, ``laion2b_s34b_b79k``) downloaded.

    Raises:
        ValueError: Neither a file nor a tag of the architecture, or weights trained with another activation.
        RuntimeError: The tag could not be downloaded.
    """
    path = Path(pretrained).expanduser()
    if path.is_file():
        check_activation(pretrained, arch, is_torchscript(path))
        return path
    name = PAPER_ARCHS.get(arch, arch) if isinstance(arch, str) else None
    tags = open_clip.list_pretrained_tags_by_model(name) if name else []
    if pretrained not in tags:
        raise ValueError(f"{str(pretrained)!r} is neither a file nor an open_clip tag of {arch!r}; its tags: "
                         f"{', '.join(tags) or 'none'}")
    config = open_clip.get_pretrained_cfg(name, pretrained)
    check_activation(pretrained, arch, config.get("quick_gelu", False))
    try:
        return Path(open_clip.download_pretrained(config))
    except Exception as error:
        raise RuntimeError(f"open_clip weights {pretrained!r} of {arch!r} could not be downloaded ({error}); give the "
                           "path of a file that you have instead: pretrained='/path/to/ViT-B-16.pt'") from error


def check_activation(pretrained: str | Path, arch: Arch, trained_with_quick_gelu: bool) -> None:
    """OpenAI's weights in a model with plain GELU run without complaint and are a few points worse: refuse them."""
    if trained_with_quick_gelu and not model_config(arch).get("quick_gelu", False):
        raise ValueError(f"{pretrained} was trained with QuickGELU, but {arch!r} is built with GELU; use the "
                         "'-quickgelu' form of the architecture")
