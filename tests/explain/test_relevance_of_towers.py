"""Relevance behind every kind of tower, against the rule written out with whole matrices by the layers' slow paths."""

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from small import TOWERS
from timm.layers import AttentionPoolLatent
from timm.models.eva import AttentionRope, EvaAttention
from timm.models.vision_transformer import Attention
from tiny_claver import TEXTS, clips_of, of_tower
from torch import nn
from torch.nn.functional import linear, normalize
from torch.overrides import TorchFunctionMode

from claver_mm.attention import naive_attention_weights
from claver_mm.explain.layers import attention_layers, record_attention
from claver_mm.explain.relevance import relevance
from claver_mm.temporal import KroneckerAttention

UNREAD = ("resnet", "relpos", "convnext", "mobileclip", "swin")


class Written(TorchFunctionMode):
    """Layers take their slow path, and what their softmaxes give is kept."""

    def __init__(self, model, monkeypatch):
        super().__init__()
        self.weights = []
        for module in model.modules():
            if hasattr(module, "fused_attn"):
                monkeypatch.setattr(module, "fused_attn", False)
        monkeypatch.setattr(nn.MultiheadAttention, "forward", plain_forward)
        monkeypatch.setattr(KroneckerAttention, "forward", kronecker_forward)
        monkeypatch.setattr(AttentionPool2d, "forward", map_forward)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.Tensor.softmax:
            self.weights.append(result)
        return result

    def take(self):
        taken, self.weights = self.weights, []
        return taken


def plain_forward(layer, query, key, value, attn_mask=None, **_):
    weights = (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
    weights = layer.in_proj_weight.chunk(3) if weights[0] is None else weights
    q, k, v = (linear(x, *parts).unflatten(-1, (layer.num_heads, -1)).transpose(1, 2)
               for x, *parts in zip((query, key, value), weights, layer.in_proj_bias.chunk(3)))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if attn_mask is not None:
        scores = scores + (attn_mask if attn_mask.ndim == 2 else attn_mask.unflatten(0, (len(q), -1)))
    return layer.out_proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)), None


