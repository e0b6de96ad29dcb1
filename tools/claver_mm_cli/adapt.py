"""Teach a recogniser the classes of videos of yours, and save it as a folder that opens in one line.

    claver adapt my_videos --tower open_clip:PE-Core-B-16/meta --out my_recogniser
    claver recognize new.mp4 --model my_recogniser

my_videos holds a folder of videos for each class, called like the class; or is a .csv file with the columns video and
label, and if wanted start and end (seconds), so that one file gives many clips, and split (train, val). A share of the
videos is held out, and tells in OUT/report.html how good the recogniser is. Each video goes through the frozen image
tower once; what it gives is kept (--cache) for further runs. A run that was killed goes on when it is called again.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_model, open_recognizer, positive, within


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("videos", metavar="VIDEOS", help="folder of folders, or list")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="the recogniser, and its report")
    add_model(parser)
    parser.add_argument("--classes", metavar="FILE", help="names in label order, one a line; else by name")
    parser.add_argument("--held-out", type=share, default=0.2, metavar="SHARE",
                        help="share of the videos that is held out where VIDEOS does not say it (0.2)")
    parser.add_argument("--others", metavar="VIDEOS",
                        help="videos of other classes: how they are told, before and after")
    parser.add_argument("--dry-run", action="store_true", help="look at the videos, say what would be done, and end")
    parser.add_argument("--seed", type=int, default=0)
    what = parser.add_argument_group("what trains")
    what.add_argument("--pattern", help="of the temporal part: kmt, kmct, ...; none for no temporal part")
    what.add_argument("--depth", type=positive, help="its blocks (2)")
    what.add_argument("--width", type=positive, help="its width; the tower's, but 256 at most")
    what.add_argument("--texts", choices=["learn", "keep"], default="learn",
                      help="whether the texts of the classes learn, or stay as they are")
    what.add_argument("--lora", type=positive, metavar="RANK", default=0,
                      help="train the image tower's attention too, which then sees every video in every epoch")
    what.add_argument("--lora-text", type=positive, metavar="RANK", default=0,
                      help="train the text tower's attention too; needs no more looks at the videos")
    what.add_argument("--epochs", type=positive, default=30, help="most (30); it ends when it no longer gains")
    what.add_argument("--lr", type=within(float, 0), help="highest rate of the temporal part; by its width")
    what.add_argument("--alpha", type=share_or_all, metavar="SHARE",
                      help="how far to go from the start to what was learnt, 0 to 1; chosen on held-out videos")
    kept = parser.add_argument_group("what is kept of a video")
    kept.add_argument("--tokens", default="all", metavar="WHAT",
                      help="all tokens of a frame; a grid of fewer (grid7); or class, its class token alone")
    kept.add_argument("--views", type=positive, default=1, help="of each clip: itself, and augmented ones")
    kept.add_argument("--cache", type=Path, metavar="FOLDER",
                      help="where it lies, else $CLAVER_CACHE or ~/.cache/claver_mm")
    kept.add_argument("--cache-gb", type=within(float, 0), metavar="GB",
                      help="most that folder may hold; what was not used for longest goes")
    parser.add_argument("--workers", type=whole, help="processes that decode; one for each processor but one")
    parser.add_argument("--batch-size", type=positive, default=8, help="clips that go through the tower together (8)")
    parser.add_argument("--finetune-config", type=Path, metavar="FILE.py",
                        help="also write a config that claver train goes on with, everything trained")


def whole(text: str) -> int:
    """An argument's type: a whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return value


def share(text: str) -> float:
    """An argument's type: at least 0, and below 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, got {text}")
    return value


def share_or_all(text: str) -> float:
    """An argument's type: from 0 to 1."""
    return 1.0 if float(text) == 1 else share(text)


def run(args: argparse.Namespace) -> None:
    import claver_mm  # noqa: F401, I001
    from claver_mm.adapt.adapter import Settings, adapt, prepare
    from claver_mm.adapt.encode import Sight
    from claver_mm.adapt.handover import check_finetuning, write_finetuning
    from claver_mm.adapt.page import write_report
    from claver_mm.adapt.start import Temporal
    from claver_mm.saved.folder import check_free

    check_free(args.out)
    if args.finetune_config:
        check_finetuning(args.finetune_config)
    if args.pattern == "none" and (args.depth or args.width):
        raise ValueError("--depth and --width are of a temporal part, and --pattern none asks for none; leave them out")
    temporal = None if args.pattern == "none" else Temporal(args.pattern, args.depth, args.width)
    settings = Settings(temporal, args.texts == "learn", args.lora, args.lora_text,
                        Sight(args.tokens, args.views), epochs=args.epochs,
                        lr=args.lr, alpha=args.alpha, held_out=args.held_out, seed=args.seed)
    where = dict(classes=args.classes, cache=args.cache, workers=args.workers, progress=True, say=say,
                 max_bytes=None if args.cache_gb is None else int(args.cache_gb * 1e9))
    recognizer = open_recognizer(args)
    if args.dry_run:
        prepare(recognizer, args.videos, settings, **where)
        return
    adapted = adapt(recognizer, args.videos, settings, others=args.others, batch_size=args.batch_size, **where)
    report = adapted.report
    metrics = {} if report["accuracy"] is None else {
        "held-out videos": {"top-1 accuracy": report["accuracy"]}}
    adapted.recognizer.save_pretrained(args.out, metrics=metrics or None, record={
        key: value for key, value in report.items() if key not in ("clips", "left_out")})
    write_report(args.out, adapted)
    say(summary(report))
    say(f"{args.out}: {sum(path.stat().st_size for path in args.out.rglob('*') if path.is_file()) / 1e6:.1f} MB; "
        f"look at {args.out / 'report.html'}\nclaver recognize VIDEO --model {args.out}")
    if args.finetune_config:
        write_finetuning(args.out, adapted, args.finetune_config)
        say(f"everything trained: claver train {args.finetune_config}" + (
            "" if adapted.held_out else " --no-validate, since no video was held out"))


def say(words: str) -> None:
    from tqdm import tqdm
    tqdm.write(words.encode(errors="backslashreplace").decode())  # names of files may be no text


def summary(report: dict) -> str:
    """The result in a line or two."""
    if report["accuracy"] is None:
        return "no video was held out, so nothing was measured"
    low, high = (100 * end for end in report["interval"])
    return (f"held out: {100 * report['accuracy']:.1f} % right ({low:.1f} to {high:.1f}), "
            f"{100 * report['judged_by_the_other_half']:.1f} % where epoch and alpha were chosen on other videos; "
            f"{100 * report['zero_shot']:.1f} % before training")
