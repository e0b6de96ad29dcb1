"""CLIP towers from open_clip: which architectures, how they are built, how texts become tokens.

Pure: imports torch and open_clip, nothing of ``mm*``.
An architecture is an open_clip name (``ViT-B-16-quickgelu``), a paper name (``B/16``) or an open_clip model config as a
dict (``embed_dim``, ``vision_cfg``, ``text_cfg``, ``quick_gelu``), which is how small models for tests are written.
"""
from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace

import open_clip
import torch
from open_clip.model import resize_pos_embed
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from .language.encoder import encode_texts
from .temporal import QuickGELU, init_transformer

PAPER_ARCHS = {
    "B/32": "ViT-B-32-quickgelu",
    "B/16": "ViT-B-16-quickgelu",
    "L/14": "ViT-L-14-quickgelu",
    "L/14@336": "ViT-L-14-336-quickgelu",
}
"""The paper's four models; all start from OpenAI's weights, which were trained with QuickGELU."""

Arch = str | dict
_TINY_TEXT = dict(context_length=1, vocab_size=1, width=64, heads=1, layers=1)


def model_config(arch: Arch, image_size: int | None = None) -> dict:
    """open_clip's model config of an architecture, as a copy of its own.

    Args:
        arch: open_clip name, paper name, or the config itself.
        image_size: Side of the input in pixels where it differs from the architecture's.

    Raises:
        ValueError: Unknown name, a config without its parts, or an image tower that has no class token to read
            (ResNet, timm, attention pooling).
    """
    if isinstance(arch, str):
        name = PAPER_ARCHS.get(arch, arch)
        config = open_clip.get_model_config(name)
        if config is None:
            raise ValueError(f"unknown CLIP architecture {arch!r}; use one of {', '.join(PAPER_ARCHS)}, a name in "
                             "open_clip.list_models(), or an open_clip model config as a dict")
    else:
        missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in arch]
        if missing:
            raise ValueError(f"an open_clip model config has embed_dim, vision_cfg and text_cfg; {', '.join(missing)} "
                             f"missing from {arch!r}")
        config = {key: dict(value) if isinstance(value, dict) else value for key, value in arch.items()}
    config = copy.deepcopy(config)
    config.pop("custom_text", None)
    vision = config["vision_cfg"]
    pooled_otherwise = (vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok"
                        or "multimodal_cfg" in config)
    if vision.get("timm_model_name") or not isinstance(vision.get("layers", 12), int) or pooled_otherwise:
        raise ValueError(f"the image tower of {arch!r} is no ViT that reads its class token (open_clip's own "
                         "VisionTransformer with pool_type='tok'), which CLAVER needs; choose such an architecture, "
                         f"for example {', '.join(PAPER_ARCHS)}")
    if image_size is not None:
        vision["image_size"] = image_size
    return config


def vision_depth(arch: Arch) -> int:
    """Number of blocks of the image tower."""
    return model_config(arch)["vision_cfg"].get("layers", 12)


def vision_width(arch: Arch) -> int:
    """``D``, width of the image tower."""
    return model_config(arch)["vision_cfg"].get("width", 768)


def vision_heads(arch: Arch) -> int:
    """Attention heads of the image tower."""
    return vision_width(arch) // model_config(arch)["vision_cfg"].get("head_width", 64)


def activation(arch: Arch) -> type[nn.Module]:
    """Activation of the towers: QuickGELU for OpenAI's weights, GELU else."""
    return QuickGELU if model_config(arch).get("quick_gelu", False) else nn.GELU


def build_image_trunk(arch: Arch, image_size: int | None = None) -> VisionTransformer:
    """The image tower up to the last block, without ``ln_post`` and projection.

    It starts from CLIP's own initialisation, which open_clip gives its text tower alone; without it a tower that is
    trained from scratch learns several times more slowly. Weights of another input size load: their positional
    embedding is interpolated.
    """
    config = model_config(arch, image_size)
    config["text_cfg"] = _TINY_TEXT
    trunk = open_clip.CustomTextCLIP(**config).visual
    trunk.prune_intermediate_layers(1, prune_norm=True, prune_head=True)
    init_transformer(trunk.transformer.resblocks)
    trunk.register_load_state_dict_pre_hook(_fit_positional_embedding)
    return trunk


