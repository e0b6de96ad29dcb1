"""Every leaf config trains and tests one step through the host's Runner."""
import math
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from torch.nn.functional import normalize
from toy import ROOT, TINY, scalars, toy_config

from claver_mm.engine.configs import read_config
from claver_mm.engine.launch import build_runner
from claver_mm.settings.keys import plain, unscoped
from claver_mm.weights import head_weights, image_trunk_weights, load_strict

LEAVES = sorted(str(path.relative_to(ROOT / "configs").with_suffix("")) for path in (ROOT / "configs").rglob("*.py")
                if "_base_" not in path.parts)
TESTED_ALONE = "zero_shot/tower"
"""Any tower as it is, which nothing is trained of; see tests/recognizer/test_from_pretrained.py."""
TOWERS = [name for name in LEAVES if name.startswith("towers/")]
CLAVER = [name for name in LEAVES if name.startswith("claver_") and "motion" not in name]
BY_DATA_SET = {"k400": 400, "k600": 600, "ucf101": 101, "hmdb51": 51}


@pytest.mark.parametrize("name", [name for name in LEAVES if name != TESTED_ALONE])
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
    assert_every_trainable_parameter_is_in_one_group(runner)
    losses = [entry["loss"] for entry in scalars(tmp_path) if "loss" in entry]
    assert losses and all(math.isfinite(loss) for loss in losses)
    assert 0 <= runner.test()["acc/top1"] <= 1


def assert_every_trainable_parameter_is_in_one_group(runner):
    """Those of the neck at ten times the rate, frozen ones in none.

    In the published code ``("temporal_")`` is a string, matched letter by letter, and CLIP is never trained.
    """
    optimizer = runner.optim_wrapper.optimizer
    if "CLIP" not in type(runner.model.backbone).__name__:
        return
    group_of = {}
    for number, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            assert id(parameter) not in group_of
            group_of[id(parameter)] = number
    initial = [group["initial_lr"] for group in optimizer.param_groups]
    base = runner.cfg.optim_wrapper.optimizer.lr
    for name, parameter in runner.model.named_parameters():
        assert (id(parameter) in group_of) == parameter.requires_grad, name
        if parameter.requires_grad and "motion" not in runner.cfg.filename:
            rate = base * (10 if name.startswith("neck.") else 1)
            assert initial[group_of[id(parameter)]] == pytest.approx(rate), name


@pytest.mark.parametrize("name", TOWERS)
def test_a_tower_starts_from_its_own_zero_shot_scores(name, motion_videos, tmp_path):
    """Those of open_clip's whole model: unit frames, averaged; softmax over classes; mean over texts, then views."""
    cfg = toy_config(name, motion_videos, tmp_path, **{"test_dataloader.dataset.indices": 2})
    runner = build_runner(cfg)
    ours, theirs = runner.model.eval(), open_clip.CustomTextCLIP(**plain(cfg.model.backbone.arch)).eval()
    load_strict(ours.backbone.visual, image_trunk_weights(theirs.state_dict()), "whole")
    load_strict(ours.cls_head.clip, head_weights(theirs.state_dict()), "whole")
    texts = ours.cls_head.text_tokens
    with torch.no_grad():
        texts = normalize(theirs.encode_text(texts.flatten(0, 1)), dim=-1).unflatten(0, texts.shape[:2])
        for data in runner.test_dataloader:
            clips = ours.data_preprocessor(data, False)["inputs"]
            found = torch.stack([sample.pred_score for sample in ours.test_step(data)])
            frames = normalize(theirs.encode_image(clips.flatten(0, 1).transpose(1, 2).flatten(0, 1)), dim=-1)
            videos = frames.unflatten(0, (*clips.shape[:2], -1)).mean(2)
            logits = theirs.logit_scale.exp() * torch.einsum("bve,cme->bvmc", videos, texts)
            if theirs.logit_bias is not None:
                logits = logits + theirs.logit_bias
            assert torch.allclose(found, logits.softmax(-1).mean((1, 2)), atol=1e-5)
            assert found.std() > 1e-4


