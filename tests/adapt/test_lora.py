"""Low-rank updates train everything that attention has, and merge into what the tower computed with them."""
import pytest
import torch
from small import TOWERS
from torch import nn

from claver_mm.adapt.lora import LowRank, add_lora, is_direction, merge_lora
from claver_mm.towers.architectures import tower_of
from claver_mm.towers.image import build_image_trunk, image_tokens

WITHOUT_ATTENTION = ("resnet", "convnext", "mobileclip")


def test_updates_of_all_four_parts_learn_and_nothing_else():
    """peft, on such layers, trains nothing of ``out_proj`` (peft issue 761)."""
    torch.manual_seed(0)
    attention = nn.Sequential(nn.MultiheadAttention(8, 2, batch_first=True))
    assert add_lora(attention, 2) == 2
    x = torch.randn(2, 3, 8)
    loss = attention[0](x, x, x)[0].square().sum()
    loss.backward()
    learning = {name: parameter for name, parameter in attention.named_parameters() if parameter.requires_grad}
    assert all(".parametrizations." in f".{name}" for name in learning)
    for name, parameter in learning.items():
        if not is_direction(f".{name}"):
            assert parameter.grad.abs().sum() > 0, name
            if "in_proj" in name:
                assert (parameter.grad.flatten(1).abs().sum(dim=1) > 0).all()  # queries, keys, values
    assert sum(p.numel() for p in learning.values()) == 2 * (3 * (8 + 8) + (8 + 8))


def test_an_update_is_that_of_its_matrices():
    torch.manual_seed(0)
    weight, low = torch.randn(6, 4), LowRank(torch.empty(6, 4), 2, 3)
    nn.init.normal_(low.B)
    by_hand = torch.cat([weight[2 * part:2 * part + 2] + low.B[part] @ low.A[part] for part in range(3)])
    torch.testing.assert_close(low(weight), by_hand)


@pytest.mark.parametrize("kind", [kind for kind in TOWERS if kind not in WITHOUT_ATTENTION])
def test_a_tower_begins_as_it_was_learns_and_keeps_what_it_learnt_when_merged(kind):
    torch.manual_seed(0)
    arch = TOWERS[kind]
    trunk = build_image_trunk(arch).eval()
    frames = torch.randn(2, 3, *tower_of(arch).image_size)
    with torch.no_grad():
        before, names = image_tokens(trunk, frames), set(trunk.state_dict())
        add_lora(trunk, 2)
        torch.testing.assert_close(image_tokens(trunk, frames), before)
    image_tokens(trunk, frames).square().mean().backward()
    updates = [(name, p) for name, p in trunk.named_parameters() if p.requires_grad]
    assert updates and all(p.grad.abs().sum() > 0 for name, p in updates if not is_direction(name))
    with torch.no_grad():
        for _, parameter in updates:
            parameter.add_(torch.randn_like(parameter) * 0.1)
        learnt = image_tokens(trunk, frames)
        assert (learnt - before).abs().max() > 1e-7  # some towers scale their branches by 1e-5 at first
        merge_lora(trunk)
        torch.testing.assert_close(image_tokens(trunk, frames), learnt, rtol=1e-4, atol=1e-5)
    assert set(trunk.state_dict()) == names


@pytest.mark.parametrize("kind", WITHOUT_ATTENTION)
def test_a_tower_without_attention_is_refused(kind):
    with pytest.raises(ValueError, match="no attention whose weights LoRA could update"):
        add_lora(build_image_trunk(TOWERS[kind]), 2)


def test_a_rank_of_none_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        add_lora(build_image_trunk(TOWERS["resnet"]), 0)
