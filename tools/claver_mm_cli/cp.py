"""Write a config of your own: a leaf that inherits a shipped one, to hold what differs; or that of a saved recogniser.

    claver cp claver_b16_k400 mine.py
    claver cp my_recogniser mine.py
"""
from __future__ import annotations

import argparse
from pathlib import Path

from .options import SAVED, saved_folder

NEEDS_HOST = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help=f"name of a shipped config, as claver ls prints it; or {SAVED}")
    parser.add_argument("out", nargs="?", type=Path, help="file to write; NAME.py in this folder by default")


def run(args: argparse.Namespace) -> None:
    from claver_mm.catalog import CONFIGS, find_config

    folder = saved_folder(args.config)
    if folder is not None:
        return _write_saved(folder, args.out or Path(f"{args.config.rstrip('/').rpartition('/')[2]}.py"))
    source = find_config(args.config)
    if not source.resolve().is_relative_to(CONFIGS.resolve()):
        raise ValueError(f"{args.config} is a file of yours; claver cp takes the name of a shipped config")
    name = source.relative_to(CONFIGS).as_posix()
    _write(args.out or Path(source.name), '# What differs from the shipped config stands here; the rest is inherited.\n'
           f'_base_ = "claver_mm::claver/{name}"\n')


def _write_saved(folder: Path, out: Path) -> None:
    from claver_mm.saved.settings import saved_settings, config_text
    _write(out, config_text(saved_settings(folder), folder.name))


def _write(out: Path, text: str) -> None:
    with out.open("x", encoding="utf-8") as file:  # never over what is there
        file.write(text)
    print(f"{out}: claver train {out}")