@pytest.mark.parametrize("name", TOWERS)
def test_a_tower_is_named_with_weights_that_open_clip_has_and_their_activation(name):
    model = read_config(ROOT / "configs" / f"{name}.py").model
    tag = open_clip.get_pretrained_cfg(model.backbone.arch, model.backbone.pretrained)
    assert tag and tag.get("quick_gelu", False) == open_clip.get_model_config(model.backbone.arch).get("quick_gelu",
                                                                                                     False)
    assert model.neck.zero_init_residual and model.neck.num_frames == 8
    assert model.cls_head.label_smooth_eps == (0.0 if "siglip" in name else 0.1)


@pytest.mark.parametrize("name", CLAVER)
def test_recipe_is_that_of_table_14(name):
    cfg = read_config(ROOT / "configs" / f"{name}.py")
    large = "_l14" in name
    frames = 32 if "32f" in name else 16 if "16f" in name or "336" in name else 8
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


@pytest.mark.parametrize("name", [name for name in LEAVES if ("/" in name or name in CLAVER) and name != TESTED_ALONE])
def test_classes_prompts_and_mixed_targets_are_those_of_the_data_set(name):
    cfg = read_config(ROOT / "configs" / f"{name}.py")
    count = next((count for data_set, count in BY_DATA_SET.items() if data_set in name), 400)
    assert {augment.num_classes for augment in cfg.model.data_preprocessor.blending.augments} == {count}
    loaders = [cfg[f"{split}_dataloader"] for split in ("train", "val", "test")]
    lists = {cfg.model.cls_head.classes, *(loader.dataset.classes for loader in loaders)}
    assert {len(Path(path).read_text().splitlines()) for path in lists} == {count}
    data_set = {400: "kinetics400", 600: "kinetics600", 101: "ucf101", 51: "hmdb51"}[count]
    assert all(data_set in path for path in lists)
    assert data_set in cfg.train_dataloader.dataset.ann_file and data_set in cfg.test_dataloader.dataset.ann_file
    if cfg.model.cls_head.get("bank"):
        assert Path(cfg.model.cls_head.bank).stem in data_set


@pytest.mark.parametrize("name, epochs, lr", [
    ("zero_shot/claver_b16_32f_k400", 20, 12e-6), ("few_shot/claver_b16_32f_hmdb51", 80, 2e-6),
    ("few_shot/claver_b16_32f_kmct_ucf101", 80, 2e-6)])
def test_zero_and_few_shot_recipes_are_those_of_table_14(name, epochs, lr):
    cfg = read_config(ROOT / "configs" / f"{name}.py")
    warm_up, cosine = cfg.param_scheduler
    assert (cfg.train_cfg.max_epochs, warm_up.end, cosine.end, cosine.eta_min_ratio) == (epochs, 5, epochs, 0.01)
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.model.neck.num_frames == 32 and cfg.model.backbone.arch == "B/16"
    assert [step.clip_len for step in cfg.test_dataloader.dataset.pipeline if step.type == "UniformSample"] == [32]
    assert not cfg.get("resume"), "weights are taken from the pretrained model, its epoch and optimiser are not"


@pytest.mark.parametrize("name, neck, texts", [
    ("components_clip_mean", None, 12), ("components_kmt_1layer", ("kmt", 1), 12),
    ("components_kmt_sixth", ("kmt", 2), 12), ("components_kmt_third", ("kmt", 4), 12),
    ("components_prompts", None, 24), ("temporal_class_token", ("class_token", 4), 24),
    ("temporal_joint", ("joint", 4), 24), ("temporal_pipeline", ("pipeline", 4), 24),
    ("temporal_spatial", ("spatial", 4), 24), ("text_names", None, 1), ("text_templates", None, 12),
    ("text_decomposition", None, 16), ("text_synonym", None, 20), ("text_body_parts", None, 24)])
