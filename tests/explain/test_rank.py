"""Rank of attention matrices where it is known."""
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from claver_mm.attention import PATTERNS, may_see, naive_attention, naive_attention_weights
from claver_mm.explain.rank import (
    RankStudy,
    rank_and_condition,
    singular_example,
    watch_attention,
)
from claver_mm.temporal import KroneckerTransformer


def transformer(pattern="kmt", **kwargs) -> KroneckerTransformer:
    sizes = dict(width=16, heads=2, depth=2, num_frames=3, pattern=pattern, embedding_std=0.5)
    return KroneckerTransformer(**{**sizes, **kwargs}).eval()


def attention_matrices(transformer: KroneckerTransformer, tokens: torch.Tensor) -> list[torch.Tensor]:
    """``(B, H, S, S)`` of each layer for tokens ``(B, T, L, D)``."""
    matrices = []
    with watch_attention(transformer, lambda layer, weights, T: matrices.append(weights)):
        transformer(tokens)
    return matrices


@pytest.mark.parametrize("pattern, rank, condition", [("kmt", 3, math.inf), ("kmct", 4, 2.9), ("joint", 4, 5)])
def test_the_example_is_singular_under_kmt_alone(pattern, rank, condition):
    weights = naive_attention_weights(*singular_example(), pattern, num_frames=2)
    found, found_condition = rank_and_condition(weights)
    assert found.item() == rank == np.linalg.matrix_rank(weights[0, 0].numpy())
    assert found_condition > 1e15 if condition == math.inf else found_condition.item() == pytest.approx(condition, 0.1)


def test_the_example_is_the_matrix_that_it_is_said_to_be():
    half, quarter = torch.eye(2) / 2, torch.ones(2, 2) / 4
    expected = torch.cat([torch.cat([half, quarter], 1), torch.cat([quarter, half], 1)]).double()
    assert torch.allclose(naive_attention_weights(*singular_example(), "kmt", 2)[0, 0], expected, atol=1e-15)


def test_joint_attention_of_tokens_that_score_alike_has_rank_one_and_kmct_is_whole():
    q = k = torch.zeros(1, 1, 12, 8)
    assert rank_and_condition(naive_attention_weights(q, k, "joint", 3))[0].item() == 1
    assert rank_and_condition(naive_attention_weights(q, k, "kmct", 3))[0].item() == 12


@pytest.mark.parametrize("T, L", [(2, 5), (4, 5), (8, 5), (4, 17), (8, 17)])
def test_condition_of_kmct_at_equal_scores_grows_exponentially_with_frames_and_that_of_kmt_does_not(T, L):
    q = k = torch.zeros(1, 1, T * L, 8)
    bound = L * (L - 1) ** (T - 2)
    assert bound <= rank_and_condition(naive_attention_weights(q, k, "kmct", T))[1].item() < 4 * bound
    assert rank_and_condition(naive_attention_weights(q, k, "kmt", T))[1].item() < T * L


def test_kmct_of_full_rank_in_theory_is_not_in_float64():
    q = k = torch.zeros(1, 1, 16 * 17, 8)
    weights = naive_attention_weights(q, k, "kmct", 16)[0, 0]
    assert weights.diagonal().min() > 1e-3 and torch.equal(weights, weights.tril())
    assert rank_and_condition(weights)[0].item() == 16 * 17 - 1 == np.linalg.matrix_rank(weights.numpy())
    assert rank_and_condition(naive_attention_weights(q, k, "kmt", 16))[0].item() == 16 * 17


@pytest.mark.parametrize("eps", [np.finfo(np.float64).eps, np.finfo(np.float32).eps])
def test_rank_is_that_of_numpy_at_the_same_tolerance(eps):
    values = torch.logspace(0, -17, 18, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(18, 18, dtype=torch.float64))[0]
    matrix = basis @ values.diag() @ basis.T
    rank, _ = rank_and_condition(matrix, eps)
    assert rank.item() == np.linalg.matrix_rank(matrix.numpy(), rtol=18 * eps)
    assert rank.item() == int((values > 18 * eps).sum())


