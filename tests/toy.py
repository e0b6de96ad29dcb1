"""Any config of the project, made small enough for a test: tiny towers, 32 pixels, motion videos."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from small import small_tower

from claver_mm.engine.configs import read_config
from claver_mm.language import KINDS
from claver_mm.towers.architectures import tower_of

ROOT = Path(__file__).resolve().parents[1]
TINY = dict(
    embed_dim=32, quick_gelu=True,
    vision_cfg=dict(layers=3, width=64, head_width=32, patch_size=8, image_size=32),
    text_cfg=dict(context_length=24, width=32, heads=2, layers=2))
"""A CLIP of a few thousand weights beside its vocabulary."""

NARROW = dict(num_blocks=[1, 1, 2, 1], width_factor=[0.25, 0.25, 0.25, 4.0], num_conv_branches=[1, 1, 1, 1],
              num_se_blocks=[0, 0, 1, 1])
"""MobileOne-S4 but for depth and width; the last stage has its 2048 channels, which a neck sees."""

SIZES = (224, 256, 293, 336, 384)
"""Sides of the shipped configs' frames."""


def toy_config(name: str, videos: Path, work_dir: Path, arch: dict | None = None, **changes) -> Config:
    """Config ``configs/<name>.py``, whole, on the motion videos, one epoch, in ``work_dir``; with a small tower of the
    same kind, or of ``arch``."""
    epochs = changes.pop("train_cfg.max_epochs", 1)
    cfg = read_config(ROOT / "configs" / f"{name}.py", {"train_cfg.max_epochs": epochs})
    side = 32
    if "CLIP" in cfg.model.backbone.type:
        arch = arch or small_tower(cfg.model.backbone.arch)
        side = tower_of(arch).image_size[0]
        for part in ("backbone", "neck", "cls_head"):
            if cfg.model.get(part) and "arch" in cfg.model[part]:
                cfg.model[part].arch = arch
    if "MobileOne" in cfg.model.backbone.type:
        cfg.model.backbone.arch = NARROW
    cfg.model.backbone.pop("init_cfg", None)
    for part in (cfg.model.backbone, cfg.model.cls_head):
        if "pretrained" in part:
            part.pretrained = None
    _shrink(cfg.model, dict.fromkeys((400, 600, 101, 51), 8))
    if "classes" in cfg.model.cls_head:
        cfg.model.cls_head.classes = str(videos / "classes.txt")
    if cfg.model.cls_head.get("bank"):
        names = (videos / "classes.txt").read_text().splitlines()
        cfg.model.cls_head.bank = {name: {kind: [f"{name}, {kind} {i}" for i in range(4)] for kind in KINDS}
                                   for name in names}
    for split, lines in (("train", "train"), ("val", "val"), ("test", "val")):
        loader = cfg[f"{split}_dataloader"]
        loader.update(batch_size=8 if split == "train" else 2, num_workers=0, persistent_workers=False)
        loader.dataset.update(ann_file=str(videos / f"{lines}.txt"), data_prefix=dict(video=str(videos)))
        if "classes" in loader.dataset:
            loader.dataset.classes = str(videos / "classes.txt")
        for step in (*loader.dataset.pipeline, *(cfg.get(f"{split}_pipeline") or ())):
            _shrink(step, dict.fromkeys(SIZES, side))
    cfg.train_cfg.val_begin = cfg.train_cfg.val_interval = 1
    if cfg.param_scheduler[0].get("convert_to_iter_based"):  # epochs of few iterations warm up alike in all runs
        cfg.param_scheduler = [dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=10)]
    cfg.load_from = None
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir = str(work_dir)
    cfg.merge_from_dict(changes)
    return cfg


def _shrink(node, numbers: dict[int, int]) -> None:
    """Replace whole numbers anywhere in a config, in place."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        if isinstance(value, tuple):
            node[key] = tuple(numbers.get(entry, entry) for entry in value)
        elif isinstance(value, dict | list):
            _shrink(value, numbers)
        elif type(value) is int:
            node[key] = numbers.get(value, value)


def scalars(work_dir: Path) -> list[dict]:
    """What the run logged, one entry a line, from its newest log."""
    import json
    newest = max(work_dir.glob("*/vis_data/scalars.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line) for line in newest.read_text().splitlines()]


def leave_configs_unformatted(setattr: Callable = setattr) -> None:
    """MMEngine formats the config up to eight times in a run, which takes longer than the rest of a short one."""
    import mmengine.config.config
    setattr(mmengine.config.config, "FormatCode", lambda text, **_: (text, True))
