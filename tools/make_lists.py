#!/usr/bin/env python
"""Write annotation lists (`path label`) from the official split files of a data set, and few-shot lists from those.

    python tools/make_lists.py ucf101 data/ucf101/annotations --out data/ucf101
    python tools/make_lists.py hmdb51 data/hmdb51/annotations --out data/hmdb51
    python tools/make_lists.py kinetics600 kinetics600_test.csv --out data/kinetics600/kinetics600_test_list_videos.txt
    python tools/make_lists.py few-shot data/ucf101/ucf101_train_split_1_videos.txt \\
        --classes prompts/classes/ucf101.txt --shots 2 4 8 16 --seed 0 --out data/ucf101/few_shot

The lists are called as MMAction2 calls them. `few-shot --published FILE` maps a file that others published onto a local
list. Which videos are there to be read: tools/check_dataset.py.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from claver_mm.language import read_lines
from claver_mm.protocols import (SHOTS, Video, draw_few_shot, read_few_shot, read_hmdb51, read_kinetics, read_list,
                                 read_ucf101, write_list)
from claver_mm.protocols.lists import FOLDERS, SUBSETS


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    task.add_argument("--classes", required=True, help="class list, one class a line")
    task.add_argument("--shots", type=int, nargs="+", default=SHOTS, help="videos of each class")
    task.add_argument("--seed", type=int, help="other seed, other videos; 0 by default")
    task.add_argument("--published", type=Path, help="a published file in place of a draw; one number of shots")
    task.add_argument("--out", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    if options.task == "few-shot" and options.published and len(options.shots) != 1:
        parser.error("--published is one file: give its number of shots, --shots K")
    if options.task == "few-shot" and options.published and options.seed is not None:
        parser.error("--seed has no meaning with --published, where nothing is drawn")
    return options


def make(options: argparse.Namespace) -> dict[Path, list[Video]]:
    """Lists by the files to write them to."""
    if options.task == "few-shot":
        classes = read_lines(options.classes, "classes")
        videos = read_list(options.list, classes)
        if options.published:
            shots = options.shots[0]
            return {options.out / f"train_{shots}shot_{options.published.stem}.txt":
                    read_few_shot(options.published, videos, classes, shots)}
        seed = options.seed or 0
        return {options.out / f"train_{shots}shot_seed{seed}.txt": draw_few_shot(videos, classes, shots, seed)
                for shots in options.shots}
    classes = read_lines(ROOT / f"prompts/classes/{options.task}.txt", "classes")
    if options.task.startswith("kinetics"):
        return {options.out: read_kinetics(options.csv, classes, options.folders)}
    read = {"ucf101": read_ucf101, "hmdb51": read_hmdb51}[options.task]
    names = dict(zip(SUBSETS, ("train", "val")))  # MMAction2 calls the test set val
    return {options.out / f"{options.task}_{names[subset]}_split_{split}_videos.txt":
            read(options.splits, split, subset, classes) for split in (1, 2, 3) for subset in SUBSETS}


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    try:
        for path, videos in make(options).items():
            write_list(path, videos)
            print(f"{path}: {len(videos)} videos of {len({video.label for video in videos})} classes")
    except (ValueError, OSError) as error:
        sys.exit(f"make_lists: {error}")


if __name__ == "__main__":
    main()
