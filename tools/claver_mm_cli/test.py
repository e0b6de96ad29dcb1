"""Test a checkpoint, with the views of the config's test pipeline.

    claver test claver_b16_k400 work_dirs/claver_b16_k400/epoch_60.pth --dump scores.pkl

On several GPUs: torchrun --nproc_per_node GPUS -m claver_mm_cli test CONFIG CHECKPOINT --launcher pytorch, which is
what tools/dist_test.sh CONFIG CHECKPOINT GPUS does.
"""
from __future__ import annotations

import argparse

from .options import CONFIG, add_run, changes, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help=CONFIG)
    parser.add_argument("checkpoint", help="checkpoint file")
    add_run(parser)
    parser.add_argument("--dump", metavar="FILE.pkl",
                        help="write scores, label and path of every video to a pickle file")
    parser.add_argument("--show-dir", help="draw predictions into this folder")
    parser.add_argument("--interval", type=positive, default=1, help="draw one of so many videos")


def run(args: argparse.Namespace) -> None:
    from claver_mm.engine.launch import build_runner, for_test, run_config

    cfg = run_config(args.config, changes(args.cfg_options), work_dir=args.work_dir, launcher=args.launcher,
                     local_rank=args.local_rank, show_log=args.verbose)
    build_runner(for_test(cfg, args.checkpoint, dump=args.dump, show_dir=args.show_dir, interval=args.interval)).test()
