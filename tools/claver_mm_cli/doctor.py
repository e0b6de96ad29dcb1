"""Say what is installed, which devices, decoders, attention and remedies are active, and what is slow or missing.

The exit status is 1 if something that is needed is missing.
"""
from __future__ import annotations

import argparse
import json

NEEDS_HOST = False  # which may be what is missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from claver_mm.doctor import as_text, doctor

    report = doctor()
    print(json.dumps(report, indent=1) if args.json else as_text(report))
    return 0 if report["ok"] else 1
