"""Mixed precision and launches without an accelerator, and bfloat16 in the stock heads."""
import re

import pytest
import torch
from acts import build_amp_wrapper, launch_on_cpu, score_in_bfloat16
from mmengine.registry import OPTIM_WRAPPERS

from claver_mm import compat


def test_stock_amp_wrapper_fails_without_accelerator(assert_stock_fails):
    """amp_optimizer_wrapper.py:76."""
    assert_stock_fails(build_amp_wrapper, "AssertionError")


without_accelerator = pytest.mark.skipif(
    OPTIM_WRAPPERS.get("AmpOptimWrapper") is not compat.AutocastOptimWrapper,
    reason="the stock wrapper is in place")


@without_accelerator
@pytest.mark.parametrize("dtype", [None, "bfloat16", torch.bfloat16])
def test_amp_trains_in_bfloat16_on_the_cpu(dtype):
    model, wrapper = build_amp_wrapper(dtype=dtype, loss_scale="dynamic", clip_grad=dict(max_norm=1.0))
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        out = model(torch.ones(2, 4))
    wrapper.update_params(out.float().sum())
    assert out.dtype == torch.bfloat16
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)


@without_accelerator
@pytest.mark.parametrize("argument, way_out", [
    (dict(dtype="float16"), "bfloat16"),
    (dict(loss_scale=512.0), "dynamic"),
    (dict(loss_scale=dict(init_scale=512.0)), "dynamic"),
    (dict(use_fsdp=True), "False"),
])
def test_amp_argument_that_needs_an_accelerator_is_refused(argument, way_out):
    with pytest.raises(ValueError, match=f"needs an accelerator.*set '?{way_out}"):
        build_amp_wrapper(**argument)


@without_accelerator
def test_amp_state_with_a_loss_scale_loads_on_the_cpu():
    _, wrapper = build_amp_wrapper()
    state = wrapper.state_dict() | dict(loss_scaler=dict(scale=512.0))
    state["param_groups"][0]["lr"] = 0.5
    wrapper.load_state_dict(state)
    assert wrapper.get_lr()["lr"] == [0.5]


def test_stock_heads_fail_in_bfloat16(assert_stock_fails):
    assert_stock_fails(score_in_bfloat16, "TypeError: Got unsupported ScalarType BFloat16")


def test_stock_heads_train_in_bfloat16():
    score_in_bfloat16()


def test_stock_launch_needs_cuda(assert_stock_fails, stock):
    """``ClaverRunner`` starts gloo instead; tests/test_tools.py trains and tests two such processes."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert_stock_fails(launch_on_cpu, ("RuntimeError", "AssertionError", "AttributeError"))  # as PyTorch is built
    assert re.search("NVIDIA|CUDA|cuda", stock["launch_on_cpu"])  # not of a port in use, say
