"""Pretrained weights: OpenAI CLIP files, open_clip files and tags, checkpoints of the published CLAVER code.

Pure: imports torch and open_clip, nothing of ``mm*``. Conversions are dict -> dict functions, loading is strict: what
is missing, left over or of another size is named.
"""
from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import open_clip
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .clip import PAPER_ARCHS, Arch, model_config

StateDict = dict[str, Tensor]
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask", "text.attn_mask")
"""Entries of CLIP files that describe the model and are not weights."""

OFFICIAL_RENAMES = (
    (r"^visual\.temporal_embedding$", "neck.transformer.temporal_embedding"),
    (r"^visual\.transformer_t\.resblocks\.(\d+)\.temporal_attn\.in_proj_(weight|bias)$",
     r"neck.transformer.resblocks.\1.attn.in_proj.\2"),
    (r"^visual\.transformer_t\.resblocks\.(\d+)\.temporal_(attn|mlp|ln_1|ln_2)\.",
     r"neck.transformer.resblocks.\1.\2."),
    (r"^visual\.(ln_post\.|proj$)", r"cls_head.clip.\1"),
    (r"^visual\.", "backbone.visual."),
    (r"^(text\.|logit_scale$)", r"cls_head.clip.\1"),
)
"""Key of a CLAVER checkpoint in CLIP's layout -> key of our recogniser; the first pattern that matches renames."""


class WeightsDoNotFit(ValueError):
    """Weights that are missing, left over or of another size; the message names them."""


def read_state_dict(path: str | Path) -> StateDict:
    """Weights from a file on disk, flat, without wrappers such as ``state_dict`` or a ``module.`` prefix.

    Reads TorchScript archives (OpenAI's ``.pt``), ``.safetensors`` and pickles (``.pt``, ``.pth``, ``.bin``; with
    ``weights_only=True``, so that a file cannot run code).

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file holds no weights, is damaged, or would run code; the message names it.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        state_dict = _load(path)
    except pickle.UnpicklingError as error:  # torch's own message advises to load the file without care
        raise ValueError(f"{path} is damaged, or holds more than tensors and plain values, which could run code and is "
                         "refused; if you trust its source, save its state dict alone") from error
    except Exception as error:  # every format has errors of its own, few of which name the file
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} cannot be read as weights: {why}") from error
    if not isinstance(state_dict, Mapping):
        raise ValueError(f"{path} holds a {type(state_dict).__name__}, not a dict of weights")
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(state_dict.get(wrapper), Mapping):
            state_dict = state_dict[wrapper]
    state_dict = {re.sub(r"^module\.", "", key): value for key, value in state_dict.items()}
    if not state_dict or not all(isinstance(value, Tensor) for value in state_dict.values()):
        raise ValueError(f"{path} holds no flat dict of tensors, but the keys {_some(list(map(str, state_dict)))}")
    return {key: value for key, value in state_dict.items() if key not in NOT_WEIGHTS}


def _load(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    if is_torchscript(path):
        return torch.jit.load(path, map_location="cpu").state_dict()
    return torch.load(path, map_location="cpu", weights_only=True)


def is_torchscript(path: str | Path) -> bool:
    """Whether a file is a TorchScript archive, the form of OpenAI's CLIP weights."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


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


def clip_layout(state_dict: StateDict) -> StateDict:
    """CLIP weights with the text tower under ``text.``, whichever of open_clip's two layouts they came in."""
    bare = ("positional_embedding", "text_projection", "token_embedding.", "transformer.", "ln_final.")
    return {f"text.{key}" if key.startswith(bare) else key: value for key, value in state_dict.items()}


def image_trunk_weights(state_dict: StateDict) -> StateDict:
    """Of CLIP weights, those of ``build_image_trunk``."""
    trunk = {key.removeprefix("visual."): value for key, value in state_dict.items() if key.startswith("visual.")}
    return {key: value for key, value in trunk.items() if not key.startswith("ln_post.") and key != "proj"}


