"""Recognition of a video frame by frame, with exactly the features that a whole clip would give.

Pure: imports nothing of ``mm*``. Under ``kmct`` a new frame leaves what earlier frames became unchanged, so their keys
and values are kept and a frame costs the work of one frame against the past (``TemporalStream``). Under every pattern
the image encoder works frame by frame, so a sliding window keeps its features (``beyond='window'``).

Letters: ``B`` clips, ``T`` frames that the temporal embedding knows, ``t`` the frame at hand, ``L`` tokens of a frame,
``D`` width, ``H`` heads, ``C = D / H``, ``E`` embedding size.
"""
from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .attention import attend_rows
from .kept import versions
from .language.texts import Labels, Texts
from .model import CLAVER
from .temporal import KroneckerTransformer
from .towers.head import check_tokens

POLICIES = ("error", "restart", "window")


class TemporalStream:
    """``KroneckerTransformer`` fed frame by frame.

    Args:
        transformer: In evaluation mode.
        beyond: What happens after the ``T`` frames that the temporal embedding knows. ``error`` stops; ``restart``
            begins a new clip of ``T`` frames; ``window`` recomputes the last ``T`` frames as a clip, for every frame.

    Only ``window`` serves patterns other than ``kmct``, under which later frames change earlier ones.

    Raises:
        ValueError: Unknown policy, or one that the pattern does not allow.
    """

    def __init__(self, transformer: KroneckerTransformer, beyond: str = "error") -> None:
        if beyond not in POLICIES:
            raise ValueError(f"unknown policy beyond={beyond!r}; one of {', '.join(POLICIES)}")
        if beyond != "window" and transformer.pattern != "kmct":
            raise ValueError(f"under {transformer.pattern!r} a new frame changes earlier ones, so nothing can be kept; "
                             "use a kmct transformer, or beyond='window'")
        self.transformer = transformer
        self.beyond = beyond
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one begins a clip."""
        self.length = 0
        self._caches: list[tuple[Tensor, Tensor]] | None = None
        self._window: deque[Tensor] = deque(maxlen=self.transformer.num_frames)
        self._shape: torch.Size | None = None
        self._weights: tuple = ()

    @property
    def begins(self) -> bool:
        """Whether the next frame is the first of a clip."""
        return not self.length or (self.beyond == "restart" and self.length == self.transformer.num_frames)

    @torch.inference_mode(False)  # what is kept of a frame could else not be used outside of that mode
    @torch.no_grad()
    def push(self, frame: Tensor) -> Tensor:
        """Add a frame.

        Args:
            frame: Tokens of the image encoder, ``(B, L, D)``.

        Returns:
            Tokens after the temporal transformer. Of this frame, ``(B, 1, L, D)``, which earlier frames do not need
            to be told; under ``window`` of all frames in it, oldest first, ``(B, up to T, L, D)``. ``L`` becomes 1
            where the transformer gives class tokens only.

        Raises:
            ValueError: A frame of another shape than those before it or than the transformer takes, a transformer in
                training mode or with other weights than at the clip's beginning, or one frame too many under
                ``beyond='error'``; the stream stays as it was.
        """
        model, T, D = self.transformer, self.transformer.num_frames, self.transformer.temporal_embedding.shape[-1]
        if model.training:
            raise ValueError("the transformer is in training mode; call eval() before streaming")
        if frame.ndim != 3 or frame.shape[-1] != D:
            raise ValueError(f"a frame of shape {tuple(frame.shape)}; the transformer takes tokens (B, L, {D})")
        if self._shape is not None and frame.shape != self._shape:
            raise ValueError(f"a frame of shape {tuple(frame.shape)} after frames of {tuple(self._shape)}; "
                             "call reset() before a video of another size")
        if self.length == T and self.beyond == "error":
            raise ValueError(f"the temporal embedding knows {T} frames and this would be one more; call reset(), or "
                             "choose beyond='restart' or 'window'")
        weights = versions(model.parameters())
        t = 0 if self.begins else self.length
        if self.beyond == "window":
            window = (*self._window, frame)[-T:]
            x, length = model(torch.stack(window, dim=1)), len(window)
            self._window.append(frame)
        else:
            if t and weights != self._weights:
                raise ValueError("the transformer's weights are not those of the clip's first frame; call reset()")
            caches = self._caches or [self._empty_cache(frame) for _ in model.resblocks]
            x, length = self._step(frame, t, caches).unsqueeze(1), t + 1
            self._caches = caches
        self.length, self._shape, self._weights = length, frame.shape, weights
        return x

    def _step(self, x: Tensor, t: int, caches: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Frame ``t`` through all blocks against the kept keys and values: ``(B, L, D) -> (B, L or 1, D)``."""
        model, L = self.transformer, x.shape[1]
        x = x + model.temporal_embedding[:, t:t + 1]
        for block, (keys, values) in zip(model.resblocks, caches):
            q, k, v = block.attn.queries_keys_values(block.ln_1(x))
            past, end = t * L, (t + 1) * L
            keys[:, :, past:end], values[:, :, past:end] = k, v
            rows = L if block is not model.resblocks[-1] or not model.class_tokens_only else 1
            numbers = torch.arange(past, past + rows, device=x.device)
            attended = attend_rows(q[:, :, :rows], numbers, keys[:, :, :end], values[:, :, :end], "kmct", t + 1)
            x = x[:, :rows] + block.attn.merge_heads(attended)
            x = x + block.mlp(block.ln_2(x))
        return x

    def _empty_cache(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Room for keys and values of a whole clip, so that memory does not grow while it runs."""
        model, (B, L, D) = self.transformer, x.shape
        heads = model.resblocks[0].attn.heads
        like = model.resblocks[0].attn.in_proj.weight
        dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else like.dtype
        shape = (B, heads, model.num_frames * L, D // heads)
        return tuple(torch.empty(shape, dtype=dtype, device=x.device) for _ in range(2))


class StreamOutput(NamedTuple):
    """What is known of a video after a frame."""

    frame_features: Tensor
    """Unit embeddings ``(B, n, E)``: of the new frame (n = 1), or of every frame of the window."""
    video_features: Tensor
    """Mean over the frames of the clip so far, ``(B, E)``."""
    logits: Tensor | None
    """``(B, M, C)`` against the texts; None where there are none."""


class VideoStream:
    """A whole CLAVER fed frame by frame: image encoder, temporal transformer, embedding, texts.

    Args:
        model: A ``CLAVER`` with a temporal transformer as wide as its image tower, or a recogniser that has one, in
            evaluation mode.
        beyond: Policy after the frames that the temporal embedding knows, see ``TemporalStream``.
        texts: What frames are scored against: a value (``CLAVER.texts``, ``Recognizer.texts``), or labels of which one
            is made. None for the texts that the recogniser has when a frame comes, if it has some.

    After ``t`` frames of a clip the frame features are those of the clip for the frames so far, whatever follows; the
    window's are those of the frames in the window as a clip of their own. Many streams may share one model. Text
    features follow the weights: all their bits are looked at with the first frame of each clip, and between two whether
    they were written to, which does not see writes through ``.data``.

    Raises:
        ValueError: A model of other parts or in training mode, or an unknown policy.
    """

    def __init__(self, model: nn.Module, beyond: str = "error", texts: Texts | Labels | None = None) -> None:
        self.model = CLAVER.of(model)
        if self.model.training:
            raise ValueError("the recogniser is in training mode; call eval() before streaming")
        if self.model.temporal is None or len(self.model.project):
            raise ValueError("streaming needs a temporal neck as wide as the backbone")
        check_tokens(self.model.temporal.class_tokens_only, self.model.clip.tower, self.model.pool)
        self.temporal = TemporalStream(self.model.temporal, beyond)
        self.texts = None if texts is None else self.model.texts(texts)
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one begins a clip."""
        self.temporal.reset()
        self._sum: Tensor | None = None
        self._text: tuple[Texts, tuple, Tensor] | None = None
        self._weights: tuple = ()

    @torch.inference_mode(False)
    @torch.no_grad()
    def push(self, frame: Tensor | np.ndarray) -> StreamOutput:
        """Add a frame.

        Args:
            frame: Normalised, ``(B, 3, h, w)``; or as a camera gives it, RGB ``(h, w, 3)`` in uint8 and of any size,
                which is prepared for the tower here (``CLAVER.prepare``).

        Raises:
            ValueError: A frame of another size, other weights than at the clip's beginning, or one frame too many under
                ``beyond='error'``; the stream stays as it was.
        """
        if isinstance(frame, np.ndarray):
            frame = self.model.prepare([frame])[:, :, 0]
        if frame.ndim != 4:
            raise ValueError(f"expected one frame (B, 3, h, w), got shape {tuple(frame.shape)}")
        model, weights = self.model, versions(self.model.visual.parameters())
        if not self.temporal.begins and weights != self._weights:
            raise ValueError("the image tower's weights are not those of the clip's first frame; call reset()")
        text = self._text_features()
        features = model.read(self.temporal.push(model.image_tokens(frame.unsqueeze(2))[:, 0]))
        self._weights = weights
        if self.temporal.beyond == "window":
            video = features.mean(dim=1)
        else:
            first = self.temporal.length == 1
            self._sum = features[:, 0] if first else self._sum + features[:, 0]
            video = self._sum / self.temporal.length
        return StreamOutput(features, video, None if text is None else model.logits(video, text))

    def _text_features(self) -> Tensor | None:
        """``(C, M, E)`` of the texts at hand, None where there are none."""
        texts = self.model.own_texts if self.texts is None else self.texts
        if texts is None:
            return None
        state = self.model.clip.text_versions(), torch.is_autocast_enabled(self.model.device.type)
        if self.temporal.begins or self._text is None or self._text[0] is not texts or self._text[1] != state:
            self._text = texts, state, self.model.kept_text_features(texts)
        return self._text[2]
