"""What ``tools/train.py`` and ``tools/test.py`` share: MMAction2's options, config, runner."""
from __future__ import annotations

import argparse
import os
from pathlib import Path

from mmaction.registry import RUNNERS
from mmengine.config import Config, DictAction
from mmengine.runner import Runner


def launch_parser(description: str) -> argparse.ArgumentParser:
    """Parser with the options of every tool that runs a config."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="folder for logs and checkpoints; work_dirs/<config> by default")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
                        help="override settings of the config, e.g. train_cfg.max_epochs=5 model.neck.depth=2")
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none",
                        help="job launcher; dist_train.sh and slurm_train.sh set it")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """The config with work folder, launcher and ``--cfg-options`` put in."""
    if not Path(args.config).is_file():
        raise SystemExit(f"no config at {args.config}")
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or str(Path("work_dirs") / Path(args.config).stem)
    cfg.merge_from_dict(args.cfg_options)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """The runner that the config names, else MMEngine's own."""
    return RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
