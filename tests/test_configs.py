"""Every leaf config trains and tests one step through the host's Runner."""
import math

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from toy import ROOT, TINY, scalars, toy_config

from claver_mm.engine.launch import build_runner

LEAVES = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
CLAVER = [name for name in LEAVES if name.startswith("claver_")]


@pytest.mark.parametrize("name", LEAVES)
def test_leaf_trains_and_tests(name, motion_videos, tmp_path):
    changes = {"train_dataloader.dataset.indices": 4, "val_dataloader.dataset.indices": 2,
               "test_dataloader.dataset.indices": 2, "train_dataloader.batch_size": 4}
    if "claver" not in name:
        changes["test_dataloader.batch_size"] = 1
    cfg = toy_config(name, motion_videos, tmp_path, **changes)
    runner = build_runner(cfg)
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner.train()
    after = runner.model.state_dict()
    trained_part = "neck." if cfg.model.get("neck") else "backbone."
    assert any(not torch.equal(before[key], after[key]) for key in before if key.startswith(trained_part))
    losses = [entry["loss"] for entry in scalars(tmp_path) if "loss" in entry]
    assert losses and all(math.isfinite(loss) for loss in losses)
    assert 0 <= runner.test()["acc/top1"] <= 1


@pytest.mark.parametrize("name", CLAVER)
def test_recipe_is_that_of_table_14(name):
    cfg = Config.fromfile(ROOT / "configs" / f"{name}.py")
    if "motion" in name:
        pytest.skip("the demo has a recipe of its own")
    large = "_l14" in name
    frames = 16 if "16f" in name or "336" in name else 8
    size, short_side = (336, 384) if "336" in name else (224, 256)
    optimizer, (warm_up, cosine) = cfg.optim_wrapper.optimizer, cfg.param_scheduler
    assert (optimizer.type, optimizer.lr, optimizer.betas, optimizer.weight_decay) == ("AdamW", 12e-6, (.9, .98), 1e-3)
    assert cfg.optim_wrapper.paramwise_cfg == dict(lr_mult=dict(neck=10))
    assert (warm_up.end, cosine.begin, cosine.end, cosine.eta_min_ratio) == (5, 5, 40 if large else 60, 0.01)
    assert cfg.train_cfg.max_epochs == cosine.end
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == (32 if large else 128)
    assert cfg.model.neck.num_frames == frames and cfg.model.neck.depth == 1 / 3
    assert cfg.model.neck.type == ("KMCTNeck" if "kmct" in name else "KMTNeck")
    arch = {"b32": "B/32", "b16": "B/16", "l14": "L/14@336" if "336" in name else "L/14"}[name.split("_")[1]]
    assert {cfg.model[part].arch for part in ("backbone", "neck", "cls_head")} == {arch}
    train, val, test = (cfg[f"{split}_dataloader"].dataset.pipeline for split in ("train", "val", "test"))
    assert {step.clip_len for pipeline in (train, val, test) for step in pipeline if step.type == "UniformSample"} == {
        frames}
    steps = {step.type: step for step in train}
    assert steps["MultiScaleCrop"].input_size == size
    assert [step.scale for step in train if step.type == "Resize"] == [(-1, short_side), (size, size)]
    assert (steps["RandomApply"].prob, steps["ClipGrayscale"].prob) == (0.8, 0.2)
    assert [step.num_clips for step in test if step.type == "UniformSample"] == [4]
    assert [step.crop_size for step in test if step.type == "ThreeCrop"] == [size]
    assert cfg.model.cls_head.label_smooth_eps == 0.1
    mixup, cutmix = cfg.model.data_preprocessor.blending.augments
    assert (mixup.alpha, cutmix.alpha, cfg.model.data_preprocessor.blending.probs) == (0.8, 1.0, [0.5, 0.5])


@pytest.mark.parametrize("name", LEAVES)
def test_every_file_that_a_config_names_is_there(name):
    """The description files that the published configs name do not exist."""
    cfg = Config.fromfile(ROOT / "configs" / f"{name}.py")
    for node in (cfg.model.cls_head, *(cfg[f"{split}_dataloader"].dataset for split in ("train", "val", "test"))):
        for key in ("classes", "templates", "bank"):
            if isinstance(node.get(key), str):
                with open(node[key]) as file:
                    assert file.read().strip()


@pytest.mark.parametrize("name", [name for name in CLAVER if "motion" not in name])
def test_claver_is_trained_on_interpretive_prompts(name):
    cfg = Config.fromfile(ROOT / "configs" / f"{name}.py")
    head = dict(cfg.model.cls_head, arch=TINY, pretrained=None)
    with pytest.warns(UserWarning, match="is cut to the context of 24"):
        assert MODELS.build(head).text_tokens.shape == (400, 12 + 3 * 4, 24)


def test_configs_work_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(ROOT / "configs/claver_b32_k400.py")
    assert MODELS.build(dict(type="CLIPBackbone", arch=cfg.model.backbone.arch)) is not None
    assert len(open(cfg.model.cls_head.classes).read().splitlines()) == 400
