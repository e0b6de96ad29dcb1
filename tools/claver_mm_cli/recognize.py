"""Recognise videos: rank any labels, a prompt bank, or the config's own classes.

    claver recognize video.mp4 --tower open_clip:PE-Core-L-14-336/meta --labels juggling diving "reading a book"
    claver recognize video.mp4 --config claver_b16_k400 --checkpoint WEIGHTS

The exit status is 1 if a video could not be read; the others have their answers.
"""
from __future__ import annotations

import argparse
import json
import sys

from .options import add_recognizer, bar, check_labels, open_recognizer, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("videos", nargs="*", metavar="VIDEO")
    add_recognizer(parser, "the config's own classes when left out")
    parser.add_argument("--extra", nargs="+", default=[], metavar="TEXT",
                        help="texts ranked beside the labels, as written")
    parser.add_argument("--top", type=positive, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object for each video")


def run(args: argparse.Namespace) -> int:
    check_labels(args, args.extra, args.videos, "recognize")
    recognizer, failed = open_recognizer(args), 0
    for video in args.videos:
        try:
            ranked: list = recognizer.recognize(video, args.labels or args.labels_file, extra=args.extra, top=args.top)
        except (OSError, RuntimeError) as error:  # of this video; a ValueError is of labels, which are those of all
            print(error, file=sys.stderr)
            failed += 1
            continue
        if args.json:
            print(json.dumps(dict(video=video, labels=[dict(label=label, score=score) for label, score in ranked])))
            continue
        width = max(len(label) for label, _ in ranked)
        least = None if args.labels or args.labels_file or args.extra else recognizer.threshold
        none = least is not None and ranked[0].score < least
        print(f"{video}: none of these; no label reaches {100 * (least or 0):.1f} %" if none else video)
        for label, score in ranked:
            print(f"  {label:<{width}}  {100 * score:5.1f} %  {bar(score)}".rstrip())
    return 1 if failed else 0
