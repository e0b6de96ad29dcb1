"""What a run does with its towers, it does with any: freezing, groups, checkpointing, shards, averages, compiling."""
import json
import math

import pytest
import torch
from mmaction.registry import MODELS
from processes import run_on
from small import TOWERS
from toy import scalars, toy_config

from claver_mm.costs import build_without_weights
from claver_mm.engine.launch import build_runner
from claver_mm.engine.record import describe_tower
from claver_mm.engine.sharding import blocks_of
from claver_mm.model import CLAVER
from claver_mm.towers.architectures import tower_of

LEAVES = {"siglip": "towers/siglip2_b16_k400", "pe": "towers/pe_core_b16_k400",
          "mobileclip": "towers/mobileclip2_s2_k400", "resnet": "towers/mobileclip2_s2_k400"}
BLOCKS = {"siglip": "Block", "pe": "EvaBlock", "mobileclip": "RepMixerBlock", "resnet": "Bottleneck"}
EVERY_KIND = pytest.mark.parametrize("kind", LEAVES)
SHORT = {"model.cls_head.bank": None, "train_dataloader.dataset.indices": 8,
         "train_dataloader.batch_size": 4, "val_dataloader.dataset.indices": 2, "param_scheduler": None,
         "test_dataloader": None, "test_cfg": None, "test_evaluator": None, "model.cls_head.num_draws": 99,
         "model.data_preprocessor.blending": None, "optim_wrapper.optimizer.lr": 1e-3}


def config(kind, videos, work_dir, **changes):
    return toy_config(LEAVES[kind], videos, work_dir, TOWERS[kind], **{**SHORT, **changes})


def names_that_change(runner):
    before = {name: value.clone() for name, value in runner.model.named_parameters()}
    runner.train()
    return {name for name, value in runner.model.named_parameters() if not torch.equal(value, before[name])}


@EVERY_KIND
def test_frozen_towers_stay_and_the_neck_learns(kind, motion_videos, tmp_path):
    runner = build_runner(config(kind, motion_videos, tmp_path, **{
        "model.backbone.frozen": True, "model.cls_head.frozen_visual": True, "model.cls_head.frozen_text": True}))
    buffers = {name: value.clone() for name, value in runner.model.named_buffers()}
    changed = names_that_change(runner)
    assert any(name.startswith("neck.") for name in changed)
    assert {name for name in changed if not name.startswith("neck.")} <= {"cls_head.clip.logit_scale",
                                                                         "cls_head.clip.logit_bias"}
    assert all(torch.equal(value, buffers[name]) for name, value in runner.model.named_buffers())


@EVERY_KIND
def test_all_of_a_tower_is_trained_in_groups_by_part_and_recorded(kind, motion_videos, tmp_path):
    runner = build_runner(config(kind, motion_videos, tmp_path))
    changed = names_that_change(runner)
    rates = {id(parameter): (group["name"], group["lr"], group["weight_decay"])
             for group in runner.optim_wrapper.optimizer.param_groups for parameter in group["params"]}
    for name, parameter in runner.model.named_parameters():
        part, times = ("neck", 10) if name.startswith("neck.") else ("rest", 1)
        decayed = parameter.ndim > 1
        assert rates[id(parameter)] == (f"{part} ({'decay' if decayed else 'no decay'})",
                                        pytest.approx(times * 1e-3), 0.001 if decayed else 0.0), name
    for start in ("backbone.visual.", "neck.", "cls_head.clip.text."):
        assert any(name.startswith(start) for name in changed), start
    of_pooling = {name for name, _ in runner.model.cls_head.clip.named_parameters()
                  if name.split(".")[0] not in ("text", "logit_scale", "logit_bias")}
    assert not of_pooling or {f"cls_head.clip.{name}" for name in of_pooling} & changed
    record = json.loads(next(tmp_path.glob("run_*.json")).read_text())["tower"]
    tower = tower_of(TOWERS[kind])
    assert record["reference"]["vision_cfg"] == TOWERS[kind]["vision_cfg"]
    assert (record["kind"], record["pooling"]) == (tower.kind, tower.pooling)
    assert record["preprocessing"]["size"] == list(tower.image_size)
    assert record["loss"] == ("SigmoidLoss" if kind == "siglip" else "CrossEntropyLoss")


def test_the_record_names_a_tower_by_its_reference():
    model = build_without_weights(lambda: MODELS.build(dict(
        type="CLAVERRecognizer", arch="ViT-B-16-SigLIP2", pretrained="webli", neck=None,
        cls_head=dict(num_classes=2))))
    record = describe_tower(model)
    assert record["reference"] == "open_clip:ViT-B-16-SigLIP2/webli" and record["loss"] == "SigmoidLoss"
    assert record["preprocessing"] == dict(size=(224, 224), mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic",
                                           resize_mode="squash")


