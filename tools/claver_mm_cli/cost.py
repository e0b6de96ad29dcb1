"""What a config costs: parameters, multiply-accumulates, activation memory and, when asked, latency.

    claver cost claver_b16_k400 --frames 32
    claver cost claver_b16_k400 --latency 20 --device cuda
    claver cost configs/*.py           # several configs: tables of one row each

Counts need neither weights nor a GPU: the model runs on tensors without data. docs/costs.md says what each figure is.
"""
from __future__ import annotations

import argparse
import json

from .options import add_changes, changes, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="files, or shipped configs by name")
    parser.add_argument("--frames", type=positive, help="frames of a clip, in place of the config's, in neck and "
                        "pipelines")
    add_changes(parser, "model.neck.depth=2")
    parser.add_argument("--latency", type=positive, metavar="N", help="measure the video side too: median of N passes")
    parser.add_argument("--device", help="for --latency; cuda where there is one, else cpu")
    parser.add_argument("--batch", type=positive, default=1, help="clips of a pass of --latency")
    parser.add_argument("--json", action="store_true", help="print JSON, whole numbers and bytes")


def run(args: argparse.Namespace) -> None:
    changed = changes(args.cfg_options)

    import torch
    from claver_mm.cost_report import describe, latency, read_for_costs, report, tables
    from tqdm import tqdm

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    configs = {path: read_for_costs(path, args.frames, changed) for path in args.configs}
    reports = {}
    for path, cfg in tqdm(configs.items(), unit="config", leave=False, disable=None if len(configs) > 1 else True):
        try:
            reports[path] = report(cfg)
            if args.latency:
                reports[path]["latency"] = latency(cfg, args.batch, device, args.latency)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if args.json:
        print(json.dumps(reports, indent=1))
    elif len(reports) == 1:
        print(*(describe(path, costs) for path, costs in reports.items()))
    else:
        print(tables(reports))
