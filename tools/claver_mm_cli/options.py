"""Options that several sub-commands share, and what is made of them."""
from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claver_mm import Recognizer

CONFIG = "config file, or a shipped one by its name; claver ls lists those"
SAVED = "a saved recogniser: its folder, or hf-hub:ORGANISATION/NAME"
KINDS = ("decomposition", "synonym", "body_parts")
"""Kinds of texts of the project's banks, for help that imports nothing."""


def within(kind: type, above: float, most: float = float("inf")) -> Callable[[str], float]:
    """An argument's type: a number above one bound and at most another."""
    def number(text: str) -> float:
        value = kind(text)
        if not above < value <= most:
            raise argparse.ArgumentTypeError(f"must be above {above}" + (f", at most {most}" if most < 1e9 else "")
                                             + f", got {text}")
        return value
    number.__name__ = kind.__name__
    return number


def positive(text: str) -> int:
    """An argument's type: a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def add_changes(parser: argparse.ArgumentParser, example: str) -> None:
    parser.add_argument("--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                        help=f"override settings of the config, e.g. {example}")


def changes(options: list[str]) -> dict[str, object]:
    """``--cfg-options`` by dotted key, with values as MMEngine reads them."""
    import claver_mm  # noqa: F401, I001  before anything of the host
    from mmengine.config import DictAction

    odd = [option for option in options if "=" not in option]
    if odd:
        raise ValueError(f"--cfg-options takes KEY=VALUE, got {odd[0]!r}")
    parsed = argparse.Namespace()
    DictAction(["--cfg-options"], "changes", nargs="+")(argparse.ArgumentParser(), parsed, options)
    return parsed.changes


def add_run(parser: argparse.ArgumentParser) -> None:
    """Options of every run of a config."""
    parser.add_argument("--work-dir", help="folder for logs and checkpoints; work_dirs/<config> by default")
    add_changes(parser, "train_cfg.max_epochs=5 model.neck.depth=2")
    add_launcher(parser)


def add_launcher(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none",
                        help="job launcher; dist_train.sh and slurm_train.sh set it")
    parser.add_argument("--verbose", action="store_true", help="show all that goes into the log file")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_recognizer(parser: argparse.ArgumentParser, labels: str) -> None:
    """Options of what asks a recogniser for answers about labels."""
    add_model(parser)
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--labels", nargs="+", metavar="LABEL", help=labels)
    some.add_argument("--labels-file", help="one label a line (.txt), or a prompt bank (.yaml, .json, .csv)")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Options of which recogniser is asked; see ``open_recognizer``."""
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--config", help=CONFIG)
    add_tower(parser, model)
    model.add_argument("--model", metavar="FOLDER", help=SAVED)
    parser.add_argument("--revision", help="branch, tag or commit of --model on the hub")
    parser.add_argument("--frames", type=positive, help="frames that --tower looks at, 8 by default")
    parser.add_argument("--checkpoint", help="weights of --config")
    parser.add_argument("--untrained", action="store_true", help="go on with random weights, whose scores mean nothing")
    parser.add_argument("--device", help="cuda where there is one, else cpu")


def add_tower(parser: argparse.ArgumentParser, model: argparse._ActionsContainer) -> None:
    """Options of a tower without a checkpoint of ours; ``--tower`` goes where what it is instead of goes."""
    model.add_argument("--tower", metavar="NAME", help="a tower as it is, without training on videos: "
                       "open_clip:ARCHITECTURE/TAG, hf-hub:ORGANISATION/NAME or local-dir:FOLDER")
    parser.add_argument("--weights", metavar="FILE", help="the tower's weights, which are downloaded when left out")
    parser.add_argument("--cache-dir", metavar="FOLDER", help="where downloads lie")


def check_tower(args: argparse.Namespace, **others: object) -> None:
    """Refuse options that have no meaning with, or without, ``--tower`` and ``--model``."""
    model = getattr(args, "model", None)
    for option, fits in (("weights", args.tower or model), ("cache_dir", args.tower or model), ("frames", args.tower),
                         ("revision", model)):
        if not fits and getattr(args, option, None) is not None:
            raise ValueError(f"--{option.replace('_', '-')} is for {'--model' if option == 'revision' else '--tower'}")
    for option, value in others.items():
        if (args.tower or model) and value:
            which = "--tower" if args.tower else "--model"
            raise ValueError(f"{option.replace('_', '-')} has no meaning with {which}, which has weights of its own")


def saved_folder(config: str) -> Path | None:
    """The folder of a saved recogniser, downloaded where it is on the hub; None of a config."""
    import claver_mm  # noqa: F401, I001
    from claver_mm.saved.folder import is_saved
    from claver_mm.saved.hub import download
    from claver_mm.towers.pretrained import HUB

    if not config.startswith(HUB):
        return Path(config) if is_saved(config) else None
    folder = download(config)
    if folder is None:
        raise ValueError(f"{config} is no saved recogniser; a tower is given as --tower")
    return folder


def tower_changes(args: argparse.Namespace) -> dict[str, object]:
    """Settings of the config ``zero_shot/tower`` for ``--tower``."""
    import claver_mm  # noqa: F401, I001
    from claver_mm.towers.pretrained import tower_settings

    return {f"model.{key}": value for key, value in tower_settings(args.tower, args.weights, args.cache_dir).items()}


def check_labels(args: argparse.Namespace, texts: list[str], videos: list[str], command: str) -> None:
    """Refuse what argparse takes for labels and is none, and what is not there."""
    swallowed = [text for text in (*(args.labels or ()), *texts) if Path(text).is_file()]
    if swallowed:
        raise ValueError(f"{swallowed[0]} is a file, not a text; put the video first: claver {command} "
                         f"{swallowed[0]} ...")
    if not videos:
        raise ValueError("no video was given")
    if args.labels_file and not Path(args.labels_file).is_file():
        raise FileNotFoundError(f"no file of labels at {args.labels_file}")


def open_recognizer(args: argparse.Namespace) -> Recognizer:
    """The recogniser of ``add_recognizer``'s options; random weights only where they are asked for."""
    import sys

    from claver_mm.engine.trained import UntrainedWarning
    from claver_mm.recognizer import Recognizer

    check_tower(args, **{"--checkpoint": args.checkpoint, "--untrained": args.untrained})
    if args.tower or args.model:
        recognizer = Recognizer.from_pretrained(args.tower or args.model, args.frames, weights=args.weights,
                                                cache_dir=args.cache_dir, device=args.device, revision=args.revision)
        print(recognizer, file=sys.stderr)
        return recognizer
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UntrainedWarning)
            return Recognizer(args.config, args.checkpoint, args.device, untrained=args.untrained)
    except UntrainedWarning as error:
        raise ValueError(f"{error}; give --checkpoint, or ask for --untrained") from error


def bar(share: float, width: int = 24) -> str:
    return "#" * round(width * share)
