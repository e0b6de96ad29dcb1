"""Test a checkpoint, with the views of the config's test pipeline; a saved recogniser; or a tower as it is.

    claver test claver_b16_k400 work_dirs/claver_b16_k400/epoch_60.pth --dump scores.pkl
    claver test my_recogniser --cfg-options data_root=/data/mine
    claver test --tower open_clip:PE-Core-L-14-336/meta --cfg-options data_root=/data/kinetics400

On several GPUs: torchrun --nproc_per_node GPUS -m claver_mm_cli test CONFIG CHECKPOINT --launcher pytorch, which is
what tools/dist_test.sh CONFIG CHECKPOINT GPUS does.
"""
from __future__ import annotations

import argparse

from .options import CONFIG, SAVED, add_run, add_tower, changes, check_tower, positive, saved_folder, tower_changes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help=f"{CONFIG}; or {SAVED}; zero_shot/tower with --tower")
    parser.add_argument("checkpoint", nargs="?", help="checkpoint file; left out of a saved recogniser, and where all "
                        "weights of the config are pretrained ones")
    add_tower(parser, parser)
    add_run(parser)
    parser.add_argument("--dump", metavar="FILE.pkl",
                        help="write scores, label and path of every video to a pickle file")
    parser.add_argument("--show-dir", help="draw predictions into this folder")
    parser.add_argument("--interval", type=positive, default=1, help="draw one of so many videos")


def run(args: argparse.Namespace) -> None:
    from claver_mm.engine.launch import build_runner, for_test, run_config

    check_tower(args, checkpoint=args.checkpoint)
    config = args.config or ("zero_shot/tower" if args.tower else None)
    if config is None:
        raise ValueError("give a config and a checkpoint, a saved recogniser, or --tower")
    folder = saved_folder(config)
    if folder is not None and (args.checkpoint or args.tower):
        raise ValueError(f"{config} has weights of its own; leave the checkpoint and --tower out")
    changed = changes(args.cfg_options) | (tower_changes(args) if args.tower else {})
    cfg = run_config(folder or config, changed, work_dir=args.work_dir, launcher=args.launcher,
                     local_rank=args.local_rank, show_log=args.verbose)
    checkpoint = args.checkpoint if folder is None else cfg.load_from
    build_runner(for_test(cfg, checkpoint, dump=args.dump, show_dir=args.show_dir, interval=args.interval)).test()
