"""The paper's analyses of a checkpoint, over the videos of its config's test loader.

    claver analyze shuffling CONFIG CHECKPOINT     # tokens in random order: table 9, figure 6
    claver analyze order CONFIG CHECKPOINT         # clips played backwards
    claver analyze rank CONFIG CHECKPOINT --frames 2 4 8 16        # rank of attention: appendix A, table 8

Each prints a Markdown table and writes it as JSON and PNG into --out. Another data set is another config, or
--cfg-options test_dataloader.dataset.ann_file=... and what goes with it.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path

from .options import CONFIG, add_changes, changes, positive

TOKENS = ("patches", "all")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    studies = parser.add_subparsers(dest="study", required=True)
    shuffling = studies.add_parser("shuffling", help="tokens in random order")
    shuffling.add_argument("--tokens", choices=TOKENS, default="patches",
                           help="whether class tokens stay where the head reads them")
    order = studies.add_parser("order", help="clips played backwards")
    order.add_argument("--pairs", type=Path, help="CSV file, two classes a line that are each other played backwards; "
                                                  "known for the motion videos")
    rank = studies.add_parser("rank", help="rank and condition of attention, one view of each video")
    rank.add_argument("--frames", type=positive, nargs="+", default=[], metavar="T", help="frames of a clip, one or "
                      "several; the temporal embedding is interpolated; the config's where left out")
    rank.add_argument("--beside", type=Path, nargs="+", default=[], metavar="rank.json",
                      help="earlier results, drawn into the same picture")
    for study, most in ((shuffling, None), (order, None), (rank, 64)):
        study.add_argument("config", help=CONFIG)
        study.add_argument("checkpoint", type=Path)
        add_changes(study, "test_dataloader.batch_size=4")
        study.add_argument("--out", type=Path, help="folder of the results; work_dirs/analyze/<config> by default")
        study.add_argument("--seed", type=int, default=0, help="of permutations and of the draw of videos")
        study.add_argument("--device", help="cuda where there is one, else cpu")
        study.add_argument("--max-videos", type=positive, default=most, metavar="N",
                           help=f"so many videos, drawn at random; {most or 'all'} by default")
        study.add_argument("--json", action="store_true", help="print the record in JSON in place of the table")


def run(args: argparse.Namespace) -> None:
    changed = changes(args.cfg_options)

    from claver_mm.engine.studies import TABLES, draw, plain_numbers, read_rank_record, study, write_record

    beside = [read_rank_record(path) for path in getattr(args, "beside", ())]
    own = {name: getattr(args, name) for name in ("tokens", "pairs", "frames") if hasattr(args, name)}
    record = study(args.study, args.config, args.checkpoint, changed, max_videos=args.max_videos, seed=args.seed,
                   device=args.device, progress=True, **own)
    path = (args.out or Path("work_dirs/analyze") / Path(args.config).stem) / f"{args.study}.json"
    write_record(record, path)
    draw(record, beside).savefig(path.with_suffix(".png"), dpi=150)
    if args.json:
        print(json.dumps(plain_numbers(record), indent=1))
    else:
        print(f"{TABLES[args.study](record)}\n\n{path}, {path.with_suffix('.png')}")
