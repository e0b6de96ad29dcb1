"""CLIP towers from open_clip: which architectures, how they are built, how texts become tokens.

Pure: imports torch and open_clip, nothing of ``mm*``.
An architecture is an open_clip name (``ViT-B-16-quickgelu``), a paper name (``B/16``) or an open_clip model config as a
dict (``embed_dim``, ``vision_cfg``, ``text_cfg``, ``quick_gelu``), which is how small models for tests are written.
"""
from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable
from functools import lru_cache

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from .kept import Kept, bit_sums, versions
from .language.encoder import encode_texts
from .language.texts import Texts
from .temporal import QuickGELU, init_transformer

PAPER_ARCHS = {
    "B/32": "ViT-B-32-quickgelu",
    "B/16": "ViT-B-16-quickgelu",
    "L/14": "ViT-L-14-quickgelu",
    "L/14@336": "ViT-L-14-336-quickgelu",
}
"""The paper's four models; all start from OpenAI's weights, which were trained with QuickGELU."""

Arch = str | dict
ROOM_FOR_FEATURES = 1 << 26
"""Bytes of text features that a model keeps: 64 MiB, the 400 classes of Kinetics some times over."""
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
    trunk.register_state_dict_post_hook(_note_grid)
    return trunk


def _note_grid(trunk: VisionTransformer, state_dict: dict, prefix: str, metadata: dict) -> None:
    """State-dict hook: the number of positions does not say of which grid they are; the state's metadata do."""
    metadata["grid"] = tuple(trunk.grid_size)


def _fit_positional_embedding(trunk: VisionTransformer, state_dict: dict, prefix: str, metadata: dict, *_) -> None:
    """Load hook: positions of another grid are interpolated."""
    key = prefix + "positional_embedding"
    positions = state_dict.get(key)
    if isinstance(positions, Tensor) and positions.ndim == 2:
        grid = tuple(trunk.grid_size)
        state_dict[key] = resize_positions(positions, _grid_of(key, len(positions) - 1, grid, metadata.get("grid")),
                                           grid)


