"""The patterns against the masks of the paper, what each lets through, and what bad input is told."""
import pytest
import torch

from claver_mm.attention import PATTERNS, attend_rows, kronecker_attention, may_see, naive_attention_weights

SIZES = [(1, 1), (1, 2), (2, 2), (3, 1), (3, 50), (8, 5), (2, 197)]


def blocked_by_kronecker_product(pattern: str, T: int, L: int) -> torch.Tensor:
    """The blocked pairs as section 3.2 writes them, with ``torch.kron`` and nothing of ours."""
    eye_t, eye_l = torch.eye(T), torch.eye(L)
    ones_t, ones_l = torch.ones(T, T), torch.ones(L, L)
    blocked = {
        "kmt": torch.kron(eye_t, ones_l - eye_l),
        "kmct": torch.kron(eye_t, ones_l - eye_l) + torch.kron(ones_t.triu(1), ones_l),
        "joint": torch.zeros(T * L, T * L),
        "spatial": torch.kron(ones_t - eye_t, ones_l),
        "pipeline": torch.kron(ones_t, ones_l - eye_l),
    }
    return blocked[pattern].bool()


@pytest.mark.parametrize("T, L", SIZES)
@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name != "class_token"])
def test_predicate_is_the_kronecker_product_of_the_paper(pattern, T, L):
    tokens = torch.arange(T * L)
    assert torch.equal(~may_see(pattern, tokens, tokens, L), blocked_by_kronecker_product(pattern, T, L))


def test_first_frame_under_kmct_sees_itself_alone():
    q, k, v = (torch.randn(1, 2, 12, 4) for _ in range(3))
    assert torch.allclose(kronecker_attention(q, k, v, "kmct", 3)[:, :, :4], v[:, :, :4], atol=1e-6)


def test_later_frames_do_not_change_earlier_ones_under_kmct():
    q, k, v = (torch.randn(1, 2, 12, 4) for _ in range(3))
    whole = kronecker_attention(q, k, v, "kmct", 3)
    begun = kronecker_attention(q[:, :, :8], k[:, :, :8], v[:, :, :8], "kmct", 2)
    assert torch.allclose(whole[:, :, :8], begun, atol=1e-6)


def test_class_token_lets_patches_pass():
    q, k, v = (torch.randn(1, 2, 12, 4) for _ in range(3))
    out = kronecker_attention(q, k, v, "class_token", 3).unflatten(2, (3, 4))
    assert torch.equal(out[:, :, :, 1:], v.unflatten(2, (3, 4))[:, :, :, 1:])


def test_kmct_attention_matrix_has_full_rank_and_kmt_may_not():
    """Appendix A at T=2, L=2: a token that weighs itself 1/2 and the other frame's two 1/4 makes KMTA singular."""
    k = torch.eye(4).view(1, 1, 4, 4)
    q = k * torch.tensor(2.0).log()
    ranks = {pattern: torch.linalg.matrix_rank(naive_attention_weights(q, k, pattern, 2, scale=1.0)[0, 0]).item()
             for pattern in ("kmt", "kmct")}
    assert ranks == {"kmt": 3, "kmct": 4}


@pytest.mark.parametrize("backend", ["auto", "frames"])
@pytest.mark.parametrize("pattern", ["kmt", "kmct"])
def test_no_buffer_of_all_pairs_forward_or_backward(pattern, backend):
    """The published code keeps a fp32 mask of (T*L)^2 in every block: 341 MB at T=16, L=577."""
    T, L = 16, 197
    q, k, v = (torch.randn(1, 1, T * L, 8, requires_grad=True) for _ in range(3))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        kronecker_attention(q, k, v, pattern, T, backend=backend).sum().backward()
    assert max(event.self_cpu_memory_usage for event in profile.events()) < (T * L) ** 2


@pytest.mark.parametrize("pattern, tokens, frames, says", [
    ("kmtt", 12, 3, "unknown attention pattern 'kmtt'.*kmt, kmct"),
    ("mean", 12, 3, "neck=None"),
    ("kmt", 12, 5, "12 tokens does not divide into 5 frames"),
    ("kmt", 12, 0, "num_frames must be at least 1, got 0"),
])
def test_bad_input_is_named(pattern, tokens, frames, says):
    x = torch.zeros(1, 1, tokens, 4)
    with pytest.raises(ValueError, match=says):
        kronecker_attention(x, x, x, pattern, frames)


@pytest.mark.parametrize("shapes, dtypes, says", [
    ([(1, 1, 12, 4), (1, 1, 12, 4), (1, 1, 8, 4)], ["float32"] * 3, "one shape.*8, 4"),
    ([(1, 12, 4)] * 3, ["float32"] * 3, r"\(B, H, S, C\), got \(1, 12, 4\)"),
    ([(1, 1, 12, 4)] * 3, ["float32", "bfloat16", "float32"], "one dtype.*bfloat16.*cast them, or use autocast"),
])
def test_inputs_that_do_not_fit_each_other_are_named(shapes, dtypes, says):
    q, k, v = (torch.zeros(shape, dtype=getattr(torch, dtype)) for shape, dtype in zip(shapes, dtypes))
    with pytest.raises(ValueError, match=says):
        kronecker_attention(q, k, v, "kmt", 3)


def test_rows_without_a_number_are_named():
    x = torch.zeros(1, 1, 12, 4)
    with pytest.raises(ValueError, match=r"rows has shape \(2,\) and q_rows \(1, 1, 3, 4\)"):
        attend_rows(x[:, :, :3], torch.tensor([0, 4]), x, x, "kmt", 3)
