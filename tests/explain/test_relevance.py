"""Relevance of words and tokens: against the rule written out with whole matrices, and without a trace in the model."""

import pytest
import torch
from tiny_claver import build, tokens_of
from torch import nn

from claver_mm.attention import PATTERNS, naive_attention_weights
from claver_mm.explain.layers import record_attention
from claver_mm.explain.relevance import relevance
from claver_mm.explain.shuffling import shuffle_tokens
from claver_mm.temporal import KroneckerAttention


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))


class Written:
    """The rule as it is printed: attention layers that keep their weights, ``R`` as a whole matrix."""

    def __init__(self, monkeypatch):
        self.weights = []

        def plain_forward(layer, x, *args, attn_mask=None, **kwargs):
            qkv = nn.functional.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2) for part in qkv)
            scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
            A = (scores if attn_mask is None else scores + attn_mask).softmax(dim=-1)
            self.weights.append(A)
            return layer.out_proj((A @ v).transpose(1, 2).flatten(2)), None

        def kronecker_forward(layer, x, num_frames, class_tokens_only=False):
            q, k, v = layer.queries_keys_values(x)
            A = naive_attention_weights(q, k, layer.pattern, num_frames)
            self.weights.append(A)
            y = layer.merge_heads(A @ v)
            return y[:, ::x.shape[1] // num_frames] if class_tokens_only else y

        monkeypatch.setattr(nn.MultiheadAttention, "forward", plain_forward)
        monkeypatch.setattr(KroneckerAttention, "forward", kronecker_forward)

    def take(self) -> list[torch.Tensor]:
        """Weights of the layers called since the last time."""
        taken, self.weights = self.weights, []
        return taken


def matrix(score: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """``R``, ``(B, S, S)``: what each token of the last layer's output received from each of the first one's input."""
    R = torch.eye(weights[0].shape[-1])
    for A in weights:
        dA, = torch.autograd.grad(score, A, retain_graph=True)
        R = R + (A * dA).clamp(min=0).mean(dim=1) @ R
    return R.detach()


@pytest.mark.parametrize("against", [False, True], ids=["similarity", "log-odds"])
@pytest.mark.parametrize("pattern, pool", [*((pattern, "class_token") for pattern in PATTERNS), ("pipeline", "mean"),
                                           (None, "class_token")])
def test_relevance_is_the_printed_rule(pattern, pool, against, clips, monkeypatch, motion_videos, tmp_path):
    model = build(motion_videos, tmp_path, pattern, pool)
    tokens = tokens_of(model)
    others = tokens_of(model, ["rising", "growing"]) if against else None
    found = relevance(model, clips, tokens, others)

    written, head = Written(monkeypatch), model.cls_head
    features = model.backbone(clips)
    spatial = written.take()
    video = head.video_features(model.neck(features)[0] if pattern else features)
    temporal = written.take()
    text = nn.functional.normalize(head.clip.text(tokens), dim=-1)
    words = written.take()
    score = (video * text).sum(dim=1)
    torch.testing.assert_close(found.similarity, score.detach())
    if against:
        other = video @ head.clip.text_features(others).T
        score = head.clip.logit_scale.exp() * score - (head.clip.logit_scale.exp() * other).logsumexp(dim=1)
    torch.testing.assert_close(found.score, score.detach())

    B, T, L = features.shape[:3]
    read = torch.zeros(B, T, L)
    if pool == "mean":
        read += 1 / (T * L)
    else:
        read[:, :, 0] = 1 / T
    after = read.clone()
    if pattern == "class_token":
        after[:, :, :1] = (read[:, :, 0].unsqueeze(1) @ matrix(score.sum(), temporal)).transpose(1, 2)
    elif pattern:
        after = (read.flatten(1).unsqueeze(1) @ matrix(score.sum(), temporal)).reshape(B, T, L)
    image = matrix(score.sum(), spatial).unflatten(0, (B, T))
    for name, row in (("spatial", read.unsqueeze(2) @ image), ("temporal", after.unsqueeze(2)),
                      ("combined", after.unsqueeze(2) @ image)):
        expected = (row.squeeze(2) - read)[:, :, 1:].reshape(B, T, 4, 4)
        torch.testing.assert_close(getattr(found, name), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.frames, (after - read).sum(dim=2), rtol=1e-4, atol=1e-6)
    R = matrix(score.sum(), words)
    for b, end in enumerate(tokens.argmax(dim=1)):
        torch.testing.assert_close(found.text[b, :end], R[b, end, :end], rtol=1e-4, atol=1e-6)
        assert not found.text[b, end:].any()
        assert found.text[b, :end].sum() > 0


def test_a_clip_is_explained_alike_alone_and_in_a_batch(clips, motion_videos, tmp_path):
    model = build(motion_videos, tmp_path)
    tokens = tokens_of(model)
    together = relevance(model, clips, tokens)
    for i in range(2):
        alone = relevance(model, clips[i:i + 1], tokens[i:i + 1])
        for name in vars(together):
            torch.testing.assert_close(getattr(alone, name)[0], getattr(together, name)[i], rtol=1e-4, atol=1e-6)


def test_rows_taken_a_few_at_a_time_give_the_same(clips, motion_videos, tmp_path, monkeypatch):
    model = build(motion_videos, tmp_path, "kmct")
    whole = relevance(model, clips, tokens_of(model))
    monkeypatch.setattr("claver_mm.explain.attention.WEIGHTS_AT_ONCE", 7 * 2 * 2 * 68)
    for name, value in vars(relevance(model, clips, tokens_of(model))).items():
        torch.testing.assert_close(value, getattr(whole, name), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pattern", ["kmt", "kmct"])
def test_the_explained_path_is_the_normal_one_and_leaves_no_trace(pattern, clips, motion_videos, tmp_path):
    model = build(motion_videos, tmp_path, pattern)
    tokens = tokens_of(model)
    model.cls_head.set_texts(tokens)

    def normal() -> tuple[torch.Tensor, ...]:
        clip = clips.clone().requires_grad_()
        logits = model.cls_head(model.neck(model.backbone(clip))[0])[:, 0]
        used = [clip, *(p for name, p in model.named_parameters() if "logit_scale" not in name)]
        return logits, *torch.autograd.grad(logits.diagonal().sum() / model.cls_head.clip.logit_scale.exp(), used)

    before = normal()
    hooks = [len(module._forward_hooks) for module in model.modules()]
    explained = relevance(model, clips, tokens)
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    for old, new in zip(before, normal(), strict=True):
        assert torch.equal(old, new)
    torch.testing.assert_close(explained.score, before[0].diagonal() / model.cls_head.clip.logit_scale.exp())


def test_gradients_of_recorded_layers_equal_those_of_layers_that_keep_their_weights(clips, motion_videos, tmp_path,
                                                                                   monkeypatch):
    model = build(motion_videos, tmp_path)

    def gradients() -> list[torch.Tensor]:
        video = model.cls_head.video_features(model.neck(model.backbone(clips))[0])
        text = model.cls_head.clip.text(tokens_of(model))
        return list(torch.autograd.grad((video * nn.functional.normalize(text, dim=-1)).sum(), [
            p for name, p in model.named_parameters() if "logit_scale" not in name]))

    layers = [module for module in model.modules() if isinstance(module, nn.MultiheadAttention | KroneckerAttention)]
    with record_attention(layers) as calls:
        recorded = gradients()
    assert len(calls) == len(layers)
    Written(monkeypatch)
    for found, written in zip(recorded, gradients(), strict=True):
        assert (found - written).abs().max() <= 1e-5 * written.abs().max().clamp(min=1)


@pytest.mark.parametrize("pattern, place, felt", [("joint", "after", False), ("joint", "before", True),
                                                  ("kmct", "after", True), ("kmt", "after", True)])
def test_words_feel_shuffled_patches_where_the_pattern_does(pattern, place, felt, clips, motion_videos, tmp_path):
    model = build(motion_videos, tmp_path, pattern)
    plain = relevance(model, clips, tokens_of(model))
    with shuffle_tokens(model.neck.transformer, place):
        shuffled = relevance(model, clips, tokens_of(model))
    for name in ("text", "similarity"):
        difference = (getattr(shuffled, name) - getattr(plain, name)).abs().max()
        assert (difference > 1e-3 * getattr(plain, name).abs().max()) == felt


def test_frozen_and_checkpointed_towers_are_explained_alike_and_under_no_grad(clips, motion_videos, tmp_path):
    model = build(motion_videos, tmp_path)
    expected = relevance(model, clips, tokens_of(model))
    model.requires_grad_(False)
    model.backbone.visual.set_grad_checkpointing(True)
    model.cls_head.clip.text.set_grad_checkpointing(True)
    with torch.no_grad():
        found = relevance(model, clips, tokens_of(model))
    with torch.inference_mode():
        again = relevance(model, clips, tokens_of(model))
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(getattr(again, name), value, rtol=1e-4, atol=1e-6)


def test_bad_input_is_refused(clips, motion_videos, tmp_path):
    model = build(motion_videos, tmp_path)
    tokens = tokens_of(model)
    with pytest.raises(ValueError, match=r"one text for each.*\(1, 24\)"):
        relevance(model, clips, tokens[:1])
    with pytest.raises(ValueError, match="eval"):
        relevance(model.train(), clips, tokens)
    with pytest.raises(ValueError, match="CLIPBackbone and a ContrastiveTextHead, got NoneType"):
        relevance(nn.Linear(2, 2), clips, tokens)
    model.eval().neck = nn.Identity()
    with pytest.raises(ValueError, match="a TemporalNeck or no neck, got Identity"):
        relevance(model, clips, tokens)
    with pytest.raises(ValueError, match="not Linear"), record_attention([nn.Linear(2, 2)]):
        pass
