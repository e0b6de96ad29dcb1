"""Optimiser groups of the recipes."""
import pytest
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from toy import ROOT, TINY


def tiny_b16(**frozen):
    cfg = Config.fromfile(ROOT / "configs/claver_b16_k400.py")
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
