"""List the shipped configs by name, as train, test, recognize and cp take them."""
from __future__ import annotations

import argparse
import json
from fnmatch import fnmatch

NEEDS_HOST = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", help="only names like this, e.g. '*b16*k400'")
    parser.add_argument("--json", action="store_true", help="a list in JSON")


def run(args: argparse.Namespace) -> None:
    from claver_mm.catalog import config_names

    names = [name for name in config_names() if fnmatch(name, args.pattern)]
    if not names:
        raise ValueError(f"no shipped config is called like {args.pattern!r}; claver ls names all of them")
    print(json.dumps(names) if args.json else "\n".join(names))
