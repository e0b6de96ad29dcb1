"""CLAVER as one model: image tower, temporal transformer, text tower, and what a video and texts have in common.

    from claver_mm import create_model
    model = create_model("B/16", pretrained="openai", pattern="kmct", checkpoint="epoch_60.pth")
    logits = model.logits(model.video_features(clips), model.text_features(model.tokenize(["juggling", "diving"])))

Pure: imports torch, open_clip and pure parts of this package, nothing of ``mm*``. Paper section 3.1, equations 1 to 3
and 10.
Letters: ``B`` clips, ``T`` frames, ``L`` tokens of a frame, ``D`` width, ``E`` embedding size, ``C`` classes, ``M``
texts of a class.
"""
from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .kept import Kept
from .language.prompts import ACTION_TEMPLATES
from .language.texts import Labels, Texts, listed, read_labels, texts_of_classes
from .temporal import KroneckerTransformer, mix, number_of_blocks, projections
from .towers.architectures import Arch, activation, vision_depth, vision_heads, vision_width
from .towers.head import CLIPHead, check_pool, class_tokens_suffice
from .towers.image import build_image_trunk, clip_tokens
from .towers.preprocessing import Preprocessing, preprocessing_of
from .towers.pretrained import resolve_pretrained
from .towers.tokenizer import tokenize
from .weights import (
    StateDict,
    convert_official,
    head_weights,
    image_trunk_weights,
    load_strict,
    read_state_dict,
)

SCORES = ("prob", "similarity")
ROOM_FOR_TOKENS = 1 << 26
"""Bytes of token ids that a model keeps."""

RECOGNISER_RENAMES = ((r"^backbone\.visual\.", "visual."), (r"^neck\.transformer\.", "temporal."),
                      (r"^neck\.project\.", "project."), (r"^cls_head\.clip\.", "clip."))
"""Key of a recogniser of the host -> key of ``CLAVER``."""