def _grid_of(key: str, count: int, grid: tuple[int, int], noted: object) -> tuple[int, int]:
    """The grid that ``count`` positions are of: as noted beside them; else square, as in all published files.

    Raises:
        ValueError: As many as no square and not the grid of the model has, and nothing noted.
    """
    if isinstance(noted, tuple) and len(noted) == 2 and all(type(side) is int for side in noted) \
            and noted[0] * noted[1] == count:
        return noted
    side = math.isqrt(count)
    old = (side, side) if side * side == count else grid
    if old[0] * old[1] != count:
        raise ValueError(f"{key} has {count} positions, which are no square grid and not the model's {grid[0]}x"
                         f"{grid[1]}; set image_size to that of the weights, (height, width)")
    if grid[0] != grid[1] and count == grid[0] * grid[1]:
        warnings.warn(f"{key} does not say of which grid its {count} positions are; taken for {old[0]}x{old[1]}, in a "
                      f"model of {grid[0]}x{grid[1]}", stacklevel=2)
    return old


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Positional embedding of another grid, ``(1 + h*w, D) -> (1 + h'*w', D)``, the class token's first.

    Bicubic, as open_clip's; in float32 where the weights are in half precision, in which torch cannot.
    """
    if old == new:
        return positions
    positions = positions if positions.dtype == torch.float64 else positions.float()
    patches = positions[1:].unflatten(0, old).permute(2, 0, 1).unsqueeze(0)
    patches = nn.functional.interpolate(patches, size=new, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], patches[0].flatten(1).transpose(0, 1)])


def image_tokens(trunk: VisionTransformer, images: Tensor) -> Tensor:
    """All tokens of the last block, before ``ln_post``: ``(N, 3, h, w) -> (N, L, D)``, class token first."""
    expected = tuple(trunk.image_size)
    if tuple(images.shape[-2:]) != expected:
        raise ValueError(f"the image tower is built for frames of {expected} pixels, got {tuple(images.shape[-2:])}; "
                         "set image_size on the backbone, or crop the frames to fit")
    outputs = trunk.forward_intermediates(images, indices=1, intermediates_only=True, output_fmt="NLC",
                                          output_extra_tokens=True)
    return torch.cat([outputs["image_intermediates_prefix"][-1], outputs["image_intermediates"][-1]], dim=1)


def clip_tokens(trunk: VisionTransformer, clips: Tensor) -> Tensor:
    """``image_tokens`` of clips, frame by frame: ``(B, 3, T, h, w) -> (B, T, L, D)``."""
    if clips.ndim != 5:
        raise ValueError(f"expected clips (B, 3, T, h, w), got shape {tuple(clips.shape)}; "
                         "use FormatShape and data_preprocessor with 'NCTHW'")
    B, _, T = clips.shape[:3]
    return image_tokens(trunk, clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (B, T))


class CLIPHead(nn.Module):
    """What CLIP has beyond the image trunk: ``ln_post`` and projection of class tokens, text tower, logit scale.

    Letters: ``E`` embedding size shared by frames and texts, ``C`` classes, ``M`` texts of a class.
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
        self.kept = Kept(ROOM_FOR_FEATURES)
        self.register_load_state_dict_pre_hook(_scalar_logit_scale)

    def frame_features(self, tokens: Tensor, pool: str = "class_token") -> Tensor:
        """Unit embeddings of frames: ``(B, T, L, D) -> (B, T, E)``.

        Args:
            tokens: Of the image tower or the temporal transformer, class token first.
            pool: What stands for a frame, its ``class_token`` or the ``mean`` over its tokens.

        Raises:
            ValueError: The mean over tokens is asked for, but there are class tokens alone.
        """
        if pool == "mean":
            if tokens.shape[2] == 1:
                raise ValueError("pool='mean' reads all tokens, the neck gives class tokens alone; set "
                                 "class_tokens_only=False on the neck")
            tokens = tokens.mean(dim=2, keepdim=True)
        return nn.functional.normalize(self.ln_post(tokens[:, :, 0]) @ self.proj, dim=-1)

    def text_features(self, tokens: Tensor, **how) -> Tensor:
        """Unit embeddings of texts at their end-of-text token: token ids ``(..., context) -> (..., E)``.

        ``how`` are the arguments of ``claver_mm.language.encode_texts``.
        """
        features = encode_texts(self.text, tokens.flatten(0, -2), **how)
        return nn.functional.normalize(features, dim=-1).unflatten(0, tokens.shape[:-1])

    def kept_text_features(self, texts: Texts, **how) -> Tensor:
        """Unit embeddings ``(C, M, E)`` without gradients, made once for each set of texts, weights and precision.

        What is kept is found by the bits of the text tower, which every call reads (``claver_mm.kept.bit_sums``), so
        that it is never stale. Threads share it.
        """
        precision = torch.get_autocast_dtype(self.device.type) if torch.is_autocast_enabled(self.device.type) else None
        with torch.inference_mode(False), torch.no_grad():  # tensors of inference mode could not be trained with
            key = texts.digest, self.device, precision, bit_sums(self._text_weights())
            return self.kept.get(key, lambda: self.text_features(texts.tokens, **how))

    def text_versions(self) -> tuple:
        """A cheap mark of the text tower's weights; see ``claver_mm.kept.versions``."""
        return versions(self._text_weights())

    def logits(self, video: Tensor, text: Tensor) -> Tensor:
        """``exp(logit_scale) * <v, t>``: ``(B, E), (C, M, E) -> (B, M, C)``, float32 whatever runs under autocast."""
        with torch.autocast(video.device.type, enabled=False):
            return self.logit_scale.float().exp() * torch.einsum("be,cke->bkc", video.float(), text.float())

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.logit_scale.device

    def _text_weights(self) -> list[Tensor]:
        return [*self.text.parameters(), *self.text.buffers()]


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
        ValueError: The tokenizer cannot be had, or is not that of the text tower: ids beyond its vocabulary, or an end
            mark that it does not read a text at.
    """
    text_cfg = model_config(arch)["text_cfg"]
    tokenizer = tokenizer_of(arch)
    context = text_cfg.get("context_length", 77)
    if isinstance(tokenizer, open_clip.SimpleTokenizer) and text_cfg.get("vocab_size", 49408) < tokenizer.vocab_size:
        raise ValueError(f"the text tower knows {text_cfg['vocab_size']} tokens, CLIP's tokenizer has "
                         f"{tokenizer.vocab_size}; give token ids instead of strings")
    if not texts:
        return torch.zeros(0, context, dtype=torch.long)
    tokens = tokenizer(texts, context_length=context)
    full = tokens[:, -1] != _padding(tokenizer)  # others are shorter than the context
    counts = {text: count_tokens(text, arch) for text, is_full in zip(texts, full.tolist()) if is_full}
    cut = [text for text in texts if counts.get(text, 0) > context]
    if cut:
        more = f", and {len(cut) - 1} more of {len(texts)}" if cut[1:] else ""
        warnings.warn(f"text of {counts[cut[0]]} tokens is cut to the context of {context}: {cut[0]!r}{more}",
                      stacklevel=2)
    if "hf_model_name" not in text_cfg:  # such a tower comes with its own vocabulary, and is read in its own way
        _check_tokens(tokens, texts, tokenizer, text_cfg)
    return tokens


def _padding(tokenizer: Callable) -> int | None:
    return 0 if isinstance(tokenizer, open_clip.SimpleTokenizer) else tokenizer.tokenizer.pad_token_id


def _end_mark(tokenizer: Callable) -> int | None:
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return tokenizer.eot_token_id
    hub = tokenizer.tokenizer
    return hub.sep_token_id if hub.eos_token_id is None else hub.eos_token_id


def _check_tokens(tokens: Tensor, texts: list[str], tokenizer: Callable, text_cfg: dict) -> None:
    vocabulary = text_cfg.get("vocab_size", 49408)
    name = text_cfg.get("hf_tokenizer_name") or "CLIP's own"
    if tokens.max() >= vocabulary or tokens.min() < 0:
        raise ValueError(f"the text tower knows {vocabulary} tokens, the tokenizer ({name}) gives {tokens.max()}; set "
                         "hf_tokenizer_name and vocab_size of text_cfg to those that the tower was trained with")
    pool = text_cfg.get("pool_type", "argmax")
    if pool == "eos":
        end = text_cfg.get("eos_id", 2)
    elif pool == "argmax" and not text_cfg.get("tokenizer_mode"):
        end = _end_mark(tokenizer)
    else:
        return
    ends = (tokens == end).any(dim=1) if pool == "eos" else tokens.amax(dim=1) == (-1 if end is None else end)
    if not ends.all():
        text = texts[int((~ends).nonzero()[0])]
        where = f"its mark {end} (eos_id)" if pool == "eos" else f"its highest token, which is not the end mark {end}"
        raise ValueError(f"the text tower reads a text at {where}, but the tokenizer ({name}) gives {text[:60]!r} no "
                         "such end: set hf_tokenizer_name, pool_type and eos_id of text_cfg to those that the tower "
                         "was trained with")


def count_tokens(text: str, arch: Arch | None = None) -> int:
    """Tokens of a text with its end markers, uncut, by the tokenizer of an architecture; by CLIP's own when None."""
    tokenizer = _clip_tokenizer("{}") if arch is None else tokenizer_of(arch)
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return len(tokenizer.encode(text)) + 2
    return len(tokenizer.tokenizer(tokenizer.clean_fn(text)).input_ids)


