"""One neck for CLIP tokens and for the feature maps of other recognisers."""
import pytest
import torch
from mmaction.registry import MODELS
from toy import ROOT, TINY

from claver_mm.attention import PATTERNS
from claver_mm.engine.configs import read_config
from claver_mm.models.temporal_neck import number_of_blocks
from claver_mm.temporal import QuickGELU


def neck(kind="TemporalNeck", **kwargs):
    return MODELS.build(dict(dict(type=kind, in_channels=16, num_heads=2, num_frames=4, depth=1), **kwargs))


def test_arch_gives_width_heads_activation_and_a_third_of_the_depth():
    model = MODELS.build(dict(type="KMTNeck", arch="B/16"))
    blocks = model.transformer.resblocks
    assert (model.in_channels, len(blocks), blocks[0].attn.heads) == (768, 4, 12)
    assert isinstance(blocks[0].mlp.act, QuickGELU)
    assert [number_of_blocks(1 / 3, depth) for depth in (24, 5, 1)] == [8, 2, 1]


@pytest.mark.parametrize("kind, pattern", [("KMTNeck", "kmt"), ("KMCTNeck", "kmct")])
def test_names_of_the_paper_are_patterns(kind, pattern):
    assert neck(kind).transformer.pattern == pattern


@pytest.mark.parametrize("shape", [(2, 4, 5, 16), (2, 16, 4, 3, 5), (8, 16, 3, 5)],
                         ids=["tokens", "maps of Recognizer3D", "maps of Recognizer2D"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_shape_stays(shape, pattern):
    x = torch.randn(shape)
    out, losses = neck(pattern=pattern)(x, data_samples=None)
    assert out.shape == x.shape and losses == {}


def test_maps_are_tokens_in_another_order():
    model = neck(pattern="kmct").eval()
    tokens = torch.randn(2, 4, 15, 16)
    expected, _ = model(tokens)
    maps3d = tokens.permute(0, 3, 1, 2).unflatten(3, (3, 5))
    assert torch.allclose(model(maps3d)[0].flatten(3).permute(0, 2, 3, 1), expected, atol=1e-6)
    maps2d = tokens.flatten(0, 1).transpose(1, 2).unflatten(2, (3, 5))
    assert torch.allclose(model(maps2d)[0].flatten(2).transpose(1, 2).unflatten(0, (2, 4)), expected, atol=1e-6)


def test_a_narrow_transformer_starts_as_the_identity_and_learns():
    model = neck(embed_dims=8)
    x = torch.randn(2, 4, 5, 16)
    assert torch.equal(model(x)[0], x)
    model(x)[0].square().sum().backward()
    assert model.project[1].weight.grad.abs().sum() > 0


def test_another_number_of_frames_is_taken_or_refused():
    x = torch.randn(1, 8, 5, 16)
    assert neck()(x)[0].shape == x.shape
    with pytest.raises(ValueError, match="a clip of 8 frames, but the temporal embedding is made for 4"):
        neck(interpolate=False)(x)


@pytest.mark.parametrize("shape, says", [
    ((6, 16, 3, 3), "6 feature maps do not divide into clips of num_frames=4"),
    ((2, 4, 5, 8), "are no tokens or maps of in_channels=16"),
    ((2, 16, 5, 16), "could be tokens or maps; set layout"),
])
def test_features_that_do_not_fit_are_named(shape, says):
    with pytest.raises(ValueError, match=says):
        neck()(torch.randn(shape))


def test_a_list_of_maps_points_to_the_recogniser_that_fits():
    with pytest.raises(ValueError, match="Recognizer2DWithNeck"):
        neck()([torch.randn(2, 16, 4, 3, 3)])


@pytest.mark.parametrize("kwargs, says", [
    (dict(pattern="kmtt"), "unknown attention pattern 'kmtt'"),
    (dict(depth=0), "depth must be"),
    (dict(depth=1.5), "write 2 for a number of blocks"),
    (dict(depth=1 / 3), "give backbone_depth"),
    (dict(in_channels=None), "give in_channels"),
    (dict(act="relu"), "unknown act 'relu'"),
    (dict(layout="map"), "layout must be"),
    (dict(kind="KMTNeck", pattern="kmct"), "KMTNeck has the pattern 'kmt'; use TemporalNeck"),
    (dict(num_frames=0), "num_frames must be an integer of at least 1, got 0"),
    (dict(num_heads=0), "heads must be an integer of at least 1, got 0"),
])
def test_bad_settings_are_named(kwargs, says):
    """No heads were taken for the default."""
    with pytest.raises(ValueError, match=says):
        neck(**kwargs)


def test_tiny_arch_depth():
    assert len(MODELS.build(dict(type="KMTNeck", arch=TINY)).transformer.resblocks) == 1


def test_class_tokens_only_is_the_switch_of_the_claver_configs():
    assert read_config(ROOT / "configs/claver_b16_k400.py").model.neck.class_tokens_only
    assert neck(class_tokens_only=True)(torch.randn(2, 4, 5, 16))[0].shape == (2, 4, 1, 16)
    assert neck(class_tokens_only=True, embed_dims=8)(torch.randn(2, 4, 5, 16))[0].shape == (2, 4, 1, 16)


def test_feature_maps_have_no_class_token():
    with pytest.raises(ValueError, match="have no class token; set class_tokens_only=False"):
        neck(class_tokens_only=True)(torch.randn(8, 16, 3, 3))
