"""Token shuffling against what is known of each pattern."""
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from claver_mm.attention import PATTERNS
from claver_mm.explain.shuffling import shuffle_tokens, token_order
from claver_mm.randomness import mixed_seed
from claver_mm.temporal import KroneckerTransformer


def transformer(pattern="kmt", **kwargs) -> KroneckerTransformer:
    sizes = dict(width=16, heads=2, depth=2, num_frames=3, pattern=pattern, embedding_std=0.5)
    return KroneckerTransformer(**{**sizes, **kwargs}).eval()


def clips(B=2) -> torch.Tensor:
    return torch.randn(B, 3, 5, 16)  # T=3, L=5


@torch.no_grad()
def run(model, x, *place, **options):
    if not place:
        return model(x)
    with shuffle_tokens(model, *place, **options):
        return model(x)


def same(a, b) -> bool:
    return torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("pattern, classes_kept, patches_kept", [
    ("joint", True, True), ("kmt", False, False), ("kmct", False, False), ("spatial", False, False),
    ("pipeline", True, False),  # class tokens see class tokens alone, which stay
])
def test_after_the_embedding_joint_attention_does_not_notice_and_masks_do(pattern, classes_kept, patches_kept):
    model, x = transformer(pattern), clips()
    plain, shuffled = run(model, x), run(model, x, "after")
    assert same(plain[:, :, 0], shuffled[:, :, 0]) is classes_kept
    assert same(plain[:, :, 1:].mean((1, 2)), shuffled[:, :, 1:].mean((1, 2))) is patches_kept


def test_joint_attention_gives_the_same_tokens_in_another_order():
    model, x = transformer("joint"), clips(1)
    order = token_order(15, 3, "patches", mixed_seed(7, 0))
    assert same(run(model, x, "after", seed=7).flatten(1, 2), run(model, x).flatten(1, 2)[:, order])


@pytest.mark.parametrize("std, kept", [(0.5, False), (0.0, True)])
def test_before_the_embedding_joint_attention_notices_by_the_embedding_alone(std, kept):
    model, x = transformer("joint"), clips()
    model.temporal_embedding.data.mul_(std / 0.5)
    assert same(run(model, x)[:, :, 0], run(model, x, "before")[:, :, 0]) is kept


@pytest.mark.parametrize("pattern", ["kmt", "kmct"])
def test_before_the_embedding_kronecker_masks_notice_without_one(pattern):
    model, x = transformer(pattern), clips()
    model.temporal_embedding.data.zero_()
    assert not same(run(model, x)[:, :, 0], run(model, x, "before")[:, :, 0])


def test_before_and_after_differ_by_the_embedding_that_a_token_gets():
    """Before: shuffled tokens, then the embedding of the frame they landed in. After: their own embedding."""
    model, x = transformer("kmt"), clips(1)
    entered = []
    model.resblocks[0].register_forward_pre_hook(lambda block, args: entered.append(args[0]))
    run(model, x, "before", seed=3)
    with shuffle_tokens(model, "after", seed=3):
        model.resblocks[0].register_forward_pre_hook(lambda block, args: entered.append(args[0]))
        model(x)
    before, after = entered[0], entered[-1]
    embedding = model.temporal_embedding.repeat_interleave(5, dim=1)
    assert before.shape == after.shape == (1, 15, 16)
    tokens = (before - embedding)[0]  # rows of x in another order
    origin = (tokens[:, None] - x.flatten(1, 2)).abs().sum(-1).argmin(1)
    assert sorted(origin.tolist()) == list(range(15)) and origin.tolist() != list(range(15))
    assert torch.allclose(after[0], (x.flatten(1, 2) + embedding)[0, origin], atol=1e-6)


