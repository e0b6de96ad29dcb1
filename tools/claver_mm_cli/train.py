"""Train a recogniser from a config.

    claver train claver_b16_k400 --amp --resume
    claver train my_config.py --cfg-options train_cfg.max_epochs=5

On several GPUs: torchrun --nproc_per_node GPUS -m claver_mm_cli train CONFIG --launcher pytorch, which is what
tools/dist_train.sh CONFIG GPUS does.
"""
from __future__ import annotations

import argparse

from .options import CONFIG, add_run, changes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help=CONFIG)
    add_run(parser)
    parser.add_argument("--resume", nargs="?", const="auto", metavar="CHECKPOINT",
                        help="go on from a checkpoint, or from the newest whole one in the work folder; where there is "
                             "none yet the run starts anew")
    parser.add_argument("--amp", action="store_true", help="mixed precision: float16 on a GPU, bfloat16 on a CPU")
    parser.add_argument("--no-validate", action="store_true", help="do not evaluate while training")
    parser.add_argument("--auto-scale-lr", action="store_true",
                        help="scale the learning rate by the total batch over auto_scale_lr.base_batch_size")
    parser.add_argument("--seed", type=int, help="random seed; that of the config by default")
    parser.add_argument("--diff-rank-seed", action="store_true", help="another seed for each rank")
    parser.add_argument("--deterministic", action="store_true", help="deterministic cuDNN")


def run(args: argparse.Namespace) -> None:
    from claver_mm.engine.launch import build_runner, for_training, run_config

    cfg = run_config(args.config, changes(args.cfg_options), work_dir=args.work_dir, launcher=args.launcher,
                     local_rank=args.local_rank, show_log=args.verbose)
    cfg = for_training(cfg, resume=args.resume, amp=args.amp, validate=not args.no_validate,
                       auto_scale_lr=args.auto_scale_lr, seed=args.seed, diff_rank_seed=args.diff_rank_seed,
                       deterministic=args.deterministic)
    build_runner(cfg).train()
