"""Which backend serves what, and that each keeps its promises: dtype, autocast, dropout, compilation, repeatability."""
import pytest
import torch
from exact import packed, reference, repeats_bit_for_bit, results
from torch.utils.flop_counter import FlopCounterMode

from claver_mm.attention import BACKENDS, PATTERNS, choose_backend, flash, kronecker_attention, masked, naive_attention
from claver_mm.attention.flex import BLOCK, block_mask, classify_blocks

MASKED = ["kmt", "kmct"]
FORMS = [(pattern, "plain") for pattern in PATTERNS if pattern not in MASKED] + [
    (pattern, backend) for pattern in MASKED for backend in ("dense", "tree", "frames")]


@pytest.mark.parametrize("pattern, T, L, dtype, grad, dropout, name", [
    ("joint", 16, 197, "float32", True, 0.0, "plain"),
    ("pipeline", 16, 197, "float32", True, 0.1, "plain"),
    ("kmct", 2, 50, "float32", True, 0.0, "dense"),
    ("kmct", 16, 197, "float32", True, 0.0, "tree"),
    ("kmct", 16, 197, "float32", True, 0.1, "frames"),
    ("kmct", 4, 50, "float32", False, 0.1, "dense"),
    ("kmt", 16, 50, "float32", True, 0.0, "dense"),
    ("kmt", 2, 197, "float32", True, 0.0, "tree"),
    ("kmt", 4, 197, "float32", True, 0.0, "dense"),
    ("kmt", 32, 197, "bfloat16", True, 0.0, "tree"),
    ("kmt", 4, 50, "bfloat16", False, 0.0, "dense"),
])
def test_auto_chooses_by_shape_dtype_and_dropout(pattern, T, L, dtype, grad, dropout, name, processor):
    inputs = [x.requires_grad_(grad) for x in torch.zeros(3, 1, 1, T * L, 8, dtype=getattr(torch, dtype)).unbind()]
    choice = choose_backend(*inputs, pattern, T, dropout_p=dropout)
    assert choice.name == name and choice.reason


def test_auto_weighs_gradients_where_products_are_fast(processor):
    q, k, v = packed(3, 197, torch.bfloat16, B=1, H=1)
    assert choose_backend(q, k, v, "kmct", 3).name == "tree"
    with torch.no_grad():
        assert choose_backend(q, k, v, "kmct", 3).name == ("dense" if processor else "tree")


@pytest.mark.parametrize("capabilities, found", [
    (dict(amx_bf16=True, cpu_name="any"), True), (dict(avx512_bf16=True, amx_bf16=False), True),
    (dict(avx2=True, avx512_f=True, amx_tile=True, cpu_name="Intel(R) Xeon(R)"), False), ({}, False)])