def head_weights(state_dict: StateDict) -> StateDict:
    """Of CLIP weights, those of ``CLIPHead``: everything that is not of the image trunk, so that nothing is lost."""
    trunk = {f"visual.{key}" for key in image_trunk_weights(state_dict)}
    rest = {key: value for key, value in clip_layout(state_dict).items() if key not in trunk}
    return {re.sub(r"^visual\.(ln_post\.|proj$)", r"\1", key): value for key, value in rest.items()}


def convert_official(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Checkpoint of the published CLAVER code -> state dict of our recogniser with the same sizes.

    KMT and KMCT have the same weights; which it is, and all sizes, come from the config.

    Args:
        state_dict: In the published naming: CLIP's names for both towers, ``visual.temporal_embedding`` and
            ``visual.transformer_t.resblocks.N.temporal_*``. A ``module.`` prefix may stand before it.

    Raises:
        ValueError: A key that belongs to neither, named; or no temporal part at all.
    """
    state_dict = {re.sub(r"^module\.", "", key): value for key, value in state_dict.items()}
    state_dict = clip_layout({key: value for key, value in state_dict.items() if key not in NOT_WEIGHTS})
    converted, unknown = {}, []
    for key, value in state_dict.items():
        for pattern, replacement in OFFICIAL_RENAMES:
            renamed, count = re.subn(pattern, replacement, key)
            if count:
                converted[renamed] = value.float() if value.is_floating_point() else value
                break
        else:
            unknown.append(key)
    if unknown:
        raise ValueError(f"not of a published CLAVER checkpoint: {_some(unknown)}")
    if "neck.transformer.temporal_embedding" not in converted:
        raise ValueError("no 'visual.temporal_embedding' among the weights: a CLIP file, not a CLAVER checkpoint? "
                         "Load CLIP weights with pretrained=... on backbone and head")
    return converted


def load_strict(module: nn.Module, state_dict: Mapping[str, Tensor], source: str,
                allow_missing: tuple[str, ...] = ()) -> None:
    """Load weights; nothing may be missing, left over or of another size.

    Args:
        module: Receives the weights; its own load hooks (resized embeddings) run as always.
        state_dict: The weights.
        source: Where they came from, for the message.
        allow_missing: Regular expressions of names that may keep their fresh values.

    Raises:
        WeightsDoNotFit: Names the keys and the source.
    """
    try:
        result = module.load_state_dict(dict(state_dict), strict=False)
    except (RuntimeError, WeightsDoNotFit) as error:  # torch reports other sizes even when it is not strict
        raise WeightsDoNotFit(f"{source} is of another size than the model: {error}") from error
    missing = [key for key in result.missing_keys if not any(re.search(pattern, key) for pattern in allow_missing)]
    if missing or result.unexpected_keys:
        raise WeightsDoNotFit(f"{source} does not fit the model; missing: {_some(missing)}; "
                              f"left over: {_some(result.unexpected_keys)}")


def refuse_other_sizes(module: nn.Module, state_dict: Mapping[str, Tensor], prefix: str, *_) -> None:
    """Load hook: weights of another size raise, also where MMEngine would go on with a warning (``init_recognizer``).

    Embeddings over time and space may differ in length; hooks of their own resize them.
    """
    wrong = []
    for name, parameter in module.named_parameters():
        loaded = state_dict.get(prefix + name)
        if loaded is None or loaded.shape == parameter.shape or loaded.numel() == parameter.numel() == 1:
            continue
        resized = name.endswith(("temporal_embedding", "visual.positional_embedding"))
        if not resized or loaded.ndim != parameter.ndim or loaded.shape[-1] != parameter.shape[-1]:
            wrong.append(f"{prefix}{name} {tuple(loaded.shape)} instead of {tuple(parameter.shape)}")
    if wrong:
        raise WeightsDoNotFit(f"weights of another size: {_some(wrong, 5)}")


def _some(keys: list[str], most: int = 12) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return (", ".join(keys[:most]) or "nothing") + more
