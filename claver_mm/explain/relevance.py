"""Which words of a text and which tokens of which frames a similarity rests on (Chefer et al. 2021, arXiv 2103.15679).

Pure: imports torch and nothing of ``mm*``.
Letters: ``B`` video-text pairs, ``T`` frames of a clip, ``L`` tokens of a frame, ``S`` tokens of a sequence, ``h, w``
patches of a frame down and across, ``N`` other texts.

Through a layer with attention ``A`` relevance goes as ``R <- R + E_h((dA * A)+) R`` (their equations 5 and 6), where
``dA`` is the gradient of the score. Only the row of ``R`` that the score is read from is asked for, so the row alone
is rolled back, from the last layer to the first, and no ``S x S`` matrix is kept. Class tokens are read after the
temporal transformer, the end-of-text token after the text tower.
"""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..language.encoder import allow_short_texts, text_lengths
from ..model import CLAVER
from .attention import AttentionCall, attention_layers, record_attention
from .twin import twin_of


@dataclass
class Relevance:
    """Relevance of ``B`` video-text pairs: no unit, none below zero, comparable within one map.

    In float32, or the dtype of the clips where that is wider, whatever the model computes in.
    """

    similarity: Tensor
    """Cosine of video and text, ``(B,)``."""
    score: Tensor
    """What is explained, ``(B,)``: the similarity, or the log-odds against other texts."""
    text: Tensor
    """Of text tokens, ``(B, context)``; zero from the end-of-text token on."""
    spatial: Tensor
    """Of patches for the image tower's class token of their own frame, ``(B, T, h, w)``."""
    temporal: Tensor
    """Of patches for the class tokens of the temporal transformer, ``(B, T, h, w)``; zero without one."""
    combined: Tensor
    """Of patches through both, ``(B, T, h, w)``: the temporal relevance rolled on through the image tower."""
    frames: Tensor
    """Of whole frames, their class tokens included, for the temporal transformer, ``(B, T)``; zero without one."""


def relevance(model: nn.Module, clips: Tensor, tokens: Tensor, against: Tensor | None = None) -> Relevance:
    """Relevance of words and tokens for video-text pairs.

    Args:
        model: A ``CLAVER``, or a recogniser that has one, in evaluation mode, in any dtype, compiled or not. Nothing of
            it is changed, and other threads may use it.
        clips: Normalised, ``(B, 3, T, h, w)``.
        tokens: Token ids of the text of each clip, ``(B, context)``.
        against: Token ids of other texts ``(N, context)``. With them the score is the log-odds of the text among
            them, which asks what speaks for it *and not for the others*; without, its similarity.

    Raises:
        ValueError: A model of other parts, in training mode, or tensors that do not fit.
    """
    model = CLAVER.of(model)
    if model.training:
        raise ValueError("the recogniser is in training mode; call eval() first")
    if clips.ndim != 5 or tokens.ndim != 2 or len(clips) != len(tokens) or not len(clips):
        raise ValueError(f"expected clips (B, 3, T, h, w) and one text for each, (B, context), got "
                         f"{tuple(clips.shape)} and {tuple(tokens.shape)}")
    with torch.inference_mode(False), _uncached_autocast(clips.device.type):
        return _relevance(twin_of(model), clips.detach().clone(), tokens.to(clips.device, copy=True), against)


