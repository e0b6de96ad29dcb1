"""The command ``claver``: one sub-command a module, imported when it is called.

A package of its own beside ``claver_mm``, whose import costs seconds, so that help and mistakes cost none. A module of
a sub-command has a docstring, which is its help, ``add_arguments(parser)`` and ``run(args)``; it imports ``claver_mm``
within ``run``. ``NEEDS_HOST = False`` says that it needs nothing of MMEngine (a function says it of ``args``),
``LEAVES_THREADS = True`` that threads may outlive it.
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

COMMANDS = {
    "ls": "list the shipped configs",
    "cp": "copy a shipped config into a leaf of your own",
    "adapt": "teach a recogniser the classes of a folder of videos of yours",
    "train": "train a recogniser from a config",
    "test": "test a checkpoint",
    "recognize": "rank labels for videos",
    "timeline": "say when labels are seen in long videos",
    "explain": "show what a similarity of a video and a text rests on",
    "cost": "count parameters, multiply-accumulates and memory of a config, or time it",
    "lists": "write annotation lists from the official files of a data set",
    "check-data": "decode the videos of a list and name those that a run would stumble over",
    "motion-videos": "write small videos that only the order of their frames tells apart",
    "check-prompts": "check prompt banks",
    "generate-prompts": "have a language model write a prompt bank",
    "convert": "turn a checkpoint into weights of this project alone",
    "protocol": "run a zero-shot, few-shot or base-to-novel protocol",
    "analyze": "the paper's analyses of a checkpoint: shuffling, order, rank",
    "masks": "draw the masks of the attention family, or a model's attention",
    "doctor": "say what is installed, what is active, and what would be slow or missing",
}
"""Name -> what it does; the module is called alike, with ``_`` for ``-``."""

MISTAKE = 2
"""Exit status of a user's mistake: wrong options, missing files, values that cannot be."""
STOPPED = 130
"""Exit status after Ctrl-C."""
UNREAD = 141
"""Exit status where whoever read the output has closed it, as ``head`` does."""


without_host = False
"""Whether this process needs nothing of MMEngine: read by ``claver_mm``, which else imports it."""
leaves_threads = False
"""Whether threads may be waiting yet, for a server's answers, that would hold the interpreter."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; its exit status."""
    global without_host, leaves_threads
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser("claver", description="Recognise actions in videos by any labels.",
                                     formatter_class=argparse.RawDescriptionHelpFormatter, epilog=_table())
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("--version", action="version", version=_version())
    name = parser.parse_args(argv[:1]).command
    module = import_module(f".{name.replace('-', '_')}", __package__)
    leaves_threads = getattr(module, "LEAVES_THREADS", False)
    parser = argparse.ArgumentParser(f"claver {name}", description=module.__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    args = parser.parse_args(argv[1:])
    needs_host = getattr(module, "NEEDS_HOST", True)
    without_host = not (needs_host(args) if callable(needs_host) else needs_host)
    return call(module.run, args, parser)


def call(run: Callable[[argparse.Namespace], int | None], args: argparse.Namespace,
         parser: argparse.ArgumentParser) -> int:
    """Run a sub-command; a user's mistake, which the package raises as an error, becomes a message and ``MISTAKE``.

    What other packages raise has its traceback, and with CLAVER_TRACEBACK=1 in the environment every error.
    """
    try:
        status = run(args) or 0
        sys.stdout.flush()
        return status
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        if isinstance(error, BrokenPipeError) and _raised_in(error) == __package__:  # by what prints
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return UNREAD
        if os.environ.get("CLAVER_TRACEBACK") or not is_mistake(error):
            raise
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt as stopped:
        print(f"{parser.prog}: {stopped or 'stopped'}", file=sys.stderr)
        return STOPPED


def is_mistake(error: Exception) -> bool:
    """Whether an error speaks to the user: of files, of packages that are missing, or raised by this project's code."""
    return isinstance(error, OSError | ImportError) or _raised_in(error) in ("claver_mm", __package__)


def _raised_in(error: Exception) -> str:
    """The package whose code raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else trace.tb_frame.f_globals.get("__name__", "").partition(".")[0]


def entry(argv: Sequence[str] | None = None) -> None:
    """The program ``claver``."""
    status = main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    if leaves_threads:
        os._exit(status)
    sys.exit(status)


def _table() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(["commands:", *lines, "", "claver COMMAND --help says more."])


def _version() -> str:
    from importlib.metadata import version
    return f"claver-mm {version('claver-mm')}"