@pytest.mark.parametrize("supported", [True, False])
def test_the_processor_is_known_by_what_it_can_do(capabilities, found, supported, monkeypatch):
    """AMX alone was asked for, which half of the processors that multiply bfloat16 have not."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert flash._multiplies_bfloat16() == (found and supported and torch.backends.mkldnn.is_available())


@pytest.mark.parametrize("name", ["_is_amx_tile_supported", "_is_avx512_bf16_supported", "_is_avx2_supported"])
def test_an_older_torch_is_asked_for_capabilities_one_by_one(name, monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    for other in ("_is_amx_tile_supported", "_is_avx512_bf16_supported", "_is_avx2_supported"):
        monkeypatch.setattr(torch.cpu, other, lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, name, lambda: True)
    assert flash._multiplies_bfloat16() == (name != "_is_avx2_supported" and torch.backends.mkldnn.is_available())


@pytest.mark.parametrize("pattern, backend, T, dropout, says", [
    ("kmt", "fast", 3, 0.0, "unknown attention backend 'fast'.*auto, plain, dense, tree"),
    ("kmt", "plain", 3, 0.0, "'kmt' needs a mask; use backend='dense' or 'auto'"),
    ("joint", "tree", 3, 0.0, "'joint' needs no mask; use backend='plain'"),
    ("kmct", "tree", 3, 0.1, "'tree' cannot serve this call: it cannot honour dropout_p=0.1; use backend='dense'"),
    ("kmct", "dense", 700, 0.0, "mask of 3500 x 3500 is over the budget of 8388608 pairs; use backend='tree'"),
    ("kmct", "flex", 3, 0.0, "no backward pass on a CPU; use backend='dense'"),
])
def test_a_forced_backend_that_cannot_serve_says_why_and_the_way_out(pattern, backend, T, dropout, says):
    with pytest.raises(ValueError, match=says):
        kronecker_attention(*packed(T, 5, torch.float32, C=16), pattern, T, backend=backend, dropout_p=dropout)


def test_flex_refuses_double_precision():
    with torch.no_grad(), pytest.raises(ValueError, match="FlexAttention does not take torch.float64"):
        kronecker_attention(*packed(3, 5), "kmt", 3, backend="flex")


@pytest.mark.parametrize("pattern", MASKED)
def test_a_device_without_fused_operators_gets_frames(pattern):
    x = torch.zeros(1, 1, 12, 16, device="meta")
    assert choose_backend(x, x, x, pattern, 3).name == "frames"
    for backend in ("dense", "tree", "flex"):
        with pytest.raises(ValueError, match="'meta'.*use backend='frames'"):
            kronecker_attention(x, x, x, pattern, 3, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_that_is_listed_serves(backend):
    """What is forced is what is taken, and it equals the reference."""
    pattern = "joint" if backend == "plain" else "kmct"
    inputs = [x.detach() for x in packed(3, 4, torch.float32, C=16)]
    assert choose_backend(*inputs, pattern, 3, backend=backend) == (backend, "forced")
    if backend != "flex":  # which is compiled below
        out = kronecker_attention(*inputs, pattern, 3, backend=backend)
        assert (out - naive_attention(*inputs, pattern, 3)).abs().max() <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", ["dense", "tree"])
@pytest.mark.parametrize("pattern", MASKED)
def test_half_precision_is_rounded_once_where_it_is_widened(pattern, backend, dtype, processor):
    inputs = [x.detach().to(dtype).requires_grad_() for x in packed(5, 9)]
    grad = torch.randn(2, 2, 45, 4)
    rounded_often = processor and dtype == torch.bfloat16
    for a, b in zip(results(lambda q, k, v: kronecker_attention(q, k, v, pattern, 5, backend=backend), inputs, grad),
                    reference(inputs, grad.to(dtype), pattern, 5)):
        assert a.dtype == dtype
        assert (a - b).abs().max() <= (8 if rounded_often else 2) * torch.finfo(dtype).eps * max(1, b.abs().max())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pattern, backend", FORMS)
def test_autocast_decides_the_dtype_as_for_plain_attention(pattern, backend, dtype, processor):
    """``dense`` widened to float32 and autocast cast it back, so that it was rounded thrice."""
    q, k, v = (x.detach() for x in packed(3, 5, torch.float32))
    half = kronecker_attention(*(x.to(dtype) for x in (q, k, v)), pattern, 3, backend=backend)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(kronecker_attention(q, k.to(dtype), v, pattern, 3, backend=backend), half)
        double = [x.double() for x in (q, k, v)]
        assert kronecker_attention(*double, pattern, 3, backend=backend).dtype == torch.float64


@pytest.mark.parametrize("pattern, backend", [(p, b) for p, b in FORMS if b != "tree"])
def test_dropout_is_honoured(pattern, backend):
    """With ones for values an output is the sum of the weights kept, scaled: 1 without dropout, 1 on average with."""
    q, k, v = (x.detach() for x in packed(8, 8, torch.float32, B=16, H=4))
    ones = torch.ones_like(v)
    out = kronecker_attention(q, k, ones, pattern, 8, dropout_p=0.5, backend=backend)
    if pattern == "class_token":  # patches pass
        out = out[:, :, ::8]
    assert not torch.allclose(out, torch.ones_like(out)) and abs(out.mean() - 1) < 0.1


@pytest.mark.parametrize("pattern, backend", FORMS)
def test_compiles_without_graph_breaks(pattern, backend):
    torch.compiler.reset()
    inputs, grad = packed(3, 5), torch.randn(2, 2, 15, 4, dtype=torch.double)
    compiled = torch.compile(lambda q, k, v: kronecker_attention(q, k, v, pattern, 3, backend=backend) * 2,
                             fullgraph=True, backend="aot_eager")
    expected = results(lambda q, k, v: naive_attention(q, k, v, pattern, 3) * 2, inputs, grad)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(results(compiled, inputs, grad), expected))
    with torch.no_grad():
        assert torch.allclose(compiled(*inputs), expected[0], atol=1e-12)


def test_compiles_once_for_many_sizes():
    torch.compiler.reset()
    compiled = torch.compile(lambda q, k, v, T: kronecker_attention(q, k, v, "kmct", T), fullgraph=True,
                             backend="aot_eager", dynamic=True)
    for T, L in ((3, 100), (4, 100), (5, 77), (8, 197)):
        inputs, grad = packed(T, L, B=1), torch.randn(1, 2, T * L, 4, dtype=torch.double)
        got = results(lambda q, k, v, T=T: compiled(q, k, v, T), inputs, grad)
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(got, reference(inputs, grad, "kmct", T)))


@pytest.mark.parametrize("pattern", MASKED)
def test_second_derivatives_of_the_tree_are_refused(pattern):
    q, k, v = packed(3, 5)
    out = kronecker_attention(q, k, v, pattern, 3, backend="tree")
    first, = torch.autograd.grad(out.square().sum(), q, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative; claver_mm.attention.naive_attention has"):
        torch.autograd.grad(first.sum(), k)


@pytest.mark.parametrize("backend", ["dense", "tree", "frames"])
def test_runs_repeat_bit_for_bit_under_deterministic_algorithms(backend):
    inputs, grad = packed(7, 33, torch.float32, H=4), torch.randn(2, 4, 231, 4)
    assert repeats_bit_for_bit(lambda q, k, v: kronecker_attention(q, k, v, "kmct", 7, backend=backend), inputs, grad)


def test_one_dense_mask_serves_all_blocks_and_old_ones_go():
    first = masked.shared_mask("kmt", 10, 5, torch.float32, torch.device("cpu"))
    assert masked.shared_mask("kmt", 10, 5, torch.float32, torch.device("cpu")) is first
    for L in range(1, 20):
        masked.shared_mask("kmt", 2 * L, L, torch.float32, torch.device("cpu"))
    assert len(masked._masks) <= 8


def test_a_mask_made_in_inference_mode_serves_training():
    """``RuntimeError: Inference tensors cannot be saved for backward``."""
    masked._masks.clear()
    inputs = packed(2, 5)
    with torch.inference_mode():
        kronecker_attention(*inputs, "kmt", 2, backend="dense")
    kronecker_attention(*inputs, "kmt", 2, backend="dense").sum().backward()


@pytest.mark.parametrize("pattern, pairs", [("kmt", 12 * 8 + 12), ("kmct", 12 * 8 / 2 + 12)])
def test_flop_counter_sees_the_allowed_pairs(pattern, pairs):
    """The published FLOPs leave attention out."""
    q, k, v = packed(3, 4, B=2, H=3, C=8)
    with FlopCounterMode(display=False) as counter:
        kronecker_attention(q, k, v, pattern, 3, backend="tree").sum().backward()
    assert counter.get_total_flops() == (2 + 5) * 2 * 2 * 3 * 8 * pairs


@pytest.mark.parametrize("T, L", [(1, 1), (1, 300), (3, 1), (300, 1), (2, 50), (16, 50), (4, 128), (8, 197), (5, 257)])
@pytest.mark.parametrize("pattern", MASKED)
def test_block_mask_is_the_mask_evaluated_at_all_pairs(pattern, T, L):
    S, N = T * L, -(-T * L // BLOCK)
    tokens = torch.arange(S)
    pairs = torch.zeros(N * BLOCK, N * BLOCK, dtype=torch.bool)
    pairs[:S, :S] = PATTERNS[pattern](tokens[:, None], tokens, L)
    tiles = pairs.view(N, BLOCK, N, BLOCK).transpose(1, 2).flatten(2)
    partial, full = classify_blocks(pattern, T, L, torch.device("cpu"))
    assert torch.equal(full, tiles.all(-1))
    assert torch.equal(partial, tiles.any(-1) & ~tiles.all(-1))
    mask = block_mask(pattern, T, L, torch.device("cpu"))
    assert mask.shape[-2:] == (S, S)
    assert torch.equal(mask.to_dense()[0, 0].bool(), partial | full)


@pytest.mark.parametrize("pattern", MASKED)
def test_flex_is_exact_through_its_block_mask(pattern):
    """Compiled for the CPU, forward alone; T * L = 300 leaves a ragged last block."""
    torch.compiler.reset()
    inputs = [x.detach() for x in packed(6, 50, torch.float32, H=1, C=16)]
    with torch.no_grad():
        out = kronecker_attention(*inputs, pattern, 6, backend="flex")
        again = kronecker_attention(*inputs, pattern, 6, scale=0.25, backend="flex")
    expected = reference(inputs, torch.zeros(2, 1, 300, 16), pattern, 6)[0]
    assert (out - expected).abs().max() <= 1e-5 and (again - expected).abs().max() <= 1e-5