def kronecker_forward(layer, x, num_frames, class_tokens_only=False):
    q, k, v = layer.queries_keys_values(x)
    y = layer.merge_heads(naive_attention_weights(q, k, layer.pattern, num_frames) @ v)
    return y[:, ::x.shape[1] // num_frames] if class_tokens_only else y


def map_forward(pool, x):
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + pool.positional_embedding
    q, k, v = (part(x).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
               for part in (pool.q_proj, pool.k_proj, pool.v_proj))
    A = (q[:, :, :1] @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
    return pool.c_proj((A @ v).transpose(1, 2).flatten(1))


def cam(score, A):
    """``E_h((dA * A)+)``."""
    dA, = torch.autograd.grad(score, A, retain_graph=True)
    return (A * dA).clamp(min=0).mean(dim=1)


def matrix(score, weights):
    R = torch.eye(weights[0].shape[-1], dtype=score.dtype)
    for A in weights:
        R = R + cam(score, A) @ R
    return R.detach()


@pytest.mark.parametrize("kind, pattern", [*((kind, "kmct") for kind in TOWERS),
                                           *((kind, None) for kind in TOWERS if kind not in UNREAD)])
def test_relevance_behind_a_tower_is_the_printed_rule(kind, pattern, monkeypatch):
    model = of_tower(kind, pattern).double()
    clips, tokens = clips_of(model).double(), model.tokenize(TEXTS)
    found = relevance(model, clips, tokens)

    tower = model.clip.tower
    with Written(model, monkeypatch) as written:
        features = model.image_tokens(clips.requires_grad_())
        spatial = written.take()
        mixed = model.mix(features)
        temporal = written.take()
        video = model.read(mixed).mean(dim=1)
        pooling = written.take()
        text = normalize(model.clip.text(tokens), dim=-1)
        words = written.take()
    score = (video * text).sum()
    torch.testing.assert_close(found.similarity.sum(), score.detach())

    B, T, L = features.shape[:3]
    read, given = features.new_zeros(B, T, L), features.new_zeros(B, T, L)
    if tower.pooling == "class_token":
        read[:, :, 0] = 1 / T
    elif tower.pooling == "mean":
        read[:, :, tower.num_prefix:] = 1 / (T * tower.grid[0] * tower.grid[1])
    else:
        of_queries = cam(score, pooling[0])[:, 0].detach().unflatten(0, (B, T))
        if kind == "resnet":  # the mean of the map is a token of it
            of_queries = of_queries[..., 1:] + of_queries[..., :1] / L
        given[..., -of_queries.shape[-1]:] = of_queries / T
        read = given / given.sum(dim=2, keepdim=True) / T
        assert read.sum(dim=2).allclose(score.new_tensor(1 / T))
    after = read
    if pattern:
        after = (read.flatten(1).unsqueeze(1) @ matrix(score, temporal)).reshape(B, T, L)
    expected = dict(temporal=after - read + given if pattern else torch.zeros_like(read))
    torch.testing.assert_close(found.frames, expected["temporal"].sum(dim=2))
    if kind in UNREAD:
        assert found.spatial is found.combined is None
    else:
        image = matrix(score, spatial).unflatten(0, (B, T))
        expected.update({name: (row.unsqueeze(2) @ image).squeeze(2) - read + given
                         for name, row in (("spatial", read), ("combined", after))})
    for name, value in expected.items():
        value = value[:, :, tower.num_prefix:].unflatten(2, tower.grid)
        torch.testing.assert_close(getattr(found, name), value)
        assert value.max() > 1e-5 or (name == "temporal" and pattern is None)

    ends = {"coca": torch.tensor([24, 24]), "clipa": torch.tensor([23, 23]), "siglip": torch.tensor([23, 23])}.get(
        kind, tokens.argmax(dim=1))
    R = matrix(score, words)
    rows = R[torch.arange(B), ends].scatter(1, ends[:, None], 0)[:, :24]
    torch.testing.assert_close(found.text, rows)


@pytest.mark.parametrize("layer", [
    Attention(16, 2, qkv_bias=True), Attention(16, 2, qk_norm=True, scale_norm=True, norm_layer=nn.LayerNorm),
    EvaAttention(16, 2, norm_layer=nn.LayerNorm), EvaAttention(16, 2, qkv_fused=False, qk_norm=True,
                                                               norm_layer=nn.LayerNorm),
    EvaAttention(16, 2, qkv_bias_separate=True, scale_norm=False), AttentionRope(16, 2),
    AttentionRope(16, 2, qkv_fused=False, rotate_half=True), AttentionPoolLatent(16, num_heads=2),
    AttentionPoolLatent(16, num_heads=2, latent_len=3, qk_norm=True, feat_size=7, pos_embed="abs")],
    ids=["Attention", "with norms", "EvaAttention", "unfused", "separate bias", "AttentionRope", "half",
         "AttentionPoolLatent", "with positions"])
def test_weights_are_those_of_the_layers_own_unfused_path(layer, monkeypatch):
    for parameter in layer.double().parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, 7, 16, requires_grad=True, dtype=torch.float64)
    how = dict(rope=torch.randn(6, 16, dtype=torch.float64)) if isinstance(layer, AttentionRope | EvaAttention) else {}
    with record_attention([layer]) as calls:
        y = layer(x, **how)
    direction = torch.randn_like(y)
    gradient, = torch.autograd.grad((y * direction).sum(), calls[0].output)
    with Written(layer, monkeypatch) as written:
        slow = layer(x, **how)
    torch.testing.assert_close(y, slow)
    expected, = written.take()
    dA, = torch.autograd.grad((slow * direction).sum(), expected)
    (rows, A, found), = calls[0].weights(gradient)
    assert rows.tolist() == list(range(expected.shape[2]))
    torch.testing.assert_close(A, expected)
    torch.testing.assert_close(found, dA)


@pytest.mark.parametrize("kind", ["siglip", "pe", "eva"])
@pytest.mark.parametrize("how", ["half", "checkpointed and frozen"])
def test_towers_of_timm_are_explained_alike_in_half_precision_and_checkpointed(kind, how):
    model = of_tower(kind)
    clips, tokens = clips_of(model), model.tokenize(TEXTS)
    expected = relevance(model, clips, tokens)
    if how == "half":
        found = relevance(model.bfloat16(), clips.bfloat16(), tokens)
    else:
        model.requires_grad_(False).visual.set_grad_checkpointing(True)
        with torch.inference_mode():
            found = relevance(model, clips, tokens)
    for name, value in vars(expected).items():
        given = getattr(found, name)
        assert given.dtype == torch.float32
        if how == "half":
            pair = torch.stack([given.flatten(), value.flatten()])
            assert name in ("similarity", "score") or torch.corrcoef(pair)[0, 1] > 0.9, name
        else:
            torch.testing.assert_close(given, value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", UNREAD)
def test_towers_that_cannot_be_read_have_a_temporal_map_alone_and_nothing_without_a_temporal_part(kind):
    model = of_tower(kind)
    assert attention_layers(model.visual) is None
    found = relevance(model, clips_of(model), model.tokenize(TEXTS))
    assert found.spatial is found.combined is None
    assert found.temporal.shape == (2, 4, *model.clip.tower.grid) and (found.temporal.flatten(1).amax(1) > 0).all()
    model = of_tower(kind, None)
    with pytest.raises(ValueError, match="nothing here can be explained"):
        relevance(model, clips_of(model), model.tokenize(TEXTS))


def test_maps_have_the_grid_of_another_input_size():
    model = of_tower("siglip", image_size=48)
    assert relevance(model, clips_of(model), model.tokenize(TEXTS)).combined.shape == (2, 4, 6, 6)
