"""Names of weights: of CLIP in its two layouts, of the published CLAVER code, and of our recogniser.

Pure: imports torch, nothing of ``mm*``. Conversions are dict -> dict functions.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from .archives import listed

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


AFTER_THE_TRUNK = re.compile(
    r"(ln_post|attn_pool|attnpool|head|trunk\.(norm|attn_pool|fc_norm|head_drop|head))\.|proj$")
"""Names, below ``visual.``, of what comes after an image tower's last block; see ``claver_mm.towers.pooling``."""
UNUSED = ("text_decoder.", "text.transformer.embeddings.position_ids")
"""Weights of open_clip's files that no embedding depends on: CoCa's captions, and numbers that counted positions."""

CLAVER_NAMES = ("visual.temporal_embedding", "visual.transformer_t.")
RECOGNISER_NAMES = ("backbone.", "neck.", "cls_head.")
CLIP_NAMES = ("visual.conv1.", "visual.class_embedding", "visual.transformer.resblocks.")


def what_they_are(keys: Iterable[str]) -> str | None:
    """Whose weights these are and what to do with them, if by their names they are of CLIP or published CLAVER code."""
    keys = [re.sub(r"^(module\.)+", "", key) for key in keys if isinstance(key, str)]
    if any(key.startswith(CLAVER_NAMES) for key in keys):
        return ("these are weights of the published CLAVER code; convert them: claver convert SOURCE "
                "TARGET.pth")
    if any(key.startswith(CLIP_NAMES) for key in keys):
        return ("these are CLIP's own weights, without a temporal part; give them to backbone and head as "
                "pretrained=... and train, or give the checkpoint of a trained model")
    return None


def clip_layout(state_dict: StateDict) -> StateDict:
    """CLIP weights with the text tower under ``text.``, whichever of open_clip's two layouts they came in."""
    bare = ("positional_embedding", "text_projection", "token_embedding.", "transformer.", "ln_final.")
    return {f"text.{key}" if key.startswith(bare) else key: value for key, value in state_dict.items()}


def image_trunk_weights(state_dict: StateDict) -> StateDict:
    """Of weights in open_clip's layout, those of ``build_image_trunk``."""
    trunk = {key.removeprefix("visual."): value for key, value in state_dict.items() if key.startswith("visual.")}
    return {key: value for key, value in trunk.items() if not AFTER_THE_TRUNK.match(key)}


def head_weights(state_dict: StateDict) -> StateDict:
    """Of weights in open_clip's layout, those of ``CLIPHead``: everything that is not of the image trunk, so that
    nothing is lost, but for a decoder of captions."""
    trunk = {f"visual.{key}" for key in image_trunk_weights(state_dict)}
    rest = {key.removeprefix("visual."): value for key, value in clip_layout(state_dict).items() if key not in trunk}
    return {key: value for key, value in rest.items() if not key.startswith(UNUSED)}


def convert_official(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Checkpoint of the published CLAVER code -> state dict of our recogniser with the same sizes.

    KMT and KMCT have the same weights; which it is, and all sizes, come from the config.

    Args:
        state_dict: In the published naming: CLIP's names for both towers, ``visual.temporal_embedding`` and
            ``visual.transformer_t.resblocks.N.temporal_*``. A ``module.`` prefix may stand before it.

    Raises:
        ValueError: A key that belongs to neither, named; no temporal part at all; or weights in our naming.
    """
    state_dict = without_prefix(state_dict)
    if any(key.startswith(RECOGNISER_NAMES) for key in state_dict):
        raise ValueError("this is a checkpoint of this project already; it needs no conversion")
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
        raise ValueError(f"not of a published CLAVER checkpoint: {listed(unknown)}")
    if "neck.transformer.temporal_embedding" not in converted:
        raise ValueError("no 'visual.temporal_embedding' among the weights: a CLIP file, not a CLAVER checkpoint? "
                         "Load CLIP weights with pretrained=... on backbone and head")
    return converted


def without_prefix(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Weights without the ``module.`` that wrappers of a model put before each name, once or more often.

    Raises:
        ValueError: Two weights that then have one name, or a name that is no text.
    """
    stripped: StateDict = {}
    for key, value in state_dict.items():
        if not isinstance(key, str):
            raise ValueError(f"the key {key!r:.80} is no text")
        name = re.sub(r"^(module\.)+", "", key)
        if name in stripped:
            raise ValueError(f"two weights are {listed([name])} once their 'module.' is taken away")
        stripped[name] = value
    return stripped
