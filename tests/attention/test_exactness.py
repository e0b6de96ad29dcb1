"""Every form of Kronecker attention against a float64 reference: values and gradients, all sizes, odd ones too."""
import pytest
import torch
from exact import packed, reference, relative_error, results
from hypothesis import given, settings
from hypothesis import strategies as st

from claver_mm.attention import PATTERNS, attend_rows, choose_backend, kronecker_attention, naive_attention
from claver_mm.attention.masked import MASK_BUDGET
from claver_mm.attention.tree import kronecker_tree, leaves, levels

MASKED = ["kmt", "kmct"]
FORMS = [(pattern, "plain") for pattern in PATTERNS if pattern not in MASKED] + [
    (pattern, backend) for pattern in MASKED for backend in ("dense", "tree", "frames")]


def backends(pattern: str, S: int) -> list[str]:
    if pattern not in MASKED:
        return ["plain"]
    return [name for name in ("dense", "tree", "frames") if name != "dense" or S * S <= MASK_BUDGET]


def attention(pattern: str, T: int, backend: str = "auto"):
    return lambda q, k, v: kronecker_attention(q, k, v, pattern, T, backend=backend)


@pytest.mark.parametrize("T, L", [(T, L) for T in (1, 2, 3, 8, 16, 32) for L in (2, 50, 197, 257) if T * L < 8000])
def test_all_forms_equal_the_float64_reference(T, L):
    """float32 within 1e-5; bfloat16 within twice what unmasked attention loses on the same inputs."""
    inputs = [x.detach().bfloat16().float().requires_grad_() for x in packed(T, L, torch.float32, B=1, H=1, C=8)]
    rounded = [x.detach().bfloat16().requires_grad_() for x in inputs]
    grad = torch.randn(1, 1, T * L, 8).bfloat16().float()
    plain = results(attention("joint", T), rounded, grad)
    allowed = [2 * relative_error(a, b, grad) for a, b in zip(plain, reference(inputs, grad, "joint", T))]
    for pattern in PATTERNS:
        expected = reference(inputs, grad, pattern, T)
        for backend in ["auto"] if T * L > 3000 else backends(pattern, T * L):
            got = results(attention(pattern, T, backend), inputs, grad)
            for name, a, b in zip(("out", "dq", "dk", "dv"), got, expected):
                assert (a - b).abs().max() <= 1e-5 * max(1, b.abs().max()), (pattern, backend, name)
            got = results(attention(pattern, T, backend), rounded, grad)
            few = T * L < 100 or pattern == "class_token"
            floor = 2 ** -6 if few or backend == "frames" else 2 ** -8  # few numbers vary; T roundings
            for name, a, b, bound in zip(("out", "dq", "dk", "dv"), got, expected, allowed):
                assert relative_error(a, b, grad) <= max(bound, floor), (pattern, backend, name)


@settings(max_examples=60, deadline=None)
@given(pattern=st.sampled_from(MASKED), T=st.integers(1, 11), L=st.integers(1, 20), leaf=st.integers(1, 11),
       B=st.integers(1, 3), H=st.integers(1, 3), C=st.sampled_from([1, 3, 8]), packed_views=st.booleans())
def test_tree_is_exact_at_odd_sizes(pattern, T, L, leaf, B, H, C, packed_views):
    inputs = packed(T, L, B=B, H=H, C=C)
    if not packed_views:
        inputs = [x.detach().contiguous().requires_grad_() for x in inputs]
    grad = torch.randn(B, H, T * L, C, dtype=torch.double)
    got = results(lambda q, k, v: kronecker_tree(q, k, v, pattern, T, leaf, C ** -0.5)[0], inputs, grad)
    expected = results(lambda q, k, v: naive_attention(q, k, v, pattern, T), inputs, grad)
    assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(got, expected))


@settings(max_examples=40, deadline=None)
@given(form=st.sampled_from(FORMS), T=st.integers(1, 9), L=st.integers(1, 12), scale=st.sampled_from([None, 0.3]))
def test_all_forms_are_exact_at_odd_sizes(form, T, L, scale):
    pattern, backend = form
    inputs, grad = packed(T, L), torch.randn(2, 2, T * L, 4, dtype=torch.double)
    got = results(lambda q, k, v: kronecker_attention(q, k, v, pattern, T, scale=scale, backend=backend), inputs, grad)
    expected = results(lambda q, k, v: naive_attention(q, k, v, pattern, T, scale), inputs, grad)
    assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(got, expected))


