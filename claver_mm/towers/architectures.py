"""Which towers there are, and what each of them is: width, grid, what it pools by.

Pure: imports torch and open_clip, nothing of ``mm*``.
An architecture is an open_clip name (``PE-Core-L-14-336``), a paper name (``B/16``), ``hf-hub:ORGANISATION/NAME`` or
``local-dir:FOLDER`` as open_clip reads them, or an open_clip model config as a dict (``embed_dim``, ``vision_cfg``,
``text_cfg``, ``quick_gelu``), which is how small models for tests are written.
"""
from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from torch import nn

from ..temporal import QuickGELU

PAPER_ARCHS = {
    "B/32": "ViT-B-32-quickgelu",
    "B/16": "ViT-B-16-quickgelu",
    "L/14": "ViT-L-14-quickgelu",
    "L/14@336": "ViT-L-14-336-quickgelu",
}
"""The paper's four models; all start from OpenAI's weights, which were trained with QuickGELU."""

Arch = str | dict
HUB, LOCAL_DIR = SCHEMES = ("hf-hub:", "local-dir:")
"""What the names of models begin with that bring config, weights and tokenizer themselves."""
CONFIG = "open_clip_config.json"
"""The file with config and preprocessing of such a model."""
OF_TRAINING = ("custom_text", "multimodal_cfg", "preprocess_cfg")
"""Parts of a model config that say nothing of the two towers."""
NO_TEXTS = dict(context_length=1, vocab_size=1, width=64, heads=1, layers=1)
"""The smallest text tower, where the image tower alone is wanted."""


def model_config(arch: Arch, image_size: int | tuple[int, int] | None = None) -> dict:
    """open_clip's model config of an architecture, as a copy of its own: towers alone, without a decoder of captions.

    Args:
        arch: See above.
        image_size: Side of the input in pixels where it differs from the architecture's.

    Raises:
        ValueError: Unknown name, a config without its parts, or one of a kind that has no image tower.
    """
    config = written_config(arch)
    for part in OF_TRAINING:
        config.pop(part, None)
    vision, text = config["vision_cfg"], config["text_cfg"]
    vision.pop("output_tokens", None)  # for a decoder, beside the embedding
    text.pop("output_tokens", None)
    for part, library in ((vision, "timm"), (text, "hf")):
        if part.get(f"{library}_model_name"):
            part[f"{library}_model_pretrained"] = False  # the weights of both towers come together
    if image_size is not None:
        if isinstance(vision.get("layers"), list | tuple) and image_size != vision.get("image_size", 224):
            raise ValueError(f"the attention pooling of {shown_arch(arch)} has positions for {vision['image_size']} "
                             "pixels; its image_size cannot be changed")
        vision["image_size"] = image_size
    return config


def written_config(arch: Arch) -> dict:
    """open_clip's model config of an architecture as it is written, as a copy.

    Raises:
        ValueError: Unknown name, or a config without its parts.
    """
    config: dict | None
    if isinstance(arch, str):
        config = _read_config(arch) if arch.startswith(SCHEMES) else open_clip.get_model_config(
            PAPER_ARCHS.get(arch, arch))
        if config is None:
            raise ValueError(f"unknown architecture {arch!r}; use one of {', '.join(PAPER_ARCHS)}, a name in "
                             "open_clip.list_models(), hf-hub:..., local-dir:..., or an open_clip model config as a "
                             "dict")
    else:
        config = arch
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if missing:
        raise ValueError(f"an open_clip model config has embed_dim, vision_cfg and text_cfg; {', '.join(missing)} "
                         f"missing from {arch!r}")
    # MMEngine's dicts are not copied as such: they build what they hold
    config = {key: dict(value) if isinstance(value, dict) else value for key, value in config.items()}
    return copy.deepcopy(config)


def _read_config(name: str) -> dict:
    try:
        return _of_hub(name) if name.startswith(HUB) else open_clip.get_model_config(f"{LOCAL_DIR}{folder_of(name)}")
    except Exception as error:  # of the hub, of its offline mode, of a folder, of its JSON
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"the model config ({CONFIG}) of {name!r} cannot be had: {why}") from error


@lru_cache(maxsize=32)
def _of_hub(name: str) -> dict:
    """The hub is asked once; a folder is read each time, since its owner may write to it."""
    return open_clip.get_model_config(name)


def folder_of(name: str) -> Path:
    """Folder of ``local-dir:FOLDER``."""
    return Path(name.removeprefix(LOCAL_DIR)).expanduser()


def bring_config(weights: object) -> bool:
    """Whether weights come with a model config: those of the hub do, and those of a folder where one lies beside."""
    name = str(weights)
    return name.startswith(HUB) or name.startswith(LOCAL_DIR) and (folder_of(name) / CONFIG).is_file()


def shown_arch(arch: Arch) -> str:
    """An architecture for a message."""
    return repr(arch) if isinstance(arch, str) else "the given model config"


@dataclass(frozen=True)
class Tower:
    """What an image tower is, beside its weights."""

    width: int
    """``D``, of its tokens before pooling."""
    grid: tuple[int, int]
    """Tokens of an image down and across, prefix tokens not counted."""
    num_prefix: int
    """Tokens before those of the grid: a class token, or none."""
    pooling: str
    """What stands for an image: its ``class_token``, the ``mean`` over the grid, or ``attention`` over the tokens."""
    kind: str
    """``vit`` (open_clip's), ``resnet`` (CLIP's), or the class of a timm model, ``Eva`` say."""
    depth: int | None
    """Blocks; None where they stand in stages of several sizes."""
    heads: int | None
    """Attention heads; None where its last blocks have none."""
    image_size: tuple[int, int]
    """Height and width of the input in pixels."""
    act: type[nn.Module]
    """Activation of its MLPs."""
    checkpointing: bool = True
    """Whether activations can be computed again in the backward pass."""


