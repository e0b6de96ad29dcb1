"""Write a leaf of your own that inherits a shipped config, to hold what differs."""
from __future__ import annotations

import argparse
from pathlib import Path

NEEDS_HOST = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="name of a shipped config, as claver ls prints it")
    parser.add_argument("out", nargs="?", type=Path, help="file to write; NAME.py in this folder by default")


def run(args: argparse.Namespace) -> None:
    from claver_mm.catalog import CONFIGS, find_config

    source = find_config(args.config)
    if not source.resolve().is_relative_to(CONFIGS.resolve()):
        raise ValueError(f"{args.config} is a file of yours; claver cp takes the name of a shipped config")
    name = source.relative_to(CONFIGS).as_posix()
    out = args.out or Path(source.name)
    with out.open("x", encoding="utf-8") as file:  # never over what is there
        file.write(f'# What differs from the shipped config stands here; the rest is inherited.\n'
                   f'_base_ = "claver_mm::claver/{name}"\n')
    print(f"{out}: claver train {out}")