def _relevance(model: CLAVER, clips: Tensor, tokens: Tensor, against: Tensor | None) -> Relevance:
    tower, trunk = model.clip.text, model.visual
    with torch.enable_grad():
        with record_attention(attention_layers(trunk)) as spatial_calls, record_attention(
                attention_layers(model.temporal)) as temporal_calls:
            features = model.image_tokens(clips.requires_grad_())  # frozen towers need gradients as well
            video = model.read(model.mix(features)).mean(dim=1)
        lengths = text_lengths(tower, tokens.cpu()).to(clips.device)
        text, text_calls = _encode(tower, tokens[:, :lengths.max()])
        similarity = (video * nn.functional.normalize(text, dim=-1)).sum(dim=-1)
        score = similarity if against is None else _log_odds(model, video, similarity, against)
        groups = (spatial_calls, temporal_calls, text_calls)
        gradients = iter(torch.autograd.grad(score.sum(), [call.output for calls in groups for call in calls]))
        spatial_gradients, temporal_gradients, text_gradients = ([next(gradients) for _ in calls] for calls in groups)

    with torch.no_grad():
        like = clips.new_empty(0, dtype=torch.promote_types(clips.dtype, torch.float32))
        start = _read_tokens(features.shape[:3], model.pool, like)
        after = _temporal_relevance(start, temporal_calls, temporal_gradients)
        both = torch.stack([start, after], dim=2)  # (B, T, 2, L): through the image tower in one go
        spatial, combined = _roll_back(spatial_calls, spatial_gradients, both.flatten(0, 1)).view_as(both).unbind(2)
        spatial, temporal, combined = ((x - start)[:, :, 1:].unflatten(2, trunk.grid_size)
                                       for x in (spatial, after, combined))
        end = nn.functional.one_hot(lengths - 1, int(lengths.max())).to(like)
        words = _roll_back(text_calls, text_gradients, end.unsqueeze(1)).squeeze(1) * (end == 0)
        words = nn.functional.pad(words, (0, tokens.shape[1] - words.shape[1]))
        return Relevance(similarity.detach().to(like), score.detach().to(like), words, spatial, temporal, combined,
                         (after - start).sum(dim=2))


def _uncached_autocast(device: str) -> AbstractContextManager:
    """Autocast as it is, without the weights that it has kept cast: those of inference mode cannot be differentiated
    through."""
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device), False)


def _roll_back(calls: Sequence[AttentionCall], gradients: Sequence[Tensor], relevance: Tensor) -> Tensor:
    """``K`` rows of relevance of each sequence, ``(B, K, S)``, from behind the last layer to before the first."""
    for call, gradient in zip(reversed(calls), reversed(gradients)):
        received = torch.zeros_like(relevance)
        for rows, A, dA in call.weights(gradient):
            cam = (A * dA).clamp_(min=0).mean(dim=1)  # (B, r, S)
            received += relevance[:, :, rows] @ cam
        relevance = relevance + received
    return relevance


def _temporal_relevance(start: Tensor, calls: Sequence[AttentionCall], gradients: Sequence[Tensor]) -> Tensor:
    """``(B, T, L) -> (B, T, L)``; blocks that see class tokens alone (``class_token``) leave patches as they are."""
    if not calls:
        return start
    L = calls[0].inputs.shape[1] // start.shape[1]
    rolled = _roll_back(calls, gradients, start[:, :, :L].flatten(1).unsqueeze(1)).squeeze(1)
    return torch.cat([rolled.unflatten(1, (-1, L)), start[:, :, L:]], dim=2)


def _read_tokens(shape: torch.Size, pool: str, like: Tensor) -> Tensor:
    """How much the head reads of each token, ``(B, T, L)``; sums to one over a clip."""
    B, T, L = shape
    if pool == "mean":
        return like.new_full(shape, 1 / (T * L))
    start = like.new_zeros(shape)
    start[:, :, 0] = 1 / T
    return start


def _encode(tower: Any, tokens: Tensor) -> tuple[Tensor, list[AttentionCall]]:
    """Features of texts and the calls of the tower's attention layers."""
    allow_short_texts(tower)
    handle = tower.token_embedding.register_forward_hook(
        lambda _, __, embedded: embedded if embedded.requires_grad else embedded.requires_grad_())
    try:
        with record_attention(attention_layers(tower)) as calls:
            return tower(tokens), calls
    finally:
        handle.remove()


def _log_odds(model: CLAVER, video: Tensor, similarity: Tensor, against: Tensor) -> Tensor:
    """``log p - log (1 - p)`` of a text among itself and others, which does not level off where ``p`` nears one."""
    with torch.no_grad():
        others = model.clip.text_features(against).clone()  # features kept by the tower may be of inference mode
    scale = model.clip.logit_scale.exp()
    return scale * similarity - (scale * video @ others.T).logsumexp(dim=-1)

