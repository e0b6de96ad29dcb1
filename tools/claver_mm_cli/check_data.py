"""Decode the videos of an annotation list and name those that a run would stumble over.

    claver check-data data/kinetics400/kinetics400_train_list_videos.txt --videos data/kinetics400/videos_train

Every video, or a seeded sample of them, is opened and some of its frames, the first and the last among them, are
decoded, each worker in a process of its own: a video on which the decoder crashes or hangs is named like the others.
Videos whose packets do not tell which frame they hold are read right, and cost a decode of all frames up to the wanted
ones: they are listed, with the reason, and stay on the list. Written are a list without the videos found, in the order
of the old one, and a report in JSON. Exit status: 0 nothing found, 1 something found, 2 no check took place.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

NEEDS_HOST = False
DECODERS = ("pyav", "decord")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("list", type=Path, help="annotation list with lines 'path/of/video.mp4 label'")
    parser.add_argument("--videos", type=Path, default=Path(), help="folder that the paths start from (data_prefix)")
    parser.add_argument("--delimiter", default=" ", help="between path and label")
    parser.add_argument("--multi-class", action="store_true", help="several labels a line; a path holds no delimiter")
    parser.add_argument("--sample", type=int, metavar="N", help="only so many videos, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=16, help="frames of each video that are decoded; 0 for all")
    parser.add_argument("--min-frames", type=int, default=1, help="a video with fewer frames is too short")
    parser.add_argument("--decoders", nargs="+", default=list(DECODERS), metavar="NAME",
                        help=f"as in OpenVideo: {', '.join(DECODERS)}")
    parser.add_argument("--timeout", type=float, default=60, help="seconds after which a video counts as hung")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--cleaned", type=Path, help="list without the videos found; beside the report by default")
    parser.add_argument("--report", type=Path, help="work_dirs/check_dataset/<list>.json by default")
    parser.add_argument("--json", action="store_true", help="print the report in place of its summary")


def run(args: argparse.Namespace) -> int:
    report = args.report or Path("work_dirs/check_dataset") / f"{args.list.stem}.json"
    cleaned = args.cleaned or report.with_name(f"{args.list.stem}.cleaned.txt")
    if cleaned.resolve() == args.list.resolve():
        raise ValueError(f"--cleaned {cleaned} is the list itself; choose another file")
    for name, path in (("report", report), ("cleaned", cleaned)):
        if path.is_dir():
            raise IsADirectoryError(f"--{name} {path} is a folder; name a file")

    from claver_mm.files import write_text
    from claver_mm.protocols.list_checks import check_list
    from claver_mm.video.checks import Settings
    from tqdm import tqdm

    screen = sys.stderr if args.json else sys.stdout
    try:
        for path in (report, cleaned):
            path.parent.mkdir(parents=True, exist_ok=True)  # now, lest a long check end in an error
        found, kept = check_list(
            args.list, args.videos, Settings(tuple(args.decoders), args.frames, args.min_frames),
            delimiter=args.delimiter, multi_class=args.multi_class, sample=args.sample, seed=args.seed,
            workers=args.workers, timeout=args.timeout, progress=True,
            say=lambda finding: tqdm.write(f"{finding.problem}: {finding.words}", file=screen))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; no list and no report were written") from None
    write_text(report, json.dumps(found, indent=1) + "\n")
    write_text(cleaned, "".join(f"{line}\n" for line in kept))
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        counts = ", ".join(f"{count} {problem}" for problem, count in found["counts"].items() if count)
        print(f"{found['checked']} of {found['videos']} videos checked, {len(found['found'])} found: "
              f"{counts or 'nothing'}; {len(found['other_decoder'])} needed another decoder, "
              f"{len(found['forward_decode'])} cost a forward decode\n{report}\n{cleaned}: {len(kept)} lines")
    return 1 if found["found"] else 0