@pytest.mark.parametrize("tokens, moved", [("patches", False), ("all", True)])
def test_class_tokens_stay_unless_all_tokens_are_asked_for(tokens, moved):
    order = token_order(4 * 9, 4, tokens, seed=0)
    assert sorted(order.tolist()) == list(range(36))
    assert (order[::9].tolist() != [0, 9, 18, 27]) is moved
    patches = order[order % 9 != 0]
    assert len(set((patches // 9).tolist())) == 4 and patches.tolist() != sorted(patches.tolist())


def test_where_there_is_no_class_token_all_patches_move():
    assert torch.equal(token_order(36, 4, "patches", 0, num_prefix=0), token_order(36, 4, "all", 0))
    assert token_order(36, 4, "patches", 0, num_prefix=2)[:2].tolist() == [0, 1]


def test_shuffling_all_tokens_keeps_the_mean_over_all_outputs_of_joint_attention_and_moves_its_class_tokens():
    model, x = transformer("joint"), clips()
    plain, shuffled = run(model, x), run(model, x, "after", tokens="all")
    assert same(plain.mean((1, 2)), shuffled.mean((1, 2)))
    assert not same(plain[:, :, 0].mean(1), shuffled[:, :, 0].mean(1))


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_clip_is_shuffled_alike_in_batches_of_any_size_and_otherwise_than_the_next(place):
    model, x = transformer("kmct"), clips(3)
    together = run(model, x, place, seed=5)
    with shuffle_tokens(model, place, seed=5), torch.no_grad():
        apart = torch.cat([model(x[:1]), model(x[1:])])
    assert same(together, apart)
    twins = run(model, x[:1].repeat(2, 1, 1, 1), place)
    assert not same(twins[0], twins[1])
    assert not same(together, run(model, x, place, seed=6))


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
@pytest.mark.parametrize("place", ["before", "after"])
def test_every_pattern_gives_class_tokens_alone_as_among_all(pattern, place):
    whole, classes = transformer(pattern), transformer(pattern, class_tokens_only=True)
    classes.load_state_dict(whole.state_dict())
    x = clips()
    assert same(run(whole, x, place)[:, :, :1], run(classes, x, place))


@pytest.mark.parametrize("place", ["before", "after"])
def test_class_token_attention_never_sees_the_patches_that_are_shuffled(place):
    model, x = transformer("class_token"), clips()
    assert torch.equal(run(model, x)[:, :, 0], run(model, x, place)[:, :, 0])


@pytest.mark.parametrize("place", ["before", "after"])
def test_hooks_are_gone_after_an_exception(place):
    model, x = transformer(), clips()
    plain = run(model, x)
    with pytest.raises(RuntimeError, match="in between"), shuffle_tokens(model, place):
        raise RuntimeError("in between")
    assert torch.equal(run(model, x), plain)
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("options, says", [
    (dict(place="PreTE"), "unknown place 'PreTE'; one of before, after"),
    (dict(tokens="frames"), "unknown tokens 'frames'; one of patches, all"),
])
def test_unknown_values_are_named(options, says):
    with pytest.raises(ValueError, match=says), shuffle_tokens(transformer(), **options):
        pass


def test_another_module_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="got Linear; of a model's neck give neck.transformer"), \
            shuffle_tokens(nn.Linear(2, 2)):
        pass


@pytest.mark.parametrize("place", ["before", "after"])
def test_modules_may_be_called_by_keyword(place):
    """One keyword, and the hook died of unpacking positional arguments."""
    model, x = transformer(), clips()
    tokens = x.flatten(1, 2)
    with shuffle_tokens(model, place), torch.no_grad():
        found = model(x=x) if place == "before" else model.resblocks[0](num_frames=3, x=tokens)
    with shuffle_tokens(model, place), torch.no_grad():
        assert torch.equal(found, model(x) if place == "before" else model.resblocks[0](tokens, 3))
    assert not same(found, run(model, x) if place == "before" else model.resblocks[0](tokens, 3))


def test_another_thread_is_not_shuffled():
    model, x = transformer(), clips()
    plain, first = run(model, x), run(model, x, "before")
    with shuffle_tokens(model), ThreadPoolExecutor(1) as pool:
        assert torch.equal(pool.submit(run, model, x).result(), plain)
        assert torch.equal(run(model, x), first)


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_compiled_transformer_is_refused_where_nothing_would_be_shuffled(place):
    model = transformer()
    (model if place == "before" else model.resblocks[0]).compile()
    with pytest.raises(ValueError, match="is compiled, and compiled code does not call hooks"), \
            shuffle_tokens(model, place):
        pass