@EVERY_KIND
def test_computing_activations_again_changes_no_gradient(kind):
    settings = dict(type="CLIPBackbone", arch=TOWERS[kind], grad_checkpointing=True)
    if kind == "resnet":
        with pytest.raises(ValueError, match="cannot compute activations again; leave grad_checkpointing"):
            MODELS.build(settings)
        return
    again, plain = MODELS.build(settings).train(), MODELS.build(dict(settings, grad_checkpointing=False)).train()
    plain.load_state_dict(again.state_dict())
    clips, calls = torch.randn(1, 3, 2, *tower_of(TOWERS[kind]).image_size), []
    blocks = blocks_of(again)
    for block in blocks:
        block.register_forward_pre_hook(lambda *_: calls.append(1))
    for backbone in (again, plain):
        backbone(clips).square().sum().backward()
    assert len(calls) > len(blocks)
    for (name, one), (_, other) in zip(again.named_parameters(), plain.named_parameters()):
        torch.testing.assert_close(one.grad, other.grad, msg=lambda text, name=name: name + text)


@EVERY_KIND
def test_averaged_weights_are_validated_with_any_tower(kind, motion_videos, tmp_path):
    cfg = config(kind, motion_videos, tmp_path)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type="EMAHook", momentum=0.5)]
    build_runner(cfg).train()
    saved = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    trained, averaged = saved["state_dict"], saved["ema_state_dict"]
    assert {f"module.{name}" for name in trained} == set(averaged) - {"steps"}
    assert any(not torch.equal(value, averaged[f"module.{name}"]) for name, value in trained.items()
               if name.startswith("backbone."))


@EVERY_KIND
def test_parts_of_any_tower_are_compiled(kind, motion_videos, tmp_path):
    """By the cheapest backend; names of weights and the losses are those of a run that is not compiled."""
    runs = {}
    for name, options in (("plain", {}), ("compiled", {"compile": dict(parts=["backbone.visual", "neck"],
                                                                       backend="eager")})):
        runner = build_runner(config(kind, motion_videos, tmp_path / name, **options))
        runner.train()
        runs[name] = [entry["loss"] for entry in scalars(tmp_path / name) if "loss" in entry], set(
            runner.model.state_dict())
    assert runner.model.backbone.visual._compiled_call_impl is not None
    assert runs["compiled"][0] == pytest.approx(runs["plain"][0], rel=1e-4)
    assert runs["compiled"][1] == runs["plain"][1]


def train(configs):
    for kind, cfg in configs.items():
        runner = build_runner(cfg)
        with torch.backends.mkldnn.flags(enabled=kind != "mobileclip"):  # see tests/conftest.py
            runner.train()
        sharded = {type(module).__name__.removeprefix("FSDP") for module in runner.model.modules()
                   if type(module).__name__.startswith("FSDP")}
        assert cfg.launcher == "none" or {BLOCKS[kind], "KroneckerBlock", "ResidualAttentionBlock"} <= sharded, sharded


SGD = {"optim_wrapper.optimizer": dict(_delete_=True, type="SGD", lr=0.01, momentum=0.9, weight_decay=0.001)}


@pytest.fixture(scope="module")
def shards(motion_videos, tmp_path_factory):
    """Of configs that are read here, where towers are known already: to look at one costs more than the training."""
    folder = tmp_path_factory.mktemp("any_tower")

    def configs(name, launcher, batch, **changes):
        read = {kind: config(kind, motion_videos, folder / name / kind, **{
            "train_dataloader.batch_size": batch, **changes, **SGD}) for kind in LEAVES}
        for cfg in read.values():
            cfg.launcher, cfg.experiment_name = launcher, name
        return read

    run_on(1, train, configs("one", "none", 4))
    run_on(2, train, configs("two", "pytorch", 2, **{"model_wrapper_cfg.type": "FullyShard"}))
    return folder


def test_a_sharded_tower_trains_as_a_whole_one(shards):
    for kind in LEAVES:
        one, two = (torch.load(shards / name / kind / "epoch_1.pth", weights_only=True)["state_dict"]
                    for name in ("one", "two"))
        assert list(one) == list(two)
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=2e-5, atol=1e-5,
                                       msg=lambda text, name=f"{kind} {name}": name + text)


@pytest.mark.parametrize("kind", TOWERS)
def test_every_kind_trains_and_tests(kind, motion_videos, tmp_path):
    """Step 0 is the tower's own answer, since the neck begins as the identity."""
    cfg = toy_config("towers/mobileclip2_s2_k400", motion_videos, tmp_path, TOWERS[kind], **{
        "train_dataloader.dataset.indices": 4, "val_dataloader.dataset.indices": 2,
        "test_dataloader.dataset.indices": 2, "train_dataloader.batch_size": 4, "model.cls_head.bank": None})
    runner = build_runner(cfg)
    model = CLAVER.of(runner.model.eval())
    clips = torch.randn(1, 3, 8, *tower_of(TOWERS[kind]).image_size)
    with torch.no_grad():
        tokens = model.image_tokens(clips)
        assert torch.equal(model.read(model.mix(tokens)), model.read(tokens))
    assert any(name.startswith("neck.") for name in names_that_change(runner))
    assert all(math.isfinite(entry["loss"]) for entry in scalars(tmp_path) if "loss" in entry)
    assert 0 <= runner.test()["acc/top1"] <= 1