@pytest.mark.parametrize("pattern", sorted(set(PATTERNS) - {"class_token"}))
def test_matrices_of_every_layer_are_those_the_model_attends_with(pattern):
    """The last block computes the rows of class tokens alone; its matrix is whole all the same."""
    model = transformer(pattern, class_tokens_only=True)
    calls = []
    for block in model.resblocks:
        block.attn.register_forward_hook(lambda attn, args, out: calls.append((args[0], out)))
    matrices = attention_matrices(model, torch.randn(2, 3, 5, 16))
    tokens = torch.arange(15)
    for block, (x, out), weights in zip(model.resblocks, calls, matrices, strict=True):
        assert weights.shape == (2, 2, 15, 15) and weights.dtype == torch.float64
        assert torch.allclose(weights.sum(-1), torch.ones(2, 2, 15, dtype=torch.float64))
        assert torch.equal(weights[0, 0] > 0, may_see(pattern, tokens, tokens, 5))
        q, k, v = block.attn.queries_keys_values(x)
        assert torch.allclose(weights.float() @ v, naive_attention(q, k, v, pattern, 3), atol=1e-5)
        whole = block.attn.merge_heads(weights.float() @ v)
        assert torch.allclose(whole[:, ::5] if out.shape[1] == 3 else whole, out, atol=1e-5)


def test_class_token_attention_has_matrices_among_frames():
    assert attention_matrices(transformer("class_token"), torch.randn(2, 3, 5, 16))[0].shape == (2, 2, 3, 3)


def test_watching_leaves_outputs_as_they_are_and_no_hook_behind():
    model, x = transformer(), torch.randn(2, 3, 5, 16)
    plain = model(x)
    with RankStudy().watching(model):
        assert torch.equal(model(x), plain)
    with pytest.raises(RuntimeError, match="in between"), RankStudy().watching(model):
        raise RuntimeError("in between")
    assert not any(module._forward_hooks for module in model.modules())


def test_a_study_sums_up_clips_by_layer_and_head():
    eye, singular = torch.eye(4).double(), torch.diag(torch.tensor([1., 1, 1, 0])).double()
    nearly = torch.diag(torch.tensor([1., 1, 1, 1e-9], dtype=torch.float64))
    study = RankStudy()
    study.add(1, torch.stack([torch.stack([eye, eye]), torch.stack([eye, nearly])]), 2)
    study.add(0, torch.stack([eye, singular])[None], 2)
    study.add(1, torch.stack([eye, singular])[None], 2)
    rows = {(row.layer, row.head): row for row in study.summary()}
    assert list(rows) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    row = rows[1, 1]  # eye, nearly, singular
    assert (row.clips, row.frames, row.tokens, row.min_rank, row.min_rank32) == (3, 2, 4, 3, 3)
    assert row.mean_rank == pytest.approx(11 / 3) and row.full_rank == pytest.approx(2 / 3)
    assert row.mean_rank32 == pytest.approx(10 / 3) and row.full_rank32 == pytest.approx(1 / 3)
    assert row.median_condition == pytest.approx(1e9) and row.max_condition == math.inf
    assert rows[1, 0].full_rank == 1 and rows[1, 0].max_condition == 1


def test_a_study_of_a_model_counts_every_clip():
    model, study = transformer("kmct"), RankStudy()
    with study.watching(model):
        model(torch.randn(2, 3, 5, 16))
        model(torch.randn(1, 3, 5, 16))
    rows = study.summary()
    assert [(row.clips, row.tokens, row.full_rank) for row in rows] == [(3, 15, 1.0)] * 4


def test_clips_of_another_length_are_refused():
    model, study = transformer(), RankStudy()
    with study.watching(model):
        model(torch.randn(1, 3, 5, 16))
        with pytest.raises(ValueError, match="4 frames and 20 tokens after clips of 3 and 15; take a RankStudy of its"):
            model(torch.randn(1, 4, 5, 16))


def test_attention_called_by_keyword_counts_and_that_of_other_threads_does_not():
    """One keyword, and the hook died of unpacking positional arguments."""
    model, study = transformer(), RankStudy()
    with study.watching(model), ThreadPoolExecutor(1) as pool:
        pool.submit(model, torch.randn(3, 3, 5, 16)).result()
        model.resblocks[0].attn(num_frames=3, x=torch.randn(2, 15, 16))
    assert [(row.layer, row.clips) for row in study.summary()] == [(0, 2), (0, 2)]