class CLAVER(nn.Module):
    """Image tower, temporal transformer or none, and CLIP's text side.

    For use and study; training goes through the host's recogniser, with which it can share its parts (``of``).

    Args:
        visual: Image tower up to its last block (``claver_mm.towers.image``).
        temporal: None for the mean over frames.
        clip: The rest of CLIP.
        arch: The architecture, which names the tokenizer.
        preprocessing: How frames are prepared for the tower.
        project: See ``claver_mm.temporal.projections``.
        pool: What stands for a frame: what the ``tower`` reads itself, its ``class_token``, or the ``mean`` over its
            tokens.
        score: See ``class_scores``.
        token_grid: See ``claver_mm.towers.image.pool_tokens``; None for all tokens.
    """

    def __init__(self, visual: nn.Module, temporal: KroneckerTransformer | None, clip: CLIPHead, arch: Arch,
                 preprocessing: Preprocessing, project: nn.ModuleList | None = None, pool: str = "tower",
                 score: str = "prob", token_grid: int | None = None) -> None:
        super().__init__()
        check_pool(pool, clip.tower)
        check_choice("score", score, SCORES)
        self.visual = visual
        self.temporal = temporal
        self.project = nn.ModuleList() if project is None else project
        self.clip = clip
        self.arch = arch
        self.preprocessing = preprocessing
        self.pool = pool
        self.score = score
        self.token_grid = token_grid
        self.encoding: dict = {}  # how texts are encoded, see claver_mm.language.encode_texts
        object.__setattr__(self, "_head", None)  # of the host, whose parts are not registered a second time
        self._kept = Kept(ROOM_FOR_TOKENS)

    @classmethod
    def of(cls, model: nn.Module) -> CLAVER:
        """The CLAVER in a recogniser of the host, whose parts it shares; a ``CLAVER`` is given back as it is.

        Raises:
            ValueError: A recogniser of other parts; the message names what is missing.
        """
        if isinstance(model, cls):
            return model
        backbone, neck, head = (getattr(model, part, None) for part in ("backbone", "neck", "cls_head"))
        if not hasattr(backbone, "visual") or not isinstance(getattr(head, "clip", None), CLIPHead):
            raise ValueError(f"no CLAVER in this {type(model).__name__}: it needs a CLIPBackbone and a "
                             f"ContrastiveTextHead, got {type(backbone).__name__} and {type(head).__name__}")
        temporal = getattr(neck, "transformer", None)
        if neck is not None and not isinstance(temporal, KroneckerTransformer):
            raise ValueError(f"no CLAVER in this {type(model).__name__}: it needs a TemporalNeck or no neck, got "
                             f"{type(neck).__name__}")
        claver = cls(backbone.visual, temporal, head.clip, head.arch, _preprocessing_in(model),
                     getattr(neck, "project", None), head.pool, head.score, backbone.token_grid)
        claver.encoding = head.encoding
        object.__setattr__(claver, "_head", head)
        claver.training = model.training
        return claver

    def image_tokens(self, clips: Tensor) -> Tensor:
        """Tokens of the image tower's last block, prefix tokens first: ``(B, 3, T, h, w) -> (B, T, L, D)``."""
        return clip_tokens(self.visual, clips, self.token_grid)

    def mix(self, tokens: Tensor) -> Tensor:
        """Tokens that have seen each other over time: ``(B, T, L, D)`` to the same or to ``(B, T, 1, D)``."""
        return tokens if self.temporal is None else mix(tokens, self.temporal, self.project)

    def read(self, tokens: Tensor) -> Tensor:
        """Unit embeddings of frames from their tokens: ``(B, T, L, D) -> (B, T, E)``."""
        return self.clip.frame_features(tokens, self.pool)

    def frame_features(self, clips: Tensor) -> Tensor:
        """Unit embeddings of frames: normalised clips ``(B, 3, T, h, w) -> (B, T, E)``."""
        return self.read(self.mix(self.image_tokens(clips)))

    def video_features(self, clips: Tensor) -> Tensor:
        """Mean over frames of their unit embeddings: normalised clips ``(B, 3, T, h, w) -> (B, E)``."""
        return self.frame_features(clips).mean(dim=1)

    def text_features(self, tokens: Tensor) -> Tensor:
        """Unit embeddings of texts: token ids ``(..., context) -> (..., E)``."""
        return self.clip.text_features(tokens, **self.encoding)

    def kept_text_features(self, texts: Texts) -> Tensor:
        """Unit embeddings ``(C, M, E)`` of texts without gradients, made once for each set of texts and weights."""
        return self.clip.kept_text_features(texts, **self.encoding)

    def logits(self, video: Tensor, text: Tensor) -> Tensor:
        """``exp(logit_scale) * <v, t>`` in float32: ``(B, E), (C, M, E) -> (B, M, C)``; a text for each class may be
        ``(C, E)``."""
        return self.clip.logits(video, text if text.ndim == 3 else text.unsqueeze(1))

    def forward(self, clips: Tensor, tokens: Tensor) -> Tensor:
        """Normalised clips ``(B, 3, T, h, w)`` and token ids ``(C, M, context)`` -> logits ``(B, M, C)``."""
        return self.logits(self.video_features(clips), self.text_features(tokens))

    def prepare(self, frames: np.ndarray | Sequence[np.ndarray]) -> Tensor:
        """RGB frames ``(T, h, w, 3)`` in uint8, of any size, as a normalised clip ``(1, 3, T, h, w)``.

        Resized and normalised as the tower's weights were trained, by open_clip's own steps.

        Raises:
            ValueError: Frames of another shape or dtype.
        """
        frames = [np.asarray(frame) for frame in frames]
        odd = [frame for frame in frames if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8]
        if odd or not frames:
            what = f"{odd[0].dtype} {odd[0].shape}" if odd else "none"
            raise ValueError(f"frames must be uint8 RGB (T, h, w, 3), got {what}")
        prepared = self.preprocessing
        pixels = torch.from_numpy(np.stack([prepared.resized(frame) for frame in frames])).to(self.device)
        mean, std = (pixels.new_tensor(values, dtype=torch.float32) for values in (prepared.mean, prepared.std))
        return ((pixels / 255 - mean) / std).permute(3, 0, 1, 2).unsqueeze(0)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids ``(N, context)`` of texts."""
        return tokenize(list(texts), self.arch)

    def texts(self, labels: Labels | Texts | None = None, *, extra: Sequence[str] = (),
              templates: Sequence[str] | None = ACTION_TEMPLATES) -> Texts:
        """The texts of labels as a value, made once for equal labels.

        Args:
            labels: Names; or a prompt bank, read or as a file or mapping; or a ``.txt`` file with one name a line;
                or texts already made. None for those of the recogniser that this was taken from.
            extra: Texts beside the labels, each taken word for word.
            templates: Put around the names of ``labels``; the bank's texts stand beside them. None for none: a bank's
                texts alone, or the names alone.

        Raises:
            FileNotFoundError: No such file of labels.
            ValueError: What cannot be ranked, named: no label, one that is no text or stands twice, two that are one to
                the model, a text where a list belongs.
        """
        extra = tuple(listed(extra, "extra"))
        if labels is None or isinstance(labels, Texts):
            texts = self.own_texts if labels is None else labels
            if texts is None or texts.names is None:
                raise ValueError("the config names no classes; give labels")
            return texts.beside(extra, self.tokenize)
        names, bank = read_labels(labels)
        templates = ("{}",) * (bank is None) if templates is None else tuple(listed(templates, "templates"))
        key = tuple(names), bank and (bank.digest, bank.kinds), templates, extra
        return self._kept.get(key, lambda: texts_of_classes(names, self.tokenize, templates, bank).beside(
            extra, self.tokenize))

    @property
    def own_texts(self) -> Texts | None:
        """The texts that the recogniser has now from which this was taken; None where there are none."""
        return None if self._head is None else self._head.texts

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.clip.device


def _preprocessing_in(model: nn.Module) -> Preprocessing:
    """Of a recogniser of the host: that of its tower's weights, unless its data preprocessor was told otherwise."""
    found, given = model.backbone.preprocessing, getattr(model, "data_preprocessor", None)
    for name in ("mean", "std"):
        values = getattr(given, name, None)
        if isinstance(values, Tensor) and values.numel() == 3:
            found = replace(found, **{name: tuple((values.flatten() / 255).tolist())})
    return found


