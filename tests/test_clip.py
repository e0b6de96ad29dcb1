"""Our split of the towers against open_clip's whole model."""
from types import SimpleNamespace

import open_clip
import pytest
import torch
from toy import TINY

from claver_mm.clip import (
    CLIPHead,
    activation,
    build_image_trunk,
    image_tokens,
    model_config,
    resize_positions,
    tokenize,
)
from claver_mm.temporal import QuickGELU
from claver_mm.towers.architectures import tower_of
from claver_mm.weights import head_weights, image_trunk_weights, load_strict

B32_SHALLOW = model_config("B/32")
B32_SHALLOW["vision_cfg"]["layers"] = B32_SHALLOW["text_cfg"]["layers"] = 2


@pytest.mark.parametrize("name, depth, width, patch, size", [
    ("B/32", 12, 768, 32, 224), ("B/16", 12, 768, 16, 224),
    ("L/14", 24, 1024, 14, 224), ("L/14@336", 24, 1024, 14, 336),
])
def test_paper_names_give_openai_architectures(name, depth, width, patch, size):
    config = model_config(name)
    vision = config["vision_cfg"]
    sizes = [vision[key] for key in ("layers", "width", "patch_size", "image_size")]
    assert sizes == [depth, width, patch, size]
    assert config["quick_gelu"] and activation(name) is QuickGELU


@pytest.mark.parametrize("arch", [B32_SHALLOW, TINY], ids=["B/32 of 2 layers", "tiny"])
def test_trunk_and_head_together_are_open_clip(arch):
    config = model_config(arch)
    whole = open_clip.CustomTextCLIP(**config).eval()
    trunk, head = build_image_trunk(arch).eval(), CLIPHead(arch).eval()
    load_strict(trunk, image_trunk_weights(whole.state_dict()), "whole")
    load_strict(head, head_weights(whole.state_dict()), "whole")
    size = config["vision_cfg"]["image_size"]
    images, texts = torch.randn(2, 3, size, size), tokenize(["a cat runs", "a dog"], arch)
    with torch.no_grad():
        frames = head.frame_features(image_tokens(trunk, images).unsqueeze(1)).squeeze(1)
        assert torch.allclose(frames, whole.encode_image(images, normalize=True), atol=1e-6)
        assert torch.allclose(head.text_features(texts), whole.encode_text(texts, normalize=True), atol=1e-6)


def test_a_trunk_from_scratch_starts_as_clip_does():
    """open_clip leaves PyTorch's own start to its image tower, which learns several times more slowly."""
    for block in build_image_trunk(TINY).transformer.resblocks:
        assert block.attn.in_proj_weight.std().item() == pytest.approx(64 ** -0.5, rel=0.05)
        assert block.mlp.c_fc.bias.count_nonzero() == 0


def test_another_input_size_interpolates_the_positional_embedding():
    small, large = build_image_trunk(TINY), build_image_trunk(TINY, image_size=64)
    large.load_state_dict(small.state_dict())
    assert large.positional_embedding.shape == (65, 64)
    assert torch.equal(large.positional_embedding[0], small.positional_embedding[0])
    assert image_tokens(large, torch.randn(1, 3, 64, 64)).shape == (1, 65, 64)


def test_frames_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"built for frames of \(32, 32\) pixels, got \(40, 32\); set image_size"):
        image_tokens(build_image_trunk(TINY), torch.randn(1, 3, 40, 32))


@pytest.mark.parametrize("arch, says", [
    ("ViT-Z", "unknown architecture 'ViT-Z'"),
    (dict(embed_dim=8), "vision_cfg, text_cfg missing from {'embed_dim': 8}"),
    (dict(TINY, vision_cfg=dict(TINY["vision_cfg"], pool_type="none")), "pool_type='none'.* is not known here"),
    (dict(TINY, vision_cfg=dict(TINY["vision_cfg"], attentional_pool="parallel")), "attentional_pool='parallel'"),
])
def test_an_architecture_that_gives_no_embedding_is_refused(arch, says):
    with pytest.raises(ValueError, match=says):
        tower_of(arch)


def test_the_callers_config_is_not_changed():
    before = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
    CLIPHead(TINY)
    build_image_trunk(TINY, image_size=64)
    assert before == TINY


ARCH = dict(TINY, vision_cfg=dict(TINY["vision_cfg"], layers=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_weights_of_any_precision_fit_another_input_size(dtype):
    """OpenAI's own are in half precision, in which torch cannot interpolate: "compute_index_ranges_weights"."""
    small, wanted, large = build_image_trunk(ARCH), build_image_trunk(ARCH, 64), build_image_trunk(ARCH, 64)
    wanted.load_state_dict(small.state_dict())
    state_dict = {key: value.to(dtype) for key, value in small.state_dict().items()}
    for load in (large.load_state_dict, lambda weights: load_strict(large, weights, "a file")):
        torch.nn.init.zeros_(large.positional_embedding)
        load(state_dict)
        assert torch.allclose(large.positional_embedding, wanted.positional_embedding, atol=1e-2)


def test_positions_are_interpolated_as_open_clip_does():
    positions = torch.randn(17, 64)
    theirs = {"visual.positional_embedding": positions}
    open_clip.model.resize_pos_embed(theirs, SimpleNamespace(visual=SimpleNamespace(grid_size=(3, 5))))
    assert torch.equal(resize_positions(positions, (4, 4), (3, 5)), theirs["visual.positional_embedding"])


def test_a_grid_of_as_many_positions_is_another_grid():
    """4 x 8 positions went into 8 x 4 as they were: nearly every patch got the place of another."""
    wide, high = build_image_trunk(ARCH, (32, 64)), build_image_trunk(ARCH, (64, 32))
    high.load_state_dict(wide.state_dict())
    grid = wide.positional_embedding[1:].unflatten(0, (4, 8))
    assert not torch.equal(high.positional_embedding, wide.positional_embedding)
    assert torch.equal(high.positional_embedding, resize_positions(wide.positional_embedding, (4, 8), (8, 4)))
    assert torch.allclose(high.positional_embedding[1:].unflatten(0, (8, 4)).mean((0, 1)), grid.mean((0, 1)), atol=0.1)
    square = build_image_trunk(ARCH, 64)
    square.load_state_dict(wide.state_dict())
    assert square.positional_embedding.shape == (65, 64)


def test_a_grid_that_nobody_noted_is_told_of_or_refused():
    wide, high = build_image_trunk(ARCH, (32, 64)), build_image_trunk(ARCH, (64, 32))
    bare = dict(wide.state_dict())
    with pytest.warns(UserWarning, match="does not say of which grid its 32 positions are; taken for 8x4"):
        high.load_state_dict(bare)
    with pytest.raises(ValueError, match="has 32 positions, which are no square grid and not the model's 8x8"):
        build_image_trunk(ARCH, 64).load_state_dict(bare)
