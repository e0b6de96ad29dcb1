"""Our split of the towers against open_clip's whole model."""
import open_clip
import pytest
import torch
from toy import TINY

from claver_mm.clip import CLIPHead, activation, build_image_trunk, image_tokens, model_config, tokenize, vision_depth
from claver_mm.temporal import QuickGELU
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
    ("ViT-Z", "unknown CLIP architecture 'ViT-Z'"), ("RN50", "'RN50' is no ViT that reads its class token"),
    (dict(embed_dim=8), "vision_cfg, text_cfg missing from {'embed_dim': 8}"),
    ("ViT-B-16-SigLIP", "is no ViT that reads its class token"), ("coca_ViT-B-32", "is no ViT that reads"),
])
def test_an_architecture_without_class_token_is_refused(arch, says):
    with pytest.raises(ValueError, match=says):
        model_config(arch)


def test_every_vit_of_open_clip_has_a_config():
    """All names of open_clip either work or are refused for want of a class token."""
    taken = set()
    for name in open_clip.list_models():
        try:
            with torch.device("meta"):
                assert len(build_image_trunk(name).transformer.resblocks) == vision_depth(name)
            taken.add(name)
        except ValueError as error:
            assert "class token" in str(error)
    assert {"ViT-B-16", "ViT-H-14", "ViT-bigG-14", "ViT-B-32-quickgelu"} <= taken


def test_the_callers_config_is_not_changed():
    before = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
    CLIPHead(TINY)
    build_image_trunk(TINY, image_size=64)
    assert before == TINY


def test_strings_need_the_vocabulary_of_the_tokenizer():
    with pytest.raises(ValueError, match="knows 100 tokens.*give token ids"):
        tokenize(["a"], dict(TINY, text_cfg=dict(TINY["text_cfg"], vocab_size=100)))