def tower_of(arch: Arch, image_size: int | tuple[int, int] | None = None) -> Tower:
    """What the image tower of an architecture is, found on the tower itself, without weights.

    Raises:
        ValueError: As of ``model_config``.
    """
    config = model_config(arch, image_size)
    config["text_cfg"] = NO_TEXTS
    return _tower(json.dumps(config, sort_keys=True))


@lru_cache(maxsize=256)
def _tower(config: str) -> Tower:
    with torch.device("meta"), torch.no_grad():
        visual = build_visual(json.loads(config)).eval()
        size = side_of(visual)
        act = QuickGELU if json.loads(config).get("quick_gelu") and not isinstance(visual, TimmModel) else nn.GELU
        if not isinstance(visual, TimmModel | ModifiedResNet):
            D, layers = visual.positional_embedding.shape[-1], visual.transformer.resblocks
            return Tower(D, tuple(visual.grid_size), 1, _clip_pooling(visual), "vit", len(layers),
                         layers[0].attn.num_heads, size, act)
        if isinstance(visual, ModifiedResNet):
            D, grid = visual.attnpool.k_proj.in_features, (size[0] // 32, size[1] // 32)
            return Tower(D, grid, 0, "attention", "resnet", None, None, size, nn.ReLU, checkpointing=False)
        trunk = visual.trunk
        features = trunk.forward_features(torch.empty(1, 3, *size))
    kind, prefix = type(trunk).__name__, getattr(trunk, "num_prefix_tokens", 0)
    if features.ndim == 4:
        NHWC = getattr(trunk, "output_fmt", "NCHW") == "NHWC"
        _, h, w, D = features.shape if NHWC else features.permute(0, 2, 3, 1).shape
        return Tower(D, (h, w), 0, "mean", kind, None, None, size, act)
    pooling = {"token": "class_token", "map": "attention", "avg": "mean"}.get(trunk.global_pool)
    if pooling is None:
        raise ValueError(f"an image tower that pools by {trunk.global_pool!r} is not known here")
    return Tower(features.shape[2], tuple(trunk.patch_embed.grid_size), prefix, pooling, kind, len(trunk.blocks),
                 trunk.blocks[0].attn.num_heads, size, act)


def _clip_pooling(visual: Any) -> str:
    """Of open_clip's transformers."""
    if visual.attn_pool is None and visual.pool_type in ("tok", "avg"):
        return "class_token" if visual.pool_type == "tok" else "mean"
    if visual.attn_pool is not None and visual.attn_pool_contrastive is None and visual.pool_type == "tok":
        return "attention"
    raise ValueError(f"an image tower with pool_type={visual.pool_type!r} and attentional_pool="
                     f"{getattr(visual, 'attn_pool_type', False)!r} is not known here, and none was published")


def build_visual(config: dict) -> Any:
    """open_clip's image tower of a model config (``model_config``), whole, from its initialisation."""
    visual = open_clip.CustomTextCLIP(**dict(config, text_cfg=NO_TEXTS)).visual
    if isinstance(visual, TimmModel) and _made_for(visual.trunk) not in (None, side_of(visual)):
        visual.set_input_size(side_of(visual))
    return visual


def _made_for(trunk: Any) -> tuple[int, int] | None:
    """Input size of a timm model that takes one size alone; None of those that take any."""
    if not hasattr(trunk, "set_input_size"):
        return None
    size = getattr(trunk.patch_embed, "img_size", None)
    return None if size is None else tuple(size)


def side_of(visual: Any) -> tuple[int, int]:
    """Height and width of a tower's input in pixels."""
    size = visual.image_size
    return (size, size) if isinstance(size, int) else tuple(size)


def vision_depth(arch: Arch) -> int:
    """Number of blocks of the image tower.

    Raises:
        ValueError: A tower of stages.
    """
    depth = tower_of(arch).depth
    if depth is None:
        raise ValueError(f"the image tower of {shown_arch(arch)} stands in stages, of which no share can be taken: "
                         "give the depth of the temporal transformer as a number of blocks, depth=2 say")
    return depth


def vision_width(arch: Arch) -> int:
    """``D``, width of the image tower's tokens."""
    return tower_of(arch).width


def vision_heads(arch: Arch) -> int:
    """Attention heads of the image tower; of one without attention as many as give 64 channels each.

    Raises:
        ValueError: Channels that do not divide so.
    """
    tower = tower_of(arch)
    if tower.heads is not None:
        return tower.heads
    if tower.width % 64:
        raise ValueError(f"the {tower.width} channels of {shown_arch(arch)} do not divide into heads of 64; give "
                         "num_heads of the temporal transformer, or embed_dims that do")
    return tower.width // 64


def activation(arch: Arch) -> type[nn.Module]:
    """Activation of temporal blocks behind a tower: QuickGELU for towers that have it (OpenAI's), GELU else."""
    return QuickGELU if tower_of(arch).act is QuickGELU else nn.GELU
