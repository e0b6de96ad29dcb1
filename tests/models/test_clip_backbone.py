"""The CLIP image tower as a backbone of its own."""
import pytest
import torch
from mmaction.registry import MODELS
from toy import TINY


def backbone(**kwargs):
    return MODELS.build(dict(type="CLIPBackbone", arch=TINY, **kwargs))


def test_gives_all_tokens_of_every_frame():
    assert backbone()(torch.randn(2, 3, 4, 32, 32)).shape == (2, 4, 17, 64)


def test_frames_do_not_see_each_other():
    model, clip = backbone().eval(), torch.randn(1, 3, 4, 32, 32)
    assert torch.allclose(model(clip)[:, 2:3], model(clip[:, :, 2:3]), atol=1e-6)


def test_frozen_tower_has_no_gradients_and_stays_in_evaluation_mode():
    model = backbone(frozen=True)
    model.train()
    assert not model.visual.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_gradient_checkpointing_changes_no_gradient():
    plain, saving = backbone(), backbone(grad_checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    clip = torch.randn(1, 3, 2, 32, 32)
    for model in (plain, saving):
        model.train()(clip).square().sum().backward()
    for (name, got), (_, expected) in zip(saving.named_parameters(), plain.named_parameters()):
        assert torch.allclose(got.grad, expected.grad, atol=1e-5), name


def test_another_input_size():
    assert backbone(image_size=48)(torch.randn(1, 3, 2, 48, 48)).shape == (1, 2, 37, 64)


def test_frames_without_a_time_axis_are_refused():
    with pytest.raises(ValueError, match=r"expected clips \(B, 3, T, h, w\), got shape \(2, 3, 32, 32\)"):
        backbone()(torch.randn(2, 3, 32, 32))


def test_a_grid_of_fewer_tokens_has_their_means_and_the_prefix_as_it_is():
    whole, fewer = backbone().eval(), backbone(token_grid=2).eval()
    fewer.load_state_dict(whole.state_dict())
    clip = torch.randn(1, 3, 2, 32, 32)
    with torch.no_grad():
        tokens, pooled = whole(clip), fewer(clip)
    by_hand = tokens[:, :, 1:].unflatten(2, (2, 2, 2, 2)).mean(dim=(3, 5)).flatten(2, 3)
    torch.testing.assert_close(pooled, torch.cat([tokens[:, :, :1], by_hand], dim=2))


@pytest.mark.parametrize("side", [1, 4, 9])
def test_a_grid_that_is_not_coarser_is_refused(side):
    with pytest.raises(ValueError, match=f"token_grid={side} must lie between 2 and 3; the grid has 4 a side"):
        backbone(token_grid=side)(torch.randn(1, 3, 1, 32, 32))
