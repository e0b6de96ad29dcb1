"""The temporal transformer: exact symmetries, embedding, drop-path."""
import pytest
import torch

from claver_mm.attention import PATTERNS
from claver_mm.temporal import DropPath, KroneckerTransformer


def transformer(pattern="kmt", **kwargs):
    return KroneckerTransformer(**dict(dict(width=16, heads=2, depth=2, num_frames=4, pattern=pattern), **kwargs))


@pytest.mark.parametrize("pattern, changes", [("kmt", False), ("joint", False), ("kmct", True)])
def test_without_embedding_only_kmct_knows_the_order_of_frames(pattern, changes):
    model = transformer(pattern).double()
    model.temporal_embedding.data.zero_()
    x = torch.randn(2, 4, 5, 16, dtype=torch.double)
    pooled = model(x)[:, :, 0].mean(1)
    backwards = model(x.flip(1))[:, :, 0].mean(1)
    assert torch.allclose(pooled, backwards, atol=1e-10) is not changes


@pytest.mark.parametrize("pattern", ["kmt", "kmct"])
def test_embedding_tells_the_order_of_frames(pattern):
    model = transformer(pattern, embedding_std=0.5).double()
    x = torch.randn(2, 4, 5, 16, dtype=torch.double)
    assert (model(x)[:, :, 0].mean(1) - model(x.flip(1))[:, :, 0].mean(1)).abs().max() > 1e-3


def test_class_token_pattern_leaves_patches_untouched():
    model = transformer("class_token")
    x = torch.randn(2, 4, 5, 16)
    out = model(x)
    embedded = x + model.temporal_embedding.unsqueeze(2)
    assert torch.equal(out[:, :, 1:], embedded[:, :, 1:])
    assert not torch.allclose(out[:, :, 0], embedded[:, :, 0])


def test_embedding_is_interpolated_for_another_number_of_frames():
    model = transformer()
    model.temporal_embedding.data = torch.arange(4.0).view(1, 4, 1).expand(1, 4, 16).clone()
    assert torch.equal(model.embedding_for(4), model.temporal_embedding)
    assert torch.allclose(model.embedding_for(8)[0, :, 0], torch.tensor([0, .25, .75, 1.25, 1.75, 2.25, 2.75, 3]))
    assert model(torch.randn(1, 8, 5, 16)).shape == (1, 8, 5, 16)


def test_weights_of_another_number_of_frames_load_interpolated():
    short, long = transformer(), transformer(num_frames=8)
    with pytest.warns(UserWarning, match="temporal_embedding is interpolated from 4 to 8 frames"):
        long.load_state_dict(short.state_dict())
    assert torch.equal(long.temporal_embedding, short.embedding_for(8))


def test_another_number_of_frames_can_be_refused():
    strict = transformer(num_frames=8, interpolate=False)
    with pytest.raises(ValueError, match="a clip of 4 frames, but the temporal embedding is made for 8"):
        strict(torch.zeros(1, 4, 5, 16))
    with pytest.raises(ValueError, match="is made for 4 frames, the model for 8; set num_frames=4"):
        strict.load_state_dict(transformer().state_dict())


def test_drop_path_drops_whole_branches_and_keeps_the_mean():
    drop = DropPath(0.25).train()
    out = drop(torch.ones(4000, 3, 2)).flatten(1)
    assert set(out.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert (out == out[:, :1]).all()
    assert abs(out.mean().item() - 1) < 0.05
    assert torch.equal(drop.eval()(torch.ones(3, 2)), torch.ones(3, 2))


def test_embedding_starts_at_std_002():
    assert abs(transformer(width=512).temporal_embedding.std().item() - 0.02) < 0.002


def test_blocks_start_as_those_of_clip():
    """in_proj at D ** -0.5, out_proj at a share of it for the number of branches, no bias."""
    blocks = transformer(width=128, depth=3).resblocks
    for name, std in (("attn.in_proj", 128 ** -0.5), ("attn.out_proj", 128 ** -0.5 * 6 ** -0.5),
                      ("mlp.c_fc", 256 ** -0.5), ("mlp.c_proj", 128 ** -0.5 * 6 ** -0.5)):
        for part in (block.get_submodule(name) for block in blocks):
            assert part.weight.std().item() == pytest.approx(std, rel=0.05), name
            assert part.bias.count_nonzero() == 0, name


@pytest.mark.parametrize("kwargs, says", [
    (dict(pattern="kmtt"), "unknown attention pattern"),
    (dict(num_frames=0), "num_frames must be an integer of at least 1, got 0"),
    (dict(heads=0), "heads must be an integer of at least 1, got 0"),
    (dict(depth=0.5), "depth must be an integer"),
    (dict(heads=3), "width 16 does not divide into 3 heads"),
    (dict(drop_path=1.0), "drop-path rate"),
])
def test_bad_sizes_are_named(kwargs, says):
    with pytest.raises(ValueError, match=says):
        transformer(**kwargs)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_class_tokens_alone_are_the_same_values_and_gradients(pattern):
    """Nothing reads the patches of the last block; its queries, projection and MLP are computed for T rows."""
    whole, alone = transformer(pattern).double(), transformer(pattern, class_tokens_only=True).double()
    alone.load_state_dict(whole.state_dict())
    x = torch.randn(2, 4, 5, 16, dtype=torch.double, requires_grad=True)
    weight = torch.randn(2, 4, 1, 16, dtype=torch.double)
    outputs, gradients = [], []
    for model in (whole, alone):
        out = model(x)[:, :, :1]
        outputs.append(out)
        gradients.append(torch.autograd.grad((out * weight).sum(), [x, *model.parameters()]))
    assert alone(x).shape == (2, 4, 1, 16)
    assert torch.allclose(*outputs, atol=1e-12)
    for got, expected in zip(*gradients):
        assert torch.allclose(got, expected, atol=1e-10)


@pytest.mark.parametrize("pattern, class_tokens_only", [
    ("kmt", False), ("kmct", True), ("class_token", False), ("class_token", True)])
def test_compiles_without_graph_breaks(pattern, class_tokens_only):
    model = transformer(pattern, class_tokens_only=class_tokens_only)
    x = torch.randn(2, 4, 5, 16)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for got, expected in zip(*(torch.autograd.grad(form(x).square().sum(), list(model.parameters()))
                               for form in (compiled, model))):
        assert torch.allclose(got, expected, atol=1e-6)
    torch._dynamo.reset()
