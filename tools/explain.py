#!/usr/bin/env python
"""Explain what a similarity of a video and a text rests on: as a picture, a film and a page.

    python tools/explain.py video.mp4 --text "a person juggles balls" --config CONFIG --checkpoint WEIGHTS
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from claver_mm import Recognizer
from claver_mm.explain.pictures import PAGE_WIDTH, PICTURES

BAR = 24
FORMATS = (*(suffix.lstrip(".") for suffix in PICTURES), "mp4", "html")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--text", help="any text, word for word; the likeliest label when left out")
    parser.add_argument("--config", required=True)
    parser.add_argument("--checkpoint", help="weights; without them the temporal part is random")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--labels", nargs="+", metavar="LABEL", help="ranked beside the text; the config's own classes "
                        "when left out")
    labels.add_argument("--labels-file", help="one label a line (.txt), or a prompt bank (.yaml, .json, .csv)")
    parser.add_argument("--against", nargs="+", default=[], metavar="TEXT",
                        help="explain what speaks for the text and not for these")
    parser.add_argument("--top", type=int, default=5, help="labels shown")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the results, named after the video")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["png", "mp4", "html"])
    parser.add_argument("--width", type=float, default=PAGE_WIDTH, help="of pictures, in inches")
    parser.add_argument("--max-frames", type=int, default=8, help="shown in pictures")
    parser.add_argument("--fps", type=float, default=4, help="frames a second of the film")
    parser.add_argument("--device")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    picture = dict(width=options.width, max_frames=options.max_frames)
    how = dict(mp4=dict(frames_per_second=options.fps), html={})
    try:
        recognizer = Recognizer(options.config, options.checkpoint, options.device)
        found = recognizer.explain(options.video, options.text, options.labels or options.labels_file,
                                   against=options.against, top=options.top)
        options.out.mkdir(parents=True, exist_ok=True)
        written = [options.out / f"{Path(options.video).stem}_explained.{kind}" for kind in options.formats]
        for path, kind in zip(written, options.formats):
            found.save(path, **how.get(kind, picture))
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.video}: similarity {found.similarity:.3f} to {found.text!r}")
    total = sum(value for _, value in found.words) or 1
    width = max(len(word) for word, _ in found.words)
    for word, value in found.words:
        print(f"  {word:<{width}}  {100 * value / total:5.1f} %  {'#' * round(BAR * value / total)}".rstrip())
    width = max(len(label) for label, _ in found.ranked)
    for label, score in found.ranked:
        print(f"  {label:<{width}}  {100 * score:5.1f} %")
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