def create_model(arch: Arch = "B/16", pretrained: str | Path | None = None, pattern: str | None = "kmt",
                 num_frames: int = 8, depth: int | float = 1 / 3, checkpoint: str | Path | Mapping | None = None, *,
                 image_size: int | None = None, embed_dims: int | None = None, pool: str = "tower",
                 score: str = "prob", zero_init_residual: bool = False, preprocessing: str | Mapping | None = None,
                 token_grid: int | None = None, cache_dir: str | Path | None = None) -> CLAVER:
    """A CLAVER by name, in evaluation mode, on the CPU.

    Args:
        arch: ``B/32``, ``B/16``, ``L/14``, ``L/14@336``, any open_clip architecture (``PE-Core-L-14-336``),
            ``hf-hub:ORGANISATION/NAME``, ``local-dir:FOLDER``, or an open_clip model config as a dict.
        pretrained: Weights of both towers: a file, or an open_clip tag such as ``openai``, which is downloaded; or
            again ``hf-hub:...``, ``local-dir:...``.
        pattern: Of the temporal transformer, a name in ``claver_mm.attention.PATTERNS``; None or ``mean`` for none.
        num_frames: ``T`` that the temporal embedding is made for; weights of another number are interpolated.
        depth: Temporal blocks, or as a float their share of the image tower's.
        checkpoint: All weights, as a file or a state dict: of a recogniser trained here, of a ``CLAVER``, or of the
            published code.
        image_size: Side of the input in pixels where it is not the architecture's.
        embed_dims: Width of the temporal transformer where it is not the image tower's.
        pool, score: See ``CLAVER``.
        zero_init_residual: Let the temporal transformer be the identity at first; see ``KroneckerTransformer``.
        preprocessing: Where ``pretrained`` does not say it; see ``claver_mm.towers.preprocessing_of``.
        token_grid: See ``CLAVER``.
        cache_dir: Where downloaded weights lie.

    Without ``checkpoint`` the temporal transformer is random, without both everything is.

    Raises:
        ValueError: An unknown architecture, pattern or tag, or weights that do not fit; the message names them.
        FileNotFoundError: No such file.

    Example:
        >>> model = create_model("B/32", pattern="kmct", num_frames=16)
        >>> model.video_features(torch.randn(1, 3, 16, 224, 224)).shape
        torch.Size([1, 512])
    """
    trunk, clip = build_image_trunk(arch, image_size), CLIPHead(arch)
    temporal, project = None, None
    if pattern not in (None, "mean"):
        D = vision_width(arch)
        width = D if embed_dims is None else embed_dims
        project = projections(D, width)
        heads = vision_heads(arch) if width == D else max(width // 64, 1)
        image_depth = vision_depth(arch) if isinstance(depth, float) else None
        temporal = KroneckerTransformer(
            width, heads, number_of_blocks(depth, image_depth), num_frames, pattern, act_layer=activation(arch),
            class_tokens_only=class_tokens_suffice(clip.tower, pool), zero_init_residual=zero_init_residual)
    prepared = preprocessing_of(arch, pretrained, preprocessing, image_size)
    model = CLAVER(trunk, temporal, clip, arch, prepared, project, pool, score, token_grid).eval()
    if pretrained is not None:
        path = resolve_pretrained(pretrained, arch, cache_dir)
        weights = read_state_dict(path)
        load_strict(trunk, image_trunk_weights(weights), f"image tower of {path}")
        load_strict(clip, head_weights(weights), f"text tower of {path}")
    if checkpoint is not None:
        state_dict = dict(checkpoint) if isinstance(checkpoint, Mapping) else read_state_dict(checkpoint)
        source = "the checkpoint" if isinstance(checkpoint, Mapping) else str(checkpoint)
        load_strict(model, claver_weights(state_dict), source)
    return model


def claver_weights(state_dict: StateDict) -> StateDict:
    """Weights of a ``CLAVER`` from those of one, of a recogniser of the host, or of the published code.

    Raises:
        ValueError: Of something else; the message names the keys.
    """
    if "clip.logit_scale" in state_dict:
        return state_dict
    if not any(key.startswith("backbone.") for key in state_dict):
        state_dict = convert_official(state_dict)
    return {_renamed(key): value for key, value in state_dict.items()}


def _renamed(key: str) -> str:
    for pattern, replacement in RECOGNISER_RENAMES:
        key, count = re.subn(pattern, replacement, key)
        if count:
            break
    return key


def class_scores(logits: Tensor, score: str = "prob") -> Tensor:
    """Equation 10, ``(B, M, C) -> (B, C)``.

    Args:
        logits: Of ``M`` texts for each class.
        score: ``prob``: log of the softmax over classes for each text, mean over texts (published code);
            ``similarity``: sum over texts (paper).
    """
    if score == "similarity":
        return logits.sum(dim=1)
    return logits.log_softmax(dim=-1).logsumexp(dim=1) - math.log(logits.shape[1])


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """``ValueError`` where a value is none of those known."""
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}; one of {', '.join(known)}")
