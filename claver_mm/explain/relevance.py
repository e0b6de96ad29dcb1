"""Which words of a text and which tokens of which frames a similarity rests on (Chefer et al. 2021, arXiv 2103.15679).

Pure: imports torch and nothing of ``mm*``.
Letters: ``B`` video-text pairs, ``T`` frames of a clip, ``L`` tokens of a frame, ``S`` tokens of a sequence, ``h, w``
tokens of a frame's grid down and across, ``N`` other texts.

Through a layer with attention ``A`` relevance goes as ``R <- R + E_h((dA * A)+) R`` (their equations 5 and 6), where
``dA`` is the gradient of the score. Only the row of ``R`` that the score is read from is asked for, so the row alone
is rolled back, from the last layer to the first, and no ``S x S`` matrix is kept. Frames are read after the temporal
transformer, a text at one token after the text tower.

What is read of a frame sums to ``1 / T`` over its tokens: all of it at a class token, alike at all tokens of a mean.
Attention pooling is one more layer, whose query is none of the tokens. What it gave to each of them,
``E_h((dA * A)+)`` of its query, counts as what a layer gave to patches from a class token does. A class token also
hands its 1 on to the layer before, by its residual; a query of a pooling has none there, it is the tokens that go on.
So its 1 is handed on to them, in the shares in which they were read (a row of relevance normalised to a sum of one,
as in their equations 8 and 9), and the layers before count as much as they do for a class token. Without that they
would count as much less as a gradient is less than one, which is next to nothing.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..language.encoder import read_positions, text_lengths
from ..model import CLAVER
from ..towers.architectures import shown_arch, tower_of
from ..towers.image import pool_tokens, side_of
from .attention import AttentionCall
from .layers import attention_layers, pooling_layer, record_attention
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
    text: Tensor | None
    """Of text tokens, ``(B, context)``; zero at the token that is read, and behind it in a causal tower. None where the
    text tower's attention cannot be read (``layers.attention_layers``)."""
    spatial: Tensor | None
    """Of patches for what is read of their own frame behind the image tower, ``(B, T, h, w)``. None where the tower's
    attention cannot be read, or it has none."""
    temporal: Tensor
    """Of the grid's tokens for what is read of all frames behind the temporal transformer, ``(B, T, h, w)``; zero
    without one."""
    combined: Tensor | None
    """Of patches through both, ``(B, T, h, w)``: the temporal relevance rolled on through the image tower. None where
    ``spatial`` is."""
    frames: Tensor
    """Of whole frames, prefix tokens included, for the temporal transformer, ``(B, T)``; zero without one."""


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
        ValueError: A model of other parts, in training mode, or with neither a temporal transformer nor an image tower
            whose attention can be read; or tensors that do not fit.
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
    trunk_layers, temporal_layers = attention_layers(model.visual), attention_layers(model.temporal)
    pooled = model.clip.tower.pooling == "attention"
    if trunk_layers is None and temporal_layers is None:
        raise ValueError(f"nothing here can be explained: the image tower of {shown_arch(model.arch)} has no attention "
                         "that can be read, and there is no temporal transformer behind it; take a model with one")
    with torch.enable_grad():
        with (record_attention(trunk_layers or ()) as spatial_calls,
              record_attention(temporal_layers or ()) as temporal_calls,
              record_attention([pooling_layer(model.clip)] if pooled else ()) as pooling_calls):
            features = model.image_tokens(clips.requires_grad_())  # frozen towers need gradients as well
            video = model.read(model.mix(features)).mean(dim=1)
        text, text_calls, ends = _encode(model.clip.text, tokens)
        similarity = (video * nn.functional.normalize(text, dim=-1)).sum(dim=-1)
        score = similarity if against is None else _log_odds(model, video, similarity, against)
        groups = (spatial_calls, temporal_calls, text_calls, pooling_calls)
        gradients = iter(torch.autograd.grad(score.sum(), [call.output for calls in groups for call in calls]))
        spatial_gradients, temporal_gradients, text_gradients, pooling_gradients = (
            [next(gradients) for _ in calls] for calls in groups)

    with torch.no_grad():
        like = clips.new_empty(0, dtype=torch.promote_types(clips.dtype, torch.float32))
        start, given = _read_tokens(model, features.shape[:3], like), like.new_zeros(())
        if pooled:
            start, given = _read_by_attention(pooling_calls[0], pooling_gradients[0], features.shape[:3])
        after = _temporal_relevance(start, temporal_calls, temporal_gradients)
        temporal = after - start + given if temporal_calls else torch.zeros_like(start)
        start, after, temporal, given = (_before_pooling(model, x) for x in (start, after, temporal, given))
        both = torch.stack([start, after], dim=2)  # (B, T, 2, L): through the image tower in one go
        both = _roll_back(spatial_calls, spatial_gradients, both.flatten(0, 1)).view_as(both)
        spatial, combined = (rolled - start + given for rolled in both.unbind(2))
        words = None if ends is None else _roll_back_texts(text_calls, text_gradients, ends, tokens.shape[1], like)
        spatial, temporal_map, combined = (_on_grid(model, x) for x in (spatial, temporal, combined))
        read = trunk_layers is not None
        return Relevance(similarity.detach().to(like), score.detach().to(like), words, spatial if read else None,
                         temporal_map, combined if read else None, temporal.sum(dim=2))


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
    L = calls[0].num_tokens // start.shape[1]
    rolled = _roll_back(calls, gradients, start[:, :, :L].flatten(1).unsqueeze(1)).squeeze(1)
    return torch.cat([rolled.unflatten(1, (-1, L)), start[:, :, L:]], dim=2)