def test_an_ablation_changes_what_its_name_says(name, neck, texts):
    cfg = read_config(ROOT / f"configs/ablations/{name}.py")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # long texts are cut to the toy's context
        assert MODELS.build(dict(cfg.model.cls_head, arch=TINY, pretrained=None)).text_tokens.shape[1] == texts
    assert (cfg.model.neck is None) == (neck is None)
    if neck is not None:
        with torch.device("meta"):
            transformer = MODELS.build(cfg.model.neck).transformer
        assert (transformer.pattern, len(transformer.resblocks)) == neck


@pytest.mark.parametrize("name", LEAVES)
def test_every_file_that_a_config_names_is_there(name):
    """The description files that the published configs name do not exist."""
    cfg = read_config(ROOT / "configs" / f"{name}.py")
    loaders = [cfg[key] for key in (f"{split}_dataloader" for split in ("train", "val", "test")) if key in cfg]
    for node in (cfg.model.cls_head, *(loader.dataset for loader in loaders)):
        for key in ("classes", "templates", "bank"):
            if isinstance(node.get(key), str):
                with open(node[key]) as file:
                    assert file.read().strip()


@pytest.mark.parametrize("name", CLAVER)
def test_claver_is_trained_on_interpretive_prompts(name):
    cfg = read_config(ROOT / "configs" / f"{name}.py")
    head = dict(cfg.model.cls_head, arch=TINY, pretrained=None)
    with pytest.warns(UserWarning, match="is cut to the context of 24"):
        assert MODELS.build(head).text_tokens.shape[1:] == (12 + 3 * 4, 24)


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_as_written_serves_the_tools_of_the_host(name):
    """They build ``model`` and read the steps of tests in two places, without our reading of configs."""
    raw, whole = Config.fromfile(ROOT / "configs" / f"{name}.py"), read_config(ROOT / "configs" / f"{name}.py")
    first, *others = map(unscoped, (raw.test_pipeline, raw.test_dataloader.dataset.pipeline,
                                    whole.test_dataloader.dataset.pipeline))
    for step in others[1]:
        if step["type"] == "PrepareFrames":  # which follows the tower, and refuses to be built where it does not
            assert [step.pop(key) for key in ("size", "interpolation", "resize_mode")]
    assert others == [first, first]
    if raw.model.type == "CLAVERRecognizer":
        parts = {*raw.model.get("backbone", {}), *raw.model.get("cls_head", {})}
        assert not {"arch", "pretrained", "num_frames", "classes"} & parts
        assert whole.model.type == "Recognizer3D"


def test_the_registry_of_the_host_builds_what_our_reading_writes_out(motion_videos, tmp_path):
    raw, whole = (read(ROOT / "configs/claver_motion.py") for read in (Config.fromfile, read_config))
    models = [init_recognizer(cfg, device="cpu") for cfg in (raw, whole)]
    assert type(models[0]).__name__ == "Recognizer3D"
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in models]
    assert shapes[0] == shapes[1] and models[0].cls_head.class_names == models[1].cls_head.class_names
    video = str(motion_videos / (motion_videos / "val.txt").read_text().split()[0])
    assert inference_recognizer(models[0], video).pred_score.shape == (8,)


def test_configs_work_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = read_config(ROOT / "configs/claver_b32_k400.py")
    assert MODELS.build(dict(type="CLIPBackbone", arch=cfg.model.backbone.arch)) is not None
    assert len(open(cfg.model.cls_head.classes).read().splitlines()) == 400


PIPELINES = [pytest.param(path, split, id=f"{path.stem}-{split}")
             for path in sorted((ROOT / "configs").rglob("*.py")) for split in ("train", "val", "test")
             if f"{split}_pipeline = [" in path.read_text()]


@pytest.mark.parametrize("path, split", PIPELINES)
def test_a_crop_of_fixed_size_is_cut_out_of_frames_of_known_size(path, split):
    """The motion configs cut 32 pixels out of 720 without a word, and told 41.7 % right instead of all."""
    steps = [step.type for step in Config.fromfile(path)[f"{split}_pipeline"]]
    crops = [number for number, kind in enumerate(steps) if kind in ("RandomCrop", "CenterCrop", "ThreeCrop")]
    assert all("Resize" in steps[:number] for number in crops)
