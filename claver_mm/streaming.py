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

import torch
from torch import Tensor, nn

from .attention import attend_rows
from .temporal import KroneckerTransformer

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
            ValueError: A frame of another shape than those before it, a transformer in training mode, or one frame too
                many under ``beyond='error'``; the stream stays as it was.
        """
        if self.transformer.training:
            raise ValueError("the transformer is in training mode; call eval() before streaming")
        if self._shape is not None and frame.shape != self._shape:
            raise ValueError(f"a frame of shape {tuple(frame.shape)} after frames of {tuple(self._shape)}; "
                             "call reset() before a video of another size")
        T = self.transformer.num_frames
        if self.length == T and self.beyond == "error":
            raise ValueError(f"the temporal embedding knows {T} frames and this would be one more; call reset(), or "
                             "choose beyond='restart' or 'window'")
        if self.length == T and self.beyond == "restart":
            self.reset()
        self._shape = frame.shape
        if self.beyond == "window":
            self._window.append(frame)
            self.length = len(self._window)
            return self.transformer(torch.stack(tuple(self._window), dim=1))
        x = self._step(frame)
        self.length += 1
        return x.unsqueeze(1)

    def _step(self, x: Tensor) -> Tensor:
        """One frame through all blocks against the kept keys and values: ``(B, L, D) -> (B, L or 1, D)``."""
        model, t, L = self.transformer, self.length, x.shape[1]
        if self._caches is None:
            self._caches = [self._empty_cache(x) for _ in model.resblocks]
        x = x + model.temporal_embedding[:, t:t + 1]
        for block, (keys, values) in zip(model.resblocks, self._caches):
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
    """``(B, M, C)`` against the texts of the head; None where it has none."""


class VideoStream:
    """A whole CLAVER recogniser fed frame by frame: image encoder, temporal transformer, embedding, texts.

    Args:
        model: A recogniser with a ``CLIPBackbone``, a ``TemporalNeck`` and a ``ContrastiveTextHead``, in evaluation
            mode.
        beyond: Policy after the frames that the temporal embedding knows, see ``TemporalStream``.

    After ``t`` frames of a clip the frame features are those of ``model.extract_feat`` on the clip for the frames so
    far, whatever follows; the window's are those of the frames in the window as a clip of their own. Texts are encoded
    with the first frame: call ``reset`` after giving the head others.
    """

    def __init__(self, model: nn.Module, beyond: str = "error") -> None:
        if model.training:
            raise ValueError("the recogniser is in training mode; call eval() before streaming")
        if getattr(model, "neck", None) is None or len(model.neck.project):
            raise ValueError("streaming needs a temporal neck as wide as the backbone")
        self.model = model
        self.temporal = TemporalStream(model.neck.transformer, beyond)
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one begins a clip."""
        self.temporal.reset()
        self._sum: Tensor | None = None
        self._text: Tensor | None = None

    @torch.no_grad()
    def push(self, frame: Tensor) -> StreamOutput:
        """Add a normalised frame ``(B, 3, h, w)``.

        Raises:
            ValueError: A frame of another size, or one too many under ``beyond='error'``; the stream stays as it was.
        """
        if frame.ndim != 4:
            raise ValueError(f"expected one frame (B, 3, h, w), got shape {tuple(frame.shape)}")
        tokens = self.model.backbone(frame.unsqueeze(2))[:, 0]  # (B, L, D)
        head = self.model.cls_head
        features = head.frame_features(self.temporal.push(tokens))
        if self.temporal.beyond == "window":
            video = features.mean(dim=1)
        else:
            first = self.temporal.length == 1
            self._sum = features[:, 0] if first else self._sum + features[:, 0]
            video = self._sum / self.temporal.length
        if self._text is None and head.text_tokens is not None:
            self._text = head.text_features()
        logits = None if self._text is None else head.logits(video, self._text)
        return StreamOutput(features, video, logits)
