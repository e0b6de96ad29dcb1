"""What a video-language model has beyond its image trunk: pooling of a frame's tokens, text tower, scale of logits.

Pure: imports torch, open_clip and pure parts of this package, nothing of ``mm*``.
"""
from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from ..kept import Kept, bit_sums, versions
from ..language.encoder import allow_short_texts, encode_texts
from ..language.texts import Texts
from .architectures import Arch, Tower, model_config, tower_of
from .pooling import OF_POOLING, take_pooling

ROOM_FOR_FEATURES = 1 << 26
"""Bytes of text features that a model keeps: 64 MiB, the 400 classes of Kinetics some times over."""
POOLS = ("tower", "class_token", "mean")


class CLIPHead(nn.Module):
    """What a model has beyond the image trunk: norm, pooling and projection of frames, text tower, logit scale.

    The parts have open_clip's names without ``visual.``: ``ln_post`` and ``proj`` of CLIP's transformers, ``trunk``
    and ``head`` of timm's models (of which nothing but their last norm and pooling is left), ``attnpool`` of ResNets.

    Letters: ``B`` clips, ``T`` frames, ``L`` tokens of a frame, ``D`` width, ``E`` embedding size shared by frames and
    texts, ``C`` classes, ``M`` texts of a class.
    """

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        config = model_config(arch)
        self.tower = tower_of(arch)
        self.context_length = config["text_cfg"].get("context_length", 77)
        self.embed_dim = config["embed_dim"]
        if self.tower.kind == "vit":  # one block is as good as all of them, whose norm and pooling are wanted
            config["vision_cfg"].update(layers=1, image_size=config["vision_cfg"].get("patch_size", 16))
        clip = open_clip.CustomTextCLIP(**config)
        self._pool = take_pooling(clip.visual, self)
        self.text = clip.text
        allow_short_texts(self.text)  # before threads share it
        self.logit_scale = clip.logit_scale
        self.logit_bias = clip.logit_bias
        self.text_offsets: nn.Parameter | None = None
        self._moved_rows: dict[bytes, int] = {}
        self.kept = Kept(ROOM_FOR_FEATURES)
        self.register_load_state_dict_pre_hook(_scalar_logit_scale)

    def frame_features(self, tokens: Tensor, pool: str = "tower") -> Tensor:
        """Unit embeddings of frames: ``(B, T, L, D) -> (B, T, E)``.

        Args:
            tokens: Of the image tower or the temporal transformer, prefix tokens first.
            pool: What stands for a frame: what the ``tower`` reads itself; its ``class_token``; or the ``mean`` over
                its tokens, read in the class token's place.

        Raises:
            ValueError: All tokens are read, but there are class tokens alone.
        """
        check_pool(pool, self.tower)
        if tokens.shape[2] == 1 and self.tower.grid != (1, 1):
            check_tokens(True, self.tower, pool)
        if pool == "mean":
            tokens = tokens.mean(dim=2, keepdim=True)
        if self.tower.pooling == "class_token":
            tokens = tokens[:, :, :1]
        features = self._pool(self, tokens.flatten(0, 1))
        return nn.functional.normalize(features, dim=-1).unflatten(0, tokens.shape[:2])

    def image_parts(self) -> list[nn.Module | nn.Parameter]:
        """The parts that come from the image tower."""
        parts: list[tuple[str, nn.Module | nn.Parameter]] = [*self.named_children(),
                                                             *self.named_parameters(recurse=False)]
        return [part for name, part in parts if name in OF_POOLING or name == "trunk"]

    def text_features(self, tokens: Tensor, **how: Any) -> Tensor:
        """Unit embeddings of texts at their end-of-text token: token ids ``(..., context) -> (..., E)``.

        ``how`` are the arguments of ``claver_mm.language.encode_texts``.
        """
        features = encode_texts(self.text, tokens.flatten(0, -2), **how)
        return nn.functional.normalize(features, dim=-1).unflatten(0, tokens.shape[:-1])

    def kept_text_features(self, texts: Texts, **how: Any) -> Tensor:
        """Unit embeddings ``(C, M, E)`` without gradients, made once for each set of texts, weights and precision.

        What is kept is found by the bits of the text tower, which every call reads (``claver_mm.kept.bit_sums``), so
        that it is never stale. Threads share it.
        """
        precision = torch.get_autocast_dtype(self.device.type) if torch.is_autocast_enabled(self.device.type) else None
        with torch.inference_mode(False), torch.no_grad():  # tensors of inference mode could not be trained with
            key = texts.digest, self.device, precision, bit_sums(self._text_weights())
            features = self.kept.get(key, lambda: self.text_features(texts.tokens, **how))
        return self.moved(features, texts)

    def learn_offsets(self, texts: Texts) -> None:
        """Give each class of texts a vector that is added to the embeddings of its texts, at first zero, for training
        (``text_offsets``, ``(C, E)``). The same class among others has it as well; other classes have none."""
        self.text_offsets = nn.Parameter(torch.zeros(len(texts), self.embed_dim, device=self.device))
        self._moved_rows = {row: number for number, row in enumerate(texts.rows)}

    def take_offsets(self, other: CLIPHead) -> None:
        """Begin with the offsets that another head has learnt for the same classes; others stay as they are."""
        if self.text_offsets is None or other.text_offsets is None:
            return
        for row, number in self._moved_rows.items():
            if row in other._moved_rows:
                self.text_offsets.data[number] = other.text_offsets.data[other._moved_rows[row]]

    def moved(self, features: Tensor, texts: Texts) -> Tensor:
        """Unit embeddings ``(C, K, E)`` of texts with the offsets of those classes that have one."""
        if self.text_offsets is None:
            return features
        found = [self._moved_rows.get(row, -1) for row in texts.rows]
        if max(found) < 0:
            return features
        places = torch.tensor(found, device=features.device)
        moved = nn.functional.normalize(features + self.text_offsets[places.clamp(min=0)].unsqueeze(1), dim=-1)
        return torch.where((places >= 0)[:, None, None], moved, features)

    def text_versions(self) -> tuple:
        """A cheap mark of the text tower's weights; see ``claver_mm.kept.versions``."""
        return versions([*self._text_weights(), *([] if self.text_offsets is None else [self.text_offsets])])

    def logits(self, video: Tensor, text: Tensor) -> Tensor:
        """``exp(logit_scale) * <v, t>``, and the bias of a tower that was trained with one: ``(B, E), (C, M, E) ->
        (B, M, C)``, float32 whatever runs under autocast."""
        with torch.autocast(video.device.type, enabled=False):
            logits = self.logit_scale.float().exp() * torch.einsum("be,cke->bkc", video.float(), text.float())
            return logits if self.logit_bias is None else logits + self.logit_bias.float()

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.logit_scale.device

    def _text_weights(self) -> list[Tensor]:
        return [*self.text.parameters(), *self.text.buffers()]


