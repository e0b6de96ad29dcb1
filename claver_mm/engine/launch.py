"""From a config to a run: what ``claver train`` and ``claver test`` do, with plain arguments.

    runner = build_runner(for_training(run_config("claver_b16_k400", {"train_cfg.max_epochs": 5}), amp=True))
    runner.train()
"""
from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path

from mmaction.registry import RUNNERS
from mmengine.config import Config
from mmengine.runner import Runner

from .configs import read_config
from .console import verbose


def run_config(config: str | Path, changes: Mapping[str, object] | None = None, *, work_dir: str | None = None,
               launcher: str = "none", local_rank: int = 0, show_log: bool = False) -> Config:
    """A whole config, with all that a run needs put in.

    Args:
        config: A file, or a shipped config by name.
        changes: Settings to replace, by dotted key; what they say of ``launcher`` and ``work_dir`` goes first.
        work_dir: Folder for logs and checkpoints; the config's, or ``work_dirs/<config>``, when None.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        local_rank: Of this process on its machine, where the launcher has not said it in ``LOCAL_RANK``.
        show_log: Show all that goes into the log file.

    Raises:
        FileNotFoundError, ValueError: As ``read_config``.
    """
    changes = changes or {}
    cfg = read_config(config, changes)
    os.environ.setdefault("LOCAL_RANK", str(local_rank))
    if "launcher" not in changes:
        cfg.launcher = launcher
    if "work_dir" not in changes:
        cfg.work_dir = work_dir or cfg.get("work_dir") or str(Path("work_dirs") / Path(config).stem)
    if show_log:
        verbose(cfg)
    return cfg


def for_training(cfg: Config, *, resume: str | None = None, amp: bool = False, validate: bool = True,
                 auto_scale_lr: bool = False, seed: int | None = None, diff_rank_seed: bool = False,
                 deterministic: bool = False) -> Config:
    """The config of a training; ``cfg`` stays as it is.

    Args:
        cfg: See ``run_config``.
        resume: A checkpoint to go on from; ``auto`` for the newest whole one in the work folder.
        amp: Mixed precision: float16 on a GPU, bfloat16 on a CPU.
        validate: Whether to evaluate while training.
        auto_scale_lr: Scale the learning rate by the total batch over ``auto_scale_lr.base_batch_size``.
        seed: That of the config when None.
        diff_rank_seed: Another seed for each rank.
        deterministic: Deterministic cuDNN.

    Raises:
        ValueError: Something that this config cannot honour.
    """
    cfg = copy.deepcopy(cfg)
    if not validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if amp:
        wrapper = cfg.optim_wrapper.get("type", "OptimWrapper")
        if wrapper not in ("OptimWrapper", "AmpOptimWrapper"):
            raise ValueError(f"mixed precision (--amp) cannot be combined with optim_wrapper.type={wrapper!r}")
        cfg.optim_wrapper.type = "AmpOptimWrapper"
    if resume == "auto":
        if "runner_type" not in cfg:
            raise ValueError("--resume without a checkpoint needs runner_type='ClaverRunner' in the config, which "
                             "looks for one; name it: --resume CHECKPOINT")
        cfg.resume = "auto"
    elif resume:
        cfg.resume, cfg.load_from = True, resume
    if auto_scale_lr:
        if "auto_scale_lr" not in cfg:
            raise ValueError("--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config")
        cfg.auto_scale_lr.enable = True
    randomness = dict(cfg.get("randomness") or {})
    if seed is not None:
        randomness["seed"] = seed
    cfg.randomness = dict(randomness, diff_rank_seed=diff_rank_seed or randomness.get("diff_rank_seed", False),
                          deterministic=deterministic or randomness.get("deterministic", False))
    return cfg


def for_test(cfg: Config, checkpoint: str | None, *, dump: str | None = None, show_dir: str | None = None,
             interval: int = 1) -> Config:
    """The config of a test; ``cfg`` stays as it is.

    Args:
        cfg: See ``run_config``.
        checkpoint: Weights that are tested; None for the pretrained ones that the config names.
        dump: Pickle file to write scores, label and path of every video to.
        show_dir: Folder to draw predictions into.
        interval: Draw one of so many videos.

    Raises:
        ValueError: A file of another kind, or something that this config cannot honour.
    """
    if interval < 1:
        raise ValueError(f"interval must be at least 1, got {interval}")
    if dump and not dump.endswith((".pkl", ".pickle")):
        raise ValueError(f"--dump writes a pickle file, {dump!r} should end in .pkl")
    cfg = copy.deepcopy(cfg)
    cfg.load_from, cfg.resume = checkpoint, False
    if show_dir:
        if "visualization" not in cfg.get("default_hooks", {}):
            raise ValueError("--show-dir needs default_hooks.visualization=dict(type='VisualizationHook')")
        cfg.default_hooks.visualization.update(enable=True, out_dir=show_dir, interval=interval)
    if dump:
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list | tuple) else [cfg.test_evaluator]
        cfg.test_evaluator = [*evaluators, dict(type="DumpResults", out_file_path=dump)]
    return cfg


def build_runner(cfg: Config) -> Runner:
    """The runner that the config names, else MMEngine's own."""
    return RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
