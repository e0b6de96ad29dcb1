"""What is unusual: derivatives of other kinds, empty batches, threads. A form is right or refuses, and never zero."""
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from exact import packed
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, linearize, vmap

from claver_mm.attention import PATTERNS, attend_rows, flex, kronecker_attention, masked, naive_attention

FORMS = [(pattern, "plain") for pattern in PATTERNS if pattern not in ("kmt", "kmct")] + [
    (pattern, backend) for pattern in ("kmt", "kmct") for backend in ("dense", "tree", "frames", "rows")]
T, L = 3, 4
ROWS = torch.tensor([0, 4, 9])


def attention(pattern: str, backend: str, k, v):
    if backend == "rows":
        return lambda q: attend_rows(q[:, :, ROWS], ROWS, k, v, pattern, T)
    return lambda q: kronecker_attention(q, k, v, pattern, T, backend=backend)


def forward_mode(f, q, d):
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(f(forward_ad.make_dual(q, d))).tangent
        return torch.zeros_like(q) if tangent is None else tangent


def twice(f, q, d):
    q = q.clone().requires_grad_()
    first, = torch.autograd.grad(f(q).square().sum(), q, create_graph=True)
    return torch.autograd.grad((first * d).sum(), q)[0]


def along(f, q, d):
    """A function of two numbers, lest Jacobians be large."""
    return lambda x: f(q + x[0] * d + x[1] * d.flip(2))


NONE = torch.zeros(2, dtype=torch.double)
REVERSE = {
    "jacrev": lambda f, q, d: jacrev(along(f, q, d))(NONE),
    "vmap": lambda f, q, d: vmap(f)(torch.stack([q, d])),
    "vmap of grad": lambda f, q, d: vmap(grad(lambda x: f(x).square().sum()))(torch.stack([q, d])),
}
OTHER = {
    "jvp": lambda f, q, d: jvp(f, (q,), (d,))[1],
    "jacfwd": lambda f, q, d: jacfwd(along(f, q, d))(NONE),
    "forward_ad": forward_mode,
    "linearize": lambda f, q, d: linearize(f, q)[1](d),
    "compiled jvp": lambda f, q, d: torch.compile(lambda: jvp(f, (q,), (d,))[1], backend="aot_eager")(),
    "second derivative": twice,
    "hessian": lambda f, q, d: hessian(lambda x: along(f, q, d)(x).square().sum())(NONE),
    "reverse over reverse": lambda f, q, d: jacrev(jacrev(lambda x: along(f, q, d)(x).square().sum()))(NONE),
    "forward over reverse": lambda f, q, d: jvp(grad(lambda x: f(x).square().sum()), (q,), (d,))[1],
    "reverse over forward": lambda f, q, d: grad(lambda x: jvp(f, (x,), (d,))[1].square().sum())(q),
}


def derivatives(derivative, pattern: str, backend: str):
    q, k, v, d = (torch.randn(2, 2, T * L, 4, dtype=torch.double) for _ in range(4))
    rows = ROWS if backend == "rows" else torch.arange(T * L)
    plain = OTHER["jvp"] if derivative is OTHER["compiled jvp"] else derivative
    want = plain(lambda q: naive_attention(q, k, v, pattern, T)[:, :, rows], q, d)
    return derivative(attention(pattern, backend, k, v), q, d), want


@pytest.mark.parametrize("derivative", REVERSE.values(), ids=REVERSE)
@pytest.mark.parametrize("pattern, backend", FORMS)
def test_reverse_mode_is_right_under_transforms(pattern, backend, derivative):
    """The tree failed in ``jacrev`` and ``vmap(grad)``: an operator with ``register_autograd`` does."""
    got, want = derivatives(derivative, pattern, backend)
    assert torch.allclose(got, want, atol=1e-10)


