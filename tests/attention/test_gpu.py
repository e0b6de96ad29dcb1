"""The CUDA forms, by the same standard as those of the CPU: a float64 reference, values and gradients."""
import pytest
import torch
from exact import packed, reference, relative_error, repeats_bit_for_bit, results

from claver_mm.attention import choose_backend, kronecker_attention
from claver_mm.attention.choice import why_not

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

MASKED = ["kmt", "kmct"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("T, L", [(1, 50), (2, 2), (3, 197), (8, 50), (8, 197), (16, 257)])
@pytest.mark.parametrize("backend", ["flex", "tree", "frames"])
@pytest.mark.parametrize("pattern", MASKED)
def test_cuda_forms_equal_the_float64_reference(pattern, backend, T, L, dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    inputs = [x.detach().to(dtype) for x in packed(T, L, B=2, H=2, C=64)]
    grad = torch.randn(2, 2, T * L, 64).to(dtype)
    expected = reference(inputs, grad, pattern, T)
    on_device = [x.cuda().requires_grad_() for x in inputs]
    refused = why_not(backend, dtype, on_device[0].device, 64, pattern, T * L, True, 0.0)
    if refused:
        pytest.skip(refused)
    got = results(lambda q, k, v: kronecker_attention(q, k, v, pattern, T, backend=backend), on_device, grad.cuda())
    bound = 1e-5 if dtype == torch.float32 else 4 * torch.finfo(dtype).eps
    for name, a, b in zip(("out", "dq", "dk", "dv"), got, expected):
        assert relative_error(a.cpu(), b, grad) <= bound, name


@pytest.mark.parametrize("pattern", MASKED)
def test_auto_takes_a_form_without_a_mask_of_all_pairs(pattern):
    inputs = [x.detach().bfloat16().cuda().requires_grad_() for x in packed(16, 197, B=1, H=12, C=64)]
    assert choose_backend(*inputs, pattern, 16).name in ("flex", "tree")
    kronecker_attention(*inputs, pattern, 16).sum().backward()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    kronecker_attention(*inputs, pattern, 16).sum().backward()
    assert torch.cuda.max_memory_allocated() - before < 12 * 2 * (16 * 197) ** 2


@pytest.mark.parametrize("backend", ["flex", "tree"])
def test_cuda_runs_repeat_bit_for_bit_under_deterministic_algorithms(backend):
    inputs = [x.detach().bfloat16().cuda().requires_grad_() for x in packed(4, 197, B=1, H=2, C=64)]
    grad = torch.randn(1, 2, 788, 64).cuda()
    assert repeats_bit_for_bit(lambda q, k, v: kronecker_attention(q, k, v, "kmct", 4, backend=backend), inputs, grad)