def _scalar_logit_scale(module: CLIPHead, state_dict: dict, prefix: str, *_: object) -> None:
    """Files differ in whether logit scale and bias are scalars or vectors of one."""
    for name in ("logit_scale", "logit_bias"):
        key, own = prefix + name, getattr(module, name)
        if own is not None and key in state_dict and state_dict[key].numel() == 1:
            state_dict[key] = state_dict[key].reshape(own.shape)


def check_pool(pool: str, tower: Tower) -> None:
    """``ValueError`` where a tower cannot be read so."""
    if pool not in POOLS:
        raise ValueError(f"unknown pool {pool!r}; one of {', '.join(POOLS)}")
    if pool != "tower" and tower.pooling != "class_token":
        raise ValueError(f"pool={pool!r} is for towers that read their class token; this one pools by "
                         f"{tower.pooling}: leave pool out")


def class_tokens_suffice(tower: Tower, pool: str = "tower") -> bool:
    """Whether a frame's class token is all that is read of it, so that the last block may compute nothing else."""
    return tower.pooling == "class_token" and pool != "mean"


def check_tokens(class_tokens_only: bool, tower: Tower, pool: str = "tower") -> None:
    """``ValueError`` where class tokens are all that there is of a frame, and do not suffice."""
    if class_tokens_only and not class_tokens_suffice(tower, pool):
        reader = "pool='mean'" if pool == "mean" else f"a tower that pools by {tower.pooling}"
        raise ValueError(f"{reader} reads all tokens, the neck gives class tokens alone; set class_tokens_only=False "
                         "on the neck")
