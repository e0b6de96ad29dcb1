"""Optimiser groups of the recipes."""
import pytest
from mmaction.registry import MODELS
from mmengine.optim import build_optim_wrapper
from toy import ROOT, TINY, toy_config

from claver_mm.engine.configs import read_config
from claver_mm.engine.launch import build_runner


def tiny_b16(**frozen):
    cfg = read_config(ROOT / "configs/claver_b16_k400.py")
    for part in ("backbone", "neck", "cls_head"):
        cfg.model[part].arch = TINY
    cfg.model.backbone.pretrained = cfg.model.cls_head.pretrained = None
    cfg.model.backbone.frozen = frozen.get("image", False)
    cfg.model.cls_head.update(frozen_visual=frozen.get("image", False), frozen_text=frozen.get("text", False))
    return MODELS.build(dict(cfg.model, type="mmaction.Recognizer3D")), cfg


@pytest.mark.parametrize("frozen", [{}, dict(image=True), dict(text=True), dict(image=True, text=True)],
                         ids=["all train", "image frozen", "text frozen", "both frozen"])
def test_every_trainable_parameter_is_in_exactly_one_group_at_its_rate(frozen):
    """In the published code ``("temporal_")`` is a string, groups match letter by letter, and CLIP never trains."""
    model, cfg = tiny_b16(**frozen)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    names = {parameter: name for name, parameter in model.named_parameters()}
    seen = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert parameter not in seen, names[parameter]
            seen[parameter] = (group["lr"], group["weight_decay"])
    for parameter, name in names.items():
        if not parameter.requires_grad:
            assert parameter not in seen, name
            continue
        temporal, flat = name.startswith("neck."), parameter.ndim <= 1
        assert seen[parameter] == (pytest.approx(12e-5 if temporal else 12e-6), 0.0 if flat else 0.001), name
    assert any(name.startswith("neck.") and name.endswith("temporal_embedding") for name in names.values())
    assert all(parameter.requires_grad for parameter, name in names.items() if name.startswith("neck."))


@pytest.mark.parametrize("options, says", [
    (dict(lr_mult=dict(nek=10)), r"lr_mult names \['nek'\]"),
    (dict(custom_keys={}, lr_mult={}), "unknown paramwise_cfg"),
])
def test_options_that_match_nothing_are_refused(options, says):
    model, cfg = tiny_b16()
    cfg.optim_wrapper.pop("paramwise_cfg")
    with pytest.raises(ValueError, match=says):
        build_optim_wrapper(model, dict(cfg.optim_wrapper, paramwise_cfg=options))


@pytest.mark.parametrize("accumulated", [1, 4])
def test_rates_of_all_groups_scale_with_the_total_batch(motion_videos, tmp_path, accumulated):
    """The stock Runner leaves accumulation out."""
    cfg = toy_config("claver_b16_k400", motion_videos, tmp_path, **{
        "model.cls_head.bank": None, "train_dataloader.batch_size": 8, "auto_scale_lr.enable": True,
        "auto_scale_lr.base_batch_size": 4, "optim_wrapper.accumulative_counts": accumulated})
    runner = build_runner(cfg)
    wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner._train_loop = runner.build_train_loop(cfg.train_cfg)
    runner.scale_lr(wrapper, cfg.auto_scale_lr)
    ratio = 2 * accumulated
    for group in wrapper.optimizer.param_groups:
        expected = 12e-6 * ratio * (10 if group["name"].startswith("neck") else 1)
        assert group["lr"] == pytest.approx(expected), group["name"]
    assert wrapper.get_lr()["base_lr"] == [pytest.approx(12e-6 * ratio)]


def test_a_rate_cannot_be_scaled_from_an_unknown_batch(motion_videos, tmp_path):
    runner = build_runner(toy_config("claver_b16_k400", motion_videos, tmp_path, **{"model.cls_head.bank": None}))
    with pytest.raises(ValueError, match="auto_scale_lr needs base_batch_size"):
        runner.scale_lr(None, dict(enable=True))
