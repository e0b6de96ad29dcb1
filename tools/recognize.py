#!/usr/bin/env python
"""Recognise videos: rank any labels, a prompt bank, or the config's own classes.

    python tools/recognize.py video.mp4 --config CONFIG --checkpoint WEIGHTS --labels juggling diving "reading a book"
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from claver_mm import Recognizer

BAR = 24


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", metavar="VIDEO")
    parser.add_argument("--config", required=True)
    parser.add_argument("--checkpoint", help="weights; without them the temporal part is random")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--labels", nargs="+", metavar="LABEL", help="the config's own classes when left out")
    labels.add_argument("--labels-file", help="one label a line (.txt), or a prompt bank (.yaml, .json, .csv)")
    parser.add_argument("--extra", nargs="+", default=[], metavar="TEXT",
                        help="texts ranked beside the labels, as written")
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object for each video")
    parser.add_argument("--device")
    options = parser.parse_args()
    if options.labels_file and not Path(options.labels_file).is_file():
        parser.error(f"no file of labels at {options.labels_file}")
    return options


def main() -> int:
    options = parse_arguments()
    try:
        recognizer = Recognizer(options.config, options.checkpoint, options.device)
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    failed = 0
    for video in options.videos:
        try:
            ranked = recognizer.recognize(video, options.labels or options.labels_file, extra=options.extra,
                                          top=options.top)
        except ValueError as error:  # of labels and options, which are those of all videos
            print(error, file=sys.stderr)
            return 2
        except (OSError, RuntimeError) as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        if options.json:
            print(json.dumps(dict(video=video, labels=[dict(label=label, score=score) for label, score in ranked])))
            continue
        width = max(len(label) for label, _ in ranked)
        print(video)
        for label, score in ranked:
            print(f"  {label:<{width}}  {100 * score:5.1f} %  {'#' * round(BAR * score)}".rstrip())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