def _read_tokens(model: CLAVER, shape: torch.Size, like: Tensor) -> Tensor:
    """How much the head reads of each token, ``(B, T, L)``, where that is one for all frames; sums to one over a
    clip."""
    T, L = shape[1:]
    tower = model.clip.tower
    start = like.new_zeros(shape)
    if tower.pooling == "class_token" and model.pool == "mean":
        start[:] = 1 / (T * L)
    elif tower.pooling == "mean":
        start[:, :, tower.num_prefix:] = 1 / (T * (L - tower.num_prefix))
    else:
        start[:, :, 0] = 1 / T
    return start


def _read_by_attention(call: AttentionCall, gradient: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """How much a pooling reads of each token, and the relevance that it gives to it, ``(B, T, L)`` each.

    Of a frame that nothing was read of to the good of the score, both are zero.
    """
    T, L = shape[1:]
    given = gradient.new_zeros(())
    for _, A, dA in call.weights(gradient):  # of a few queries at a time; those that nothing reads have no gradient
        given = given + (A * dA).clamp_(min=0).mean(dim=1).sum(dim=1)  # (B * T, S)
    if call.num_tokens > L:  # a map's mean is read as a token as well
        given = given[:, 1:] + given[:, :1] / L
    given = nn.functional.pad(given, (L - given.shape[1], 0)) / T  # prefix tokens may be left out
    read = given / given.sum(dim=1, keepdim=True).clamp_min(torch.finfo(given.dtype).tiny) / T
    return read.view(shape), given.view(shape)


def _before_pooling(model: CLAVER, x: Tensor) -> Tensor:
    """Relevance of tokens that are means of the image tower's, ``(B, T, L')``, as that of the latter, ``(B, T, L)``."""
    if model.token_grid is None or not x.ndim:
        return x
    L = model.clip.tower.num_prefix + math.prod(_grid(model))
    shares = pool_tokens(torch.eye(L, dtype=x.dtype, device=x.device)[None, None], model.token_grid)[0, 0]
    return x @ shares


def _on_grid(model: CLAVER, x: Tensor) -> Tensor:
    """The tokens of frames without prefix tokens, as maps: ``(B, T, L) -> (B, T, h, w)``."""
    return x[:, :, model.clip.tower.num_prefix:].unflatten(2, _grid(model))


def _grid(model: CLAVER) -> tuple[int, int]:
    tower, (H, W) = model.clip.tower, side_of(model.visual)
    return tower.grid if (H, W) == tower.image_size else tower_of(model.arch, H if H == W else (H, W)).grid


def _encode(tower: Any, tokens: Tensor) -> tuple[Tensor, list[AttentionCall], Tensor | None]:
    """Features of texts, the calls of the tower's attention layers, and where each text is read; no calls and None
    where the layers cannot be read."""
    layers = attention_layers(tower)
    if layers is None:
        with torch.no_grad():
            return tower(tokens), [], None
    short = tokens[:, :text_lengths(tower, tokens.cpu()).max()]
    handle = tower.token_embedding.register_forward_hook(
        lambda _, __, embedded: embedded if embedded.requires_grad else embedded.requires_grad_())
    try:
        with record_attention(layers) as calls:
            return tower(short), calls, read_positions(tower, short)
    finally:
        handle.remove()


def _roll_back_texts(calls: Sequence[AttentionCall], gradients: Sequence[Tensor], ends: Tensor, context: int,
                     like: Tensor) -> Tensor:
    """``(B, context)``, from the tokens ``ends`` that texts are read at, ``(B,)``, to before the first layer."""
    end = nn.functional.one_hot(ends, calls[0].num_tokens).to(like)
    words = _roll_back(calls, gradients, end.unsqueeze(1)).squeeze(1) * (end == 0)
    return nn.functional.pad(words, (0, context - words.shape[1]))  # cuts a class token behind the text off


def _log_odds(model: CLAVER, video: Tensor, similarity: Tensor, against: Tensor) -> Tensor:
    """``log p - log (1 - p)`` of a text among itself and others, which does not level off where ``p`` nears one."""
    with torch.no_grad():
        others = model.clip.text_features(against).clone()  # features kept by the tower may be of inference mode
    scale = model.clip.logit_scale.exp()
    return scale * similarity - (scale * video @ others.T).logsumexp(dim=-1)

