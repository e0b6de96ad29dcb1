"""Write annotation lists (`path label`) from the official split files of a data set, and few-shot lists from those.

    claver lists ucf101 data/ucf101/annotations --out data/ucf101
    claver lists hmdb51 data/hmdb51/annotations --out data/hmdb51
    claver lists kinetics600 kinetics600_test.csv --out data/kinetics600/kinetics600_test_list_videos.txt
    claver lists few-shot data/ucf101/ucf101_train_split_1_videos.txt --classes ucf101 --shots 2 4 8 16 \\
        --out data/ucf101/few_shot

The lists are called as MMAction2 calls them. `few-shot --published FILE` maps a file that others published onto a local
list. Which videos are there to be read: claver check-data.
"""
from __future__ import annotations

import argparse
from pathlib import Path

NEEDS_HOST = False
FOLDERS = ("names", "underscores")
SHOTS = (2, 4, 8, 16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tasks = parser.add_subparsers(dest="task", required=True)
    for name in ("ucf101", "hmdb51"):
        task = tasks.add_parser(name, help="three splits, training and test")
        task.add_argument("splits", type=Path, help="folder of the official split files")
        task.add_argument("--out", type=Path, required=True, help="folder to write to")
    for name in ("kinetics400", "kinetics600"):
        task = tasks.add_parser(name, help="one CSV file")
        task.add_argument("csv", type=Path, help="CSV file with labels")
        task.add_argument("--out", type=Path, required=True, help="list to write")
        task.add_argument("--folders", choices=FOLDERS, help="videos lie in folders of their classes, with "
                          "spaces (names) or underscores for them; in one folder by default")
    task = tasks.add_parser("few-shot", help="K videos of each class")
    task.add_argument("list", type=Path, help="training list, split 1")
    task.add_argument("--classes", required=True, help="class list: a file, one class a line, or a shipped one by name")
    task.add_argument("--shots", type=int, nargs="+", default=SHOTS, help="videos of each class")
    task.add_argument("--seed", type=int, help="other seed, other videos; 0 by default")
    task.add_argument("--published", type=Path, help="a published file in place of a draw; one number of shots")
    task.add_argument("--out", type=Path, required=True, help="folder to write to")


def run(args: argparse.Namespace) -> None:
    from claver_mm.protocols import write_list

    for path, videos in lists(args).items():
        write_list(path, videos)
        print(f"{path}: {len(videos)} videos of {len({video.label for video in videos})} classes")


def lists(args: argparse.Namespace) -> dict[Path, list]:
    """Videos by the list to write them to."""
    from claver_mm.language.prompts import read_lines
    from claver_mm.catalog import find_classes
    from claver_mm.protocols import official_lists, read_kinetics

    if args.task == "few-shot":
        return _few_shot(args)
    classes = read_lines(find_classes(args.task), "classes")
    if args.task.startswith("kinetics"):
        return {args.out: read_kinetics(args.csv, classes, args.folders)}
    return {args.out / name: videos for name, videos in official_lists(args.task, args.splits, classes).items()}


def _few_shot(args: argparse.Namespace) -> dict[Path, list]:
    from claver_mm.language.prompts import read_lines
    from claver_mm.catalog import find_classes
    from claver_mm.protocols import draw_few_shot, read_few_shot, read_list

    if args.published and len(args.shots) != 1:
        raise ValueError("--published is one file: give its number of shots, --shots K")
    if args.published and args.seed is not None:
        raise ValueError("--seed has no meaning with --published, where nothing is drawn")
    classes = read_lines(find_classes(args.classes), "classes")
    videos = read_list(args.list, classes)
    if args.published:
        shots = args.shots[0]
        return {args.out / f"train_{shots}shot_{args.published.stem}.txt":
                read_few_shot(args.published, videos, classes, shots)}
    seed = args.seed or 0
    return {args.out / f"train_{shots}shot_seed{seed}.txt": draw_few_shot(videos, classes, shots, seed)
            for shots in args.shots}
