"""List the shipped configs by name, as train, test, recognize and cp take them; or the towers that there are.

    claver ls '*b16*k400'
    claver ls --towers                 # open_clip's architectures: a line each
    claver ls --towers 'PE-*' --json   # all that is known of some, with tags and licences
    claver ls --towers --markdown      # docs/towers.md

Each tower is built without weights to be looked at, which takes a minute or two for all of them.
"""
from __future__ import annotations

import argparse
import json
from fnmatch import fnmatch

NEEDS_HOST = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", help="only names like this, e.g. '*b16*k400'")
    parser.add_argument("--towers", action="store_true", help="architectures of open_clip in place of configs")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list in JSON")
    form.add_argument("--markdown", action="store_true", help="docs/towers.md, of --towers")


def run(args: argparse.Namespace) -> None:
    if args.towers:
        _towers(args)
        return
    if args.markdown:
        raise ValueError("--markdown is for the table of --towers; leave it out, or add --towers")
    from claver_mm.catalog import config_names

    names = [name for name in config_names() if fnmatch(name, args.pattern)]
    if not names:
        raise ValueError(f"no shipped config is called like {args.pattern!r}; claver ls names all of them")
    print(json.dumps(names) if args.json else "\n".join(names))


def _towers(args: argparse.Namespace) -> None:
    import open_clip
    from claver_mm.towers.census import COLUMNS, as_plain, cells, census, document, summary
    from tqdm import tqdm

    names = [name for name in open_clip.list_models() if fnmatch(name, args.pattern)]
    if not names:
        raise ValueError(f"no architecture of open_clip is called like {args.pattern!r}; claver ls --towers names all")
    rows = list(tqdm(census(names), total=len(names), unit="tower", leave=False, disable=None))
    if args.json:
        print(json.dumps([as_plain(row) for row in rows], indent=1))
    elif args.markdown:
        print(document(rows), end="")
    else:
        table = [list(COLUMNS), *map(cells, rows)]
        widths = [max(map(len, column)) for column in zip(*table)]
        for line in table:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        print(summary(rows))
