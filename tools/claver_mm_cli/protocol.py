"""Run a whole protocol with a config and a checkpoint, and print its row of a table.

    claver protocol zero-shot-ucf101 --tower open_clip:PE-Core-L-14-336/meta --data-root data/ucf101
    claver protocol zero-shot-ucf101 --config zero_shot/claver_b16_32f_k400 --checkpoint epoch_20.pth \\
        --data-root data/ucf101
    claver protocol few-shot-hmdb51 --adapt --tower open_clip:PE-Core-B-16/meta --data-root data/hmdb51

Lists, logs and trained weights go to a folder for each part of the protocol, all numbers to result.json beside them.
The data folder holds the official split files in annotations/ and the videos in videos/ (or where --videos says); for
Kinetics-600 it holds a list of the test set, made by claver lists.
"""
from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

from .options import CONFIG, add_changes, add_launcher, add_tower, changes, check_tower, tower_changes

PROTOCOLS = ("zero-shot-ucf101", "zero-shot-hmdb51", "zero-shot-kinetics600", "few-shot-ucf101", "few-shot-hmdb51",
             "base-to-novel-ucf101", "base-to-novel-hmdb51")
DEVIATIONS = ("sample", "population")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("protocol", choices=PROTOCOLS)
    add("--config", help=f"{CONFIG}; of few-shot and base-to-novel protocols it trains; zero_shot/tower with --tower")
    add("--checkpoint", help="weights that are tested, or that training starts from; not needed for --lists-only")
    add_tower(parser, parser)
    add("--data-root", type=Path, required=True, help="folder of the data set")
    add("--videos", help="folder of the videos; <data-root>/videos, of Kinetics-600 <data-root>/videos_test")
    add("--list", type=Path, help="list or CSV file of Kinetics-600; <data-root>/kinetics600_test_list_videos.txt")
    add("--shots", type=int, nargs="+", default=[], help="videos of a class to train on; 2 4 8 16, of base-to-novel 16")
    add("--seeds", type=int, nargs="+", default=[], help="seeds of the draws, 0 by default; results are averaged over "
        "them")
    add("--few-shot-files", type=Path, nargs="+", default=[], help="published files in place of draws, one for each K")
    add("--base-classes", help="file of base classes; the first half of the class list by default")
    add("--views", help="clips x crops, e.g. 4x3; those of the config's test pipeline by default")
    add("--deviation", choices=DEVIATIONS, default="sample", help="divides by n - 1 (sample) or n (population)")
    add("--work-dir", help="work_dirs/<protocol>/<config> by default")
    add("--lists-only", action="store_true", help="write the lists and stop")
    add("--resume", action="store_true", help="go on with trainings that were stopped")
    add("--adapt", action="store_true", help="few-shot on tokens that the frozen tower gives once, as claver adapt; "
        "of --tower as well")
    add("--cache", type=Path, metavar="FOLDER", help="where those lie, else $CLAVER_CACHE or ~/.cache/claver_mm")
    add_changes(parser, "model.cls_head.kinds=[synonym]; a bank given here takes the place of the project's")
    add_launcher(parser)
    add("--json", action="store_true", help="print result.json in place of the table; what runs say goes to stderr")


def run(args: argparse.Namespace) -> None:
    check_tower(args, **{"--checkpoint": args.checkpoint})
    if not args.config and not args.tower:
        raise ValueError("give --config and --checkpoint, or --tower")
    changed = changes(args.cfg_options) | (tower_changes(args) if args.tower else {})

    from claver_mm.engine.protocols import Protocol
    from mmengine.dist import is_main_process

    protocol = Protocol(
        args.protocol, args.config or "zero_shot/tower", args.data_root, args.checkpoint, tower=args.tower,
        videos=args.videos, kinetics_list=args.list,
        shots=args.shots, seeds=args.seeds, few_shot_files=args.few_shot_files, base_classes=args.base_classes,
        views=args.views, deviation=args.deviation, work_dir=args.work_dir, resume=args.resume, adapt=args.adapt,
        cache=args.cache, changes=changed,
        launcher=args.launcher, local_rank=args.local_rank, show_log=args.verbose)
    if args.lists_only:
        runs = protocol.runs()
        protocol.write_lists(runs)
        print(f"{len(runs)} parts of {args.protocol} have their lists in {protocol.folder}")
        return
    with redirect_stdout(sys.stderr) if args.json else nullcontext():
        report = protocol.run()
    if not is_main_process():
        return
    table = report.pop("table")
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        print("\n".join(table))
        print(f"numbers: {protocol.folder / 'result.json'}")