def tokenizer_of(arch: Arch) -> Callable:
    """open_clip's tokenizer of an architecture: the one that its ``text_cfg`` names in ``hf_tokenizer_name`` (of the
    Hugging Face hub, or a folder with its files), with its ``tokenizer_kwargs``; else CLIP's own.

    Raises:
        ValueError: The tokenizer cannot be had.
    """
    text_cfg = {} if isinstance(arch, str) else arch["text_cfg"]
    name = arch if isinstance(arch, str) else text_cfg.get("hf_tokenizer_name")
    how = dict(text_cfg.get("tokenizer_kwargs") or {})
    try:
        if isinstance(arch, str):
            return _named_tokenizer(PAPER_ARCHS.get(arch, arch))
        if name:
            return _hub_tokenizer(name, text_cfg.get("tokenizer_mode"), json.dumps(how, sort_keys=True))
        return _clip_tokenizer(json.dumps(how, sort_keys=True))
    except Exception as error:  # of the hub, of its offline mode, of a folder, or of a package that is not there
        why = " ".join(str(error).split())[:300]
        raise ValueError(f"the tokenizer of {name!r} cannot be had ({why}); save it where there is a network "
                         "(transformers' save_pretrained) and give the folder as hf_tokenizer_name in text_cfg, or "
                         "give token ids instead of strings") from error


@lru_cache(maxsize=8)
def _named_tokenizer(name: str) -> Callable:
    return open_clip.get_tokenizer(name)


@lru_cache(maxsize=8)
def _hub_tokenizer(name: str, mode: str | None, how: str) -> Callable:
    return HFTokenizer(name, tokenizer_mode=mode, **json.loads(how))


@lru_cache(maxsize=8)
def _clip_tokenizer(how: str) -> Callable:
    return open_clip.SimpleTokenizer(**json.loads(how))
