"""Explanations of models in half precision, compiled, or used by other threads meanwhile."""
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny_claver import build, tokens_of
from torch import nn

from claver_mm.attention import may_see
from claver_mm.explain.layers import record_attention
from claver_mm.explain.relevance import relevance
from claver_mm.explain.twin import twin_of
from claver_mm.temporal import KroneckerAttention


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))


def assert_alike(found, expected, rtol=1e-4, atol=1e-6) -> None:
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value, rtol=rtol, atol=atol * value.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("how", ["model", "autocast"])
def test_half_precision_is_explained_in_float32(how, dtype, clips, motion_videos, tmp_path):
    """``TypeError: Got unsupported ScalarType BFloat16``: maps came in the dtype of the model."""
    model = build(motion_videos, tmp_path, "kmct")
    expected = relevance(model, clips, tokens_of(model))
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=how == "autocast"):
        if how == "model":
            model.to(dtype)
        else:
            model.neck(model.backbone(clips))  # autocast keeps the weights that it casts, here as inference tensors
        found = relevance(model, clips.to(dtype) if how == "model" else clips, tokens_of(model))
    for name, value in vars(found).items():
        assert value.dtype == torch.float32
        if value.ndim > 1:
            pair = torch.stack([value.flatten(), getattr(expected, name).flatten()])
            assert torch.corrcoef(pair)[0, 1] > 0.98, name


def test_inference_tensors_go_neither_in_nor_out(clips, motion_videos, tmp_path):
    """``RuntimeError: Inference tensors cannot be saved for backward``: of token ids made inside, or of weights."""
    model = build(motion_videos, tmp_path)
    others = ["rising", "growing"]
    expected = relevance(model, clips, tokens_of(model), tokens_of(model, others))
    with torch.inference_mode():
        for module in model.modules():
            for name, parameter in list(module._parameters.items()):
                module._parameters[name] = parameter if parameter is None else nn.Parameter(parameter.clone())
            for name, buffer in list(module._buffers.items()):
                module._buffers[name] = buffer if buffer is None else buffer.clone()
        found = relevance(model, clips.clone(), tokens_of(model).clone(), tokens_of(model, others).clone())
    assert_alike(found, expected)
    assert not any(value.is_inference() for value in vars(found).values())


@pytest.mark.parametrize("how", ["in place", "wrapped", "forward"])
def test_compiled_parts_are_explained_as_the_others_and_stay_compiled(how, clips, motion_videos, tmp_path):
    """``RuntimeError: The differentiated Tensor at index 0 appears to not have been used in the graph``: compiled code
    does not call hooks that come later."""
    model = build(motion_videos, tmp_path)
    expected = relevance(model, clips, tokens_of(model))
    ran = []

    def backend(graph, _):
        ran.append(graph)
        return graph.forward

    backbone = model.backbone
    if how == "in place":
        backbone.compile(backend=backend)
    elif how == "wrapped":
        model.backbone = torch.compile(backbone, backend=backend)
    else:
        backbone.forward = torch.compile(backbone.forward, backend=backend)
    assert_alike(relevance(model, clips, tokens_of(model)), expected)
    assert not ran
    with torch.no_grad():
        model.backbone(clips)
    assert ran
    assert_alike(relevance(model, clips, tokens_of(model)), expected)
    torch.compiler.reset()


def test_explanations_run_side_by_side_and_beside_the_model(clips, motion_videos, tmp_path):
    """Hooks kept what other threads ran: ``IndexError``, or a tensor of somebody else's graph."""
    model = build(motion_videos, tmp_path)
    tokens = tokens_of(model)
    expected = [relevance(model, clip[None], tokens[:1]) for clip in clips]

    def act(i: int):
        if i % 3 == 2:
            with torch.no_grad():
                return model.neck(model.backbone(clips))
        return relevance(model, clips[i % 3][None], tokens[:1])

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            for i, found in enumerate(pool.map(act, range(24))):
                if i % 3 < 2:
                    assert_alike(found, expected[i % 3])
    finally:
        sys.setswitchinterval(interval)


def test_a_recording_sees_its_own_thread_alone(clips, motion_videos, tmp_path):
    model = build(motion_videos, tmp_path)
    layers = [module for module in model.backbone.modules() if isinstance(module, nn.MultiheadAttention)]
    with record_attention(layers) as calls, ThreadPoolExecutor(1) as pool:
        pool.submit(model.backbone, clips).result()
        assert not calls
        model.backbone(clips)
    assert len(calls) == len(layers)


def test_layers_may_be_called_by_keyword():
    layer, x = KroneckerAttention(8, 2, "kmt"), torch.randn(1, 6, 8)
    plain = nn.MultiheadAttention(8, 2, batch_first=True)
    blocked = torch.ones(6, 6, dtype=torch.bool).triu(1)
    with record_attention([layer, plain]) as calls:
        layer(num_frames=3, x=x)
        plain(query=x, key=x, value=x, attn_mask=blocked)
        with pytest.raises(ValueError, match="no mask or one of tokens by tokens"):
            plain(x, x, x, key_padding_mask=torch.zeros(1, 6, dtype=torch.bool))
    (_, kronecker, _), = calls[0].weights(torch.zeros(1, 6, 8))
    assert torch.equal(kronecker[0, 0] > 0, may_see("kmt", torch.arange(6), torch.arange(6), 2))
    (_, causal, _), = calls[1].weights(torch.zeros(1, 6, 8))
    torch.testing.assert_close(causal.mean(1), plain(x, x, x, attn_mask=blocked)[1])


def test_a_twin_shares_weights_and_nothing_that_changes(clips, motion_videos, tmp_path):
    model = build(motion_videos, tmp_path)
    twin = twin_of(model)
    for (name, own), (_, other) in zip(model.named_parameters(), twin.named_parameters(), strict=True):
        assert own is other, name
    for own, other in zip(model.modules(), twin.modules(), strict=True):
        assert type(own) is type(other) and own is not other
        other.register_forward_hook(lambda *_: 1 / 0)
        assert not own._forward_hooks
    model.backbone(clips)


def test_a_compiled_module_is_not_hooked_for_nothing():
    layer = KroneckerAttention(8, 2, "kmt")
    layer.compile()
    with pytest.raises(ValueError, match="KroneckerAttention is compiled"), record_attention([layer]):
        pass
