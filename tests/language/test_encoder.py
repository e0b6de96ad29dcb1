"""Texts encoded at little cost give what the plain way gives, values and gradients."""
import copy

import numpy as np
import open_clip
import pytest
import torch
import torch.distributed as dist
from processes import run_on
from toy import TINY

from claver_mm.language.encoder import allow_short_texts, encode_texts, text_lengths
from claver_mm.towers.head import CLIPHead
from claver_mm.towers.tokenizer import tokenize

TEXTS = ["run", "a person walks up the stairs with a heavy box", "run", "jump over the fence", "swim", "a long " * 7]


def tower(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return CLIPHead(TINY).text.double()


def gradients(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in module.named_parameters()}


@pytest.mark.parametrize("how", [{}, dict(tokens_at_once=1), dict(tokens_at_once=30), dict(checkpointing=True),
                                 dict(tokens_at_once=30, checkpointing=True)], ids=str)
def test_values_and_gradients_are_those_of_the_plain_way(how):
    plain, tokens = tower(), tokenize(TEXTS, TINY)
    ours, weight = copy.deepcopy(plain), torch.randn(len(TEXTS), 32).double()
    expected, got = plain(tokens), encode_texts(ours, tokens, **how)
    torch.testing.assert_close(got, expected)
    for out in (expected, got):
        (out * weight).sum().backward()
    for name, grad in gradients(plain).items():
        torch.testing.assert_close(gradients(ours)[name], grad)


def seen_by(module: torch.nn.Module) -> list[tuple[int, int]]:
    """Shapes of the token batches that the tower will be given."""
    shapes = []
    module.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    return shapes


def test_batches_end_with_their_longest_text_and_equal_texts_are_encoded_once():
    model, tokens = tower(), tokenize(TEXTS, TINY)
    shapes = seen_by(model)
    with torch.no_grad():
        encode_texts(model, tokens)
    lengths = sorted(text_lengths(model, tokens.unique(dim=0)).tolist(), reverse=True)
    assert sum(count for count, _ in shapes) == 5 and lengths == [16, 12, 6, 3, 3]
    assert [n for _, n in shapes] == [16, 12, 6]


def test_a_batch_has_no_more_tokens_than_allowed():
    model, tokens = tower(), tokenize([f"number {i}" for i in range(50)], TINY)
    shapes = seen_by(model)
    with torch.no_grad():
        encode_texts(model, tokens, tokens_at_once=40)
    assert max(count * n for count, n in shapes) <= 40 and sum(count for count, _ in shapes) == 50


def test_checkpointing_keeps_no_activations():
    def kept(**how) -> int:
        sizes = []
        model = tower()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            encode_texts(model, tokenize([f"the number {i}" for i in range(200)], TINY), **how)
        weights = {p.numel() for p in model.parameters()}
        return sum(size for size in sizes if size not in weights)

    assert kept(checkpointing=True) < 0.02 * kept()


def test_a_tower_that_nobody_prepared_gets_its_texts_whole_and_no_hook():
    """A hook was registered at the first call, while another thread might be running the tower."""
    torch.manual_seed(0)
    model = open_clip.transformer.TextTransformer(context_length=12, vocab_size=49408, width=32, heads=2, layers=2,
                                                  output_dim=16).eval()
    tokens = open_clip.tokenize(["run", "a person walks"], 12)
    with torch.no_grad():
        torch.testing.assert_close(encode_texts(model, tokens), model(tokens), atol=1e-6, rtol=1e-5)
    assert text_lengths(model, tokens).tolist() == [12, 12] and not model.transformer._forward_pre_hooks
    for _ in range(2):
        allow_short_texts(model)
    assert text_lengths(model, tokens).tolist() == [3, 5] and len(model.transformer._forward_pre_hooks) == 1


def test_blocks_take_their_tokens_by_name():
    """``IndexError: tuple index out of range``."""
    blocks, x = tower().transformer, torch.randn(2, 5, 32).double()
    mask = torch.full((24, 24), -torch.inf).double().triu(1)
    assert torch.equal(blocks(x=x, attn_mask=mask), blocks(x, attn_mask=mask[:5, :5]))


def test_a_tower_that_is_read_at_a_named_token_is_cut_there():
    torch.manual_seed(0)
    model = open_clip.transformer.TextTransformer(context_length=12, vocab_size=100, width=32, heads=2, layers=2,
                                                  output_dim=16, pool_type="eos", eos_id=7).eval()
    allow_short_texts(model)
    tokens = torch.tensor([[5, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0], [99, 3, 4, 6, 7, 7, 0, 0, 0, 0, 0, 0]])
    assert text_lengths(model, tokens).tolist() == [3, 5]
    with torch.no_grad():
        torch.testing.assert_close(encode_texts(model, tokens), model(tokens), atol=1e-6, rtol=1e-5)


def test_what_cannot_be_encoded_is_named():
    with pytest.raises(ValueError, match=r"token ids must be of shape \(N, context\) with N > 0, got \(0, 24\)"):
        encode_texts(tower(), torch.zeros(0, 24, dtype=torch.long))
    with pytest.raises(ValueError, match="tokens_at_once must be at least 1"):
        encode_texts(tower(), tokenize(["run"], TINY), tokens_at_once=0)


def loss_of(model: torch.nn.Module, rank: int, **how) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss that a rank would have: every rank has its own video."""
    features = torch.nn.functional.normalize(encode_texts(model, tokenize(TEXTS, TINY), **how), dim=-1)
    video = torch.randn(32, generator=torch.Generator().manual_seed(rank)).double()
    return -(features @ video * 10).log_softmax(0)[rank], features


class Loss(torch.nn.Module):
    def __init__(self, tower: torch.nn.Module, rank: int, checkpointing: bool) -> None:
        super().__init__()
        self.tower, self.rank, self.checkpointing = tower, rank, checkpointing

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        return loss_of(self.tower, self.rank, share=True, tokens_at_once=24, checkpointing=self.checkpointing)


def encode_in_a_group(checkpointing: bool) -> tuple[int, list, np.ndarray, dict[str, np.ndarray]]:
    """On one rank: how many texts it encoded, in which batches, the features, and the gradients that DDP averages."""
    dist.init_process_group("gloo")
    model = Loss(tower(), dist.get_rank(), checkpointing)
    shapes = seen_by(model.tower)
    parallel = torch.nn.parallel.DistributedDataParallel(model)  # averages as long as it lives
    loss, features = parallel()
    loss.backward()
    return (sum(count for count, _ in shapes), shapes, features.detach().numpy(),
            {name: grad.numpy() for name, grad in gradients(model.tower).items()})


@pytest.mark.parametrize("world, checkpointing", [(2, False), (3, True)])
def test_ranks_share_out_the_texts_and_get_the_gradients_of_one_process(world, checkpointing):
    """Averaged over ranks, as DDP does, they are those of the mean of all ranks' losses."""
    alone = tower()
    torch.stack([loss_of(alone, rank)[0] for rank in range(world)]).mean().backward()
    with torch.no_grad():
        expected = torch.nn.functional.normalize(alone(tokenize(TEXTS, TINY)), dim=-1)
    outcomes = run_on(world, encode_in_a_group, checkpointing)
    for rank, (texts, shapes, features, grads) in enumerate(outcomes):
        assert texts == -(-5 // world) * (2 if checkpointing else 1), f"rank {rank} encodes its share alone"
        assert shapes == outcomes[0][1], "the ranks' batches have one shape"
        torch.testing.assert_close(torch.from_numpy(features), expected)
        for name, grad in gradients(alone).items():
            torch.testing.assert_close(torch.from_numpy(grads[name]), grad)