@pytest.mark.parametrize("derivative", OTHER.values(), ids=OTHER)
@pytest.mark.parametrize("pattern, backend", FORMS[3:])
def test_other_derivatives_are_right_or_refused(pattern, backend, derivative):
    """Forward mode through the tree was zero without a word. Where PyTorch's own attention learns one, it must be
    right."""
    torch.compiler.reset()
    try:
        got, want = derivatives(derivative, pattern, backend)
    except (NotImplementedError, RuntimeError) as refusal:
        assert isinstance(refusal, NotImplementedError) or "is not implemented" in str(refusal)
        return
    assert torch.allclose(got, want, atol=1e-10)


@pytest.mark.parametrize("derivative", OTHER.values(), ids=OTHER)
def test_the_tree_refuses_all_derivatives_but_the_first_of_reverse_mode(derivative):
    with pytest.raises(NotImplementedError):
        derivatives(derivative, "kmct", "tree")


@pytest.mark.parametrize("derivative", [OTHER["jvp"], OTHER["forward_ad"], REVERSE["vmap"]])
def test_flex_refuses_transforms_and_keeps_nothing_of_them(derivative):
    """A block mask made inside ``vmap`` was kept, and the next call read a tensor without data."""
    q, k, v, d = (torch.randn(1, 1, T * L, 16) for _ in range(4))
    with pytest.raises(NotImplementedError, match="neither torch.func nor forward-mode.*use backend='frames'"):
        derivative(attention("kmt", "flex", k, v), q, d)
    flex._compiled.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        fake = mode.from_tensor(q)
        assert kronecker_attention(fake, fake, fake, "kmt", T, backend="flex").shape == q.shape
    assert not flex._compiled.cache_info().currsize


def test_masks_made_inside_a_transform_are_not_kept():
    """A mask made inside ``torch.func.grad`` is a wrapper that is dead afterwards; it was kept for everybody."""
    masked._masks.clear()
    q, k, v = (x.detach() for x in packed(T, L))
    grad(lambda q: kronecker_attention(q, k, v, "kmt", T, backend="dense").sum())(q)
    assert not masked._masks
    kronecker_attention(q, k, v, "kmt", T, backend="dense")
    assert len(masked._masks) == 1


@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("pattern, backend", [*FORMS, ("kmt", "auto"), ("kmct", "auto")])
def test_a_batch_of_no_clips_gives_nothing_and_no_gradients(pattern, backend, dtype, autocast, processor):
    """``ZeroDivisionError`` in half precision, where the tree shares out heads."""
    for shape in ((0, 2, 12, 8), (0, 2, 3 * 256, 8), (2, 0, 12, 8)):
        q, k, v = (torch.zeros(shape, dtype=dtype, requires_grad=True) for _ in range(3))
        with torch.autocast("cpu", enabled=autocast):
            out = attention(pattern, backend, k, v)(q)
        assert out.shape == (*shape[:2], 3 if backend == "rows" else shape[2], 8)
        assert out.dtype == (torch.bfloat16 if autocast and dtype != torch.float64 else dtype)
        used = [v] if pattern == "class_token" else [q, k, v]
        for x, dx in zip(used, torch.autograd.grad(out.sum(), used)):
            assert dx.shape == x.shape and dx.dtype == dtype


@pytest.mark.parametrize("pattern", ["kmt", "kmct"])
def test_flex_of_no_clips_is_empty(pattern):
    with torch.no_grad():
        x = torch.zeros(0, 2, 12, 16)
        assert kronecker_attention(x, x, x, pattern, T, backend="flex").shape == x.shape


def test_eight_threads_share_masks():
    """``RuntimeError: dictionary changed size during iteration`` or ``KeyError``, where threads took turns inside."""
    interval = sys.getswitchinterval()
    together = Barrier(8)

    def attend(number: int) -> None:
        together.wait()
        for i in range(400):
            size = 1 + (i * (number + 1)) % 11
            mask = masked.shared_mask("kmt", 2 * size, size, torch.float32, torch.device("cpu"))
            assert mask.shape == (2 * size, 2 * size) and mask[0, 0] == 0

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(attend, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert len(masked._masks) <= 8
