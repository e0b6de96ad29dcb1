"""Explain what a similarity of a video and a text rests on: as a picture, a film and a page.

    claver explain video.mp4 --text "a person juggles balls" --config claver_b16_k400 --checkpoint WEIGHTS
"""
from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_recognizer, bar, check_labels, open_recognizer, positive

FORMATS = ("png", "pdf", "svg", "mp4", "html")
PAGE_WIDTH = 6.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", nargs="?")
    parser.add_argument("--text", help="any text, word for word; the likeliest label when left out")
    add_recognizer(parser, "ranked beside the text; the config's own classes when left out")
    parser.add_argument("--against", nargs="+", default=[], metavar="TEXT",
                        help="explain what speaks for the text and not for these")
    parser.add_argument("--top", type=positive, default=5, help="labels shown")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the results, named after the video")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["png", "mp4", "html"])
    parser.add_argument("--width", type=float, default=PAGE_WIDTH, help="of pictures, in inches")
    parser.add_argument("--max-frames", type=positive, default=8, help="shown in pictures")
    parser.add_argument("--fps", type=float, default=4, help="frames a second of the film")


def run(args: argparse.Namespace) -> None:
    check_labels(args, args.against, [args.video] if args.video else [], "explain")
    picture = dict(width=args.width, max_frames=args.max_frames)
    how = dict(mp4=dict(frames_per_second=args.fps), html={})
    found = open_recognizer(args).explain(args.video, args.text, args.labels or args.labels_file,
                                          against=args.against, top=args.top)
    args.out.mkdir(parents=True, exist_ok=True)
    written = [args.out / f"{Path(args.video).stem}_explained.{kind}" for kind in args.formats]
    for path, kind in zip(written, args.formats):
        found.save(path, **how.get(kind, picture))
    print(f"{args.video}: similarity {found.similarity:.3f} to {found.text!r}")
    if found.words:
        total = sum(value for _, value in found.words) or 1
        width = max(len(word) for word, _ in found.words)
        for word, value in found.words:
            print(f"  {word:<{width}}  {100 * value / total:5.1f} %  {bar(value / total)}".rstrip())
    for note in found.absent:
        print(f"  {note}")
    width = max(len(label) for label, _ in found.ranked)
    for label, score in found.ranked:
        print(f"  {label:<{width}}  {100 * score:5.1f} %")
    print(*written, sep="\n")