@pytest.mark.parametrize("T, leaf", [(1, 1), (2, 1), (7, 1), (8, 1), (8, 4), (11, 3), (32, 8), (5, 9)])
def test_leaves_and_levels_split_each_pair_of_frames_once(T, leaf):
    count = torch.zeros(T, T, dtype=torch.int)
    for start, n, size in leaves(T, leaf):
        for first in range(start, start + n * size, size):
            count[first:first + size, first:first + size] += 1
    for start, n, left, right in levels(T, leaf):
        for first in range(start, start + n * (left + right), left + right):
            count[first + left:first + left + right, first:first + left] += 1
            count[first:first + left, first + left:first + left + right] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("pattern, backend", FORMS)
def test_gradcheck(pattern, backend):
    assert torch.autograd.gradcheck(attention(pattern, 3, backend), packed(3, 2, B=1, C=2), atol=1e-7)


@pytest.mark.parametrize("which", ["q", "k", "v", "qk", "kv"])
@pytest.mark.parametrize("pattern, backend", [(p, b) for p, b in FORMS if p in MASKED])
def test_gradients_of_some_inputs_only(pattern, backend, which):
    inputs, grad = packed(3, 5), torch.randn(2, 2, 15, 4, dtype=torch.double)
    expected = dict(zip("qkv", results(attention(pattern, 3, backend), inputs, grad)[1:]))
    some = {name: x.detach().requires_grad_(name in which) for name, x in zip("qkv", inputs)}
    out = kronecker_attention(*some.values(), pattern, 3, backend=backend)
    got = torch.autograd.grad(out, [some[name] for name in which], grad)
    assert all(torch.equal(a, expected[name]) for a, name in zip(got, which))


@pytest.mark.parametrize("lead", [5, 15, 80])
@pytest.mark.parametrize("pattern, backend", [(p, b) for p, b in FORMS if p in MASKED])
def test_leading_scores_within_the_own_frame_cost_no_accuracy(pattern, backend, lead):
    """Joint attention minus the own frame's part is wrong by 0.2 in float32 where own-frame scores lead by 15."""
    T, L, C = 4, 16, 16
    frame = torch.eye(T).repeat_interleave(L, 0)  # tokens of a frame share a direction
    inputs = [x.detach().float() for x in packed(T, L, B=1, H=1, C=C)]
    for x in inputs[:2]:
        x[..., :T] = frame * (lead * C ** 0.5) ** 0.5
    inputs = [x.requires_grad_() for x in inputs]
    grad = torch.randn(1, 1, T * L, C)
    for a, b in zip(results(attention(pattern, T, backend), inputs, grad), reference(inputs, grad, pattern, T)):
        assert (a - b).abs().max() <= 2e-5 * max(1, b.abs().max())


@pytest.mark.parametrize("pattern, backend", [(p, b) for p, b in FORMS if p in MASKED])
def test_large_scores_stay_finite_and_exact(pattern, backend):
    inputs = [(x.detach() * factor).float().requires_grad_() for x, factor in zip(packed(5, 7), (100, 100, 1))]
    grad = torch.randn(2, 2, 35, 4)
    for a, b in zip(results(attention(pattern, 5, backend), inputs, grad), reference(inputs, grad, pattern, 5)):
        assert (a - b).abs().max() <= 1e-3 * max(1, b.abs().max())  # float32 holds scores of 1e4 to 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_first_frame_of_the_tree_is_its_own_value_bit_for_bit(dtype):
    inputs = [x.detach().requires_grad_() for x in packed(5, 9, dtype)]
    out, dq, dk, dv = results(attention("kmct", 5, "tree"), inputs, torch.randn(2, 2, 45, 4))
    assert torch.equal(out[:, :, :9], inputs[2][:, :, :9])
    assert dq[:, :, :9].count_nonzero() == 0
    alone = [x[:, :, :9].detach().requires_grad_() for x in inputs]
    for pattern in MASKED:
        out, dq, dk, dv = results(attention(pattern, 1, "tree"), alone, torch.ones(2, 2, 9, 4))
        assert torch.equal(out, alone[2]) and torch.equal(dv, torch.ones_like(dv))
        assert dq.count_nonzero() == dk.count_nonzero() == 0


@pytest.mark.parametrize("pattern", PATTERNS)
def test_rows_are_the_rows_of_the_whole(pattern):
    q, k, v = packed(3, 5)
    rows = torch.tensor([0, 5, 10, 7])
    grad = torch.randn(2, 2, 4, 4, dtype=torch.double)
    got = results(lambda q, k, v: attend_rows(q[:, :, rows], rows, k, v, pattern, 3), [q, k, v], grad)
    expected = results(lambda q, k, v: naive_attention(q, k, v, pattern, 3)[:, :, rows], [q, k, v], grad)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(got, expected))


def test_tree_serves_what_auto_gives_it():
    q, k, v = packed(16, 197, torch.float32, B=1, H=1, C=8)
    assert choose_backend(q, k, v, "kmct", 16).name == "tree"
