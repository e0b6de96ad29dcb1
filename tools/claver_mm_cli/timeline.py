"""Say when labels are seen in a long video, as a table, subtitles, CSV, JSON, for ELAN or Label Studio, or a picture.

    claver timeline day.mp4 --model my_recogniser --out day.srt day.png
    claver timeline day.mp4 --tower open_clip:PE-Core-B-16/meta --labels "pouring water" stirring \\
        --background "an empty kitchen" --out day.csv

Windows slide along the video; each frame is decoded and goes through the image tower once.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_recognizer, check_labels, open_recognizer, within

ENDINGS = (".csv", ".json", ".labelstudio.json", ".srt", ".vtt", ".eaf", ".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO")
    add_recognizer(parser, "the recogniser's own classes when left out")
    parser.add_argument("--background", nargs="+", default=[], metavar="TEXT",
                        help="texts of what is to be seen where none of the labels is")
    parser.add_argument("--independent", action="store_true",
                        help="each label for itself, several at once; for towers with a bias (SigLIP)")
    parser.add_argument("--out", nargs="+", default=[], type=Path, metavar="FILE",
                        help=f"files to write, by their endings: {', '.join(ENDINGS)}")
    seconds = within(float, 0)
    parser.add_argument("--window", type=seconds, default=2.0, help="seconds that are looked at for a score (2)")
    parser.add_argument("--every", type=seconds, help="seconds from a score to the next; a quarter of a window")
    parser.add_argument("--start", type=float, help="seconds; the beginning of the video")
    parser.add_argument("--end", type=seconds, help="seconds; the end of the video")
    parser.add_argument("--threshold", type=within(float, 0, 1),
                        help="probability that a segment has to reach; the recogniser's own, or 0.5")
    parser.add_argument("--low", type=within(float, 0, 1),
                        help="probability that it goes on with; four fifths of the threshold")
    parser.add_argument("--shortest", type=float, default=0.0, help="seconds; shorter segments are left out")
    parser.add_argument("--gap", type=float, default=0.0, help="seconds; segments of a label less apart become one")


def run(args: argparse.Namespace) -> None:
    from claver_mm.timeline.writers import timestamp

    check_labels(args, args.background, [args.video], "timeline")
    odd = [path for path in args.out if not path.name.lower().endswith(ENDINGS)]
    if odd:
        raise ValueError(f"{odd[0]} ends in none of {', '.join(ENDINGS)}")
    found = open_recognizer(args).timeline(
        args.video, args.labels or args.labels_file, window=args.window, every=args.every, start=args.start,
        end=args.end, background=args.background, independent=args.independent, progress=True)
    segments = found.segments(threshold=args.threshold, low=args.low, shortest=args.shortest, gap=args.gap)
    for path in args.out:
        found.save(path, segments)
    width = max(map(len, found.labels))
    for segment in segments:
        print(f"{timestamp(segment.start)}  {timestamp(segment.end)}  {segment.label:<{width}}  "
              f"{100 * segment.score:5.1f} %")
    if not segments:
        best = found.scores.max(axis=0)
        print("no label reaches the threshold; highest: "
              + ", ".join(f"{label} {100 * score:.1f} %" for label, score in zip(found.labels, best)))