def _fit_positional_embedding(trunk: VisionTransformer, state_dict: dict, prefix: str, *_) -> None:
    key = prefix + "positional_embedding"
    if key in state_dict:
        resized = {"visual.positional_embedding": state_dict[key]}
        resize_pos_embed(resized, SimpleNamespace(visual=trunk))
        state_dict[key] = resized["visual.positional_embedding"]


def image_tokens(trunk: VisionTransformer, images: Tensor) -> Tensor:
    """All tokens of the last block, before ``ln_post``: ``(N, 3, h, w) -> (N, L, D)``, class token first."""
    expected = tuple(trunk.image_size)
    if tuple(images.shape[-2:]) != expected:
        raise ValueError(f"the image tower is built for frames of {expected} pixels, got {tuple(images.shape[-2:])}; "
                         "set image_size on the backbone, or crop the frames to fit")
    outputs = trunk.forward_intermediates(images, indices=1, intermediates_only=True, output_fmt="NLC",
                                          output_extra_tokens=True)
    return torch.cat([outputs["image_intermediates_prefix"][-1], outputs["image_intermediates"][-1]], dim=1)


class CLIPHead(nn.Module):
    """What CLIP has beyond the image trunk: ``ln_post`` and projection of class tokens, text tower, logit scale.

    Letters: ``E`` embedding size shared by frames and texts.
    """

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        config = model_config(arch)
        config["vision_cfg"].update(layers=1, image_size=config["vision_cfg"].get("patch_size", 16))
        clip = open_clip.CustomTextCLIP(**config)
        self.ln_post = clip.visual.ln_post
        self.proj = clip.visual.proj
        self.text = clip.text
        self.logit_scale = clip.logit_scale
        self.register_load_state_dict_pre_hook(_scalar_logit_scale)

    def frame_features(self, tokens: Tensor) -> Tensor:
        """Unit embeddings of frames from their class tokens: ``(B, T, L, D) -> (B, T, E)``."""
        return nn.functional.normalize(self.ln_post(tokens[:, :, 0]) @ self.proj, dim=-1)

    def text_features(self, tokens: Tensor, **how) -> Tensor:
        """Unit embeddings of texts at their end-of-text token: token ids ``(..., context) -> (..., E)``.

        ``how`` are the arguments of ``claver_mm.language.encode_texts``.
        """
        features = encode_texts(self.text, tokens.flatten(0, -2), **how)
        return nn.functional.normalize(features, dim=-1).unflatten(0, tokens.shape[:-1])


def _scalar_logit_scale(module: CLIPHead, state_dict: dict, prefix: str, *_) -> None:
    """Files differ in whether the logit scale is a scalar or a vector of one."""
    key = prefix + "logit_scale"
    if key in state_dict and state_dict[key].numel() == 1:
        state_dict[key] = state_dict[key].reshape(module.logit_scale.shape)


def tokenize(texts: list[str], arch: Arch) -> Tensor:
    """Token ids ``(N, context)`` of texts by the tokenizer of an architecture.

    Texts that do not fit the context with their end markers are cut there, with a warning that counts them and names
    the first.

    Raises:
        ValueError: The architecture's vocabulary is not that of the tokenizer.
    """
    text_cfg = model_config(arch)["text_cfg"]
    tokenizer = tokenizer_of(arch)
    context = text_cfg.get("context_length", 77)
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        if text_cfg.get("vocab_size", 49408) < tokenizer.vocab_size:
            raise ValueError(f"the text tower knows {text_cfg['vocab_size']} tokens, CLIP's tokenizer has "
                             f"{tokenizer.vocab_size}; give token ids instead of strings")
        cut = [text for text in texts if count_tokens(text) > context]
        if cut:
            more = f", and {len(cut) - 1} more of {len(texts)}" if cut[1:] else ""
            warnings.warn(f"text of {count_tokens(cut[0])} tokens is cut to the context of {context}: {cut[0]!r}{more}",
                          stacklevel=2)
    return tokenizer(texts, context_length=context)


def count_tokens(text: str) -> int:
    """Tokens of a text by CLIP's own tokenizer, with its two end markers."""
    return len(_tokenizer(None).encode(text)) + 2


def tokenizer_of(arch: Arch) -> Callable:
    """open_clip's tokenizer of an architecture; CLIP's own for a model config."""
    return _tokenizer(arch if isinstance(arch, str) else None)


@lru_cache(maxsize=8)
def _tokenizer(name: str | None):
    return open_clip.get_tokenizer(PAPER_ARCHS.get(name, name)) if name else open_clip.SimpleTokenizer()
