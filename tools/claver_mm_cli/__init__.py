"""The command ``claver``: one sub-command a module, imported when it is called.

A package of its own beside ``claver_mm``, whose import costs seconds, so that help and mistakes cost none. A module of
a sub-command has a docstring, which is its help, ``add_arguments(parser)`` and ``run(args)``; it imports ``claver_mm``
within ``run``. ``NEEDS_HOST = False`` says that it needs nothing of MMEngine.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "ls": "list the shipped configs",
    "cp": "copy a shipped config into a leaf of your own",
    "lists": "write annotation lists from the official files of a data set",
}
"""Name -> what it does; the module is called alike, with ``_`` for ``-``."""

MISTAKE = 2
"""Exit status of a user's mistake: wrong options, missing files, values that cannot be."""


without_host = False
"""Whether this process needs nothing of MMEngine: read by ``claver_mm``, which else imports it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; its exit status."""
    global without_host
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser("claver", description="Recognise actions in videos by any labels.",
                                     formatter_class=argparse.RawDescriptionHelpFormatter, epilog=_table())
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("--version", action="version", version=_version())
    name = parser.parse_args(argv[:1]).command
    module = import_module(f".{name.replace('-', '_')}", __package__)
    without_host = not getattr(module, "NEEDS_HOST", True)
    parser = argparse.ArgumentParser(f"claver {name}", description=module.__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    return call(module.run, parser.parse_args(argv[1:]), parser)


def call(run, args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Run a sub-command; a user's mistake, which the package raises as an error, becomes a message and ``MISTAKE``."""
    try:
        return run(args) or 0
    except (ValueError, OSError, ImportError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped", file=sys.stderr)
        return 130


def _table() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(["commands:", *lines, "", "claver COMMAND --help says more."])


def _version() -> str:
    from importlib.metadata import version
    return f"claver-mm {version('claver-mm')}"
