"""Check prompt banks: what is missing, too long, empty, repeated or odd, with file, line and class; and sum them up.

Without arguments: the banks that come with the project. With a bank of your own:

    claver check-prompts my_bank.csv --classes my_classes.txt

Tokens are those of CLIP, of which 77 fit. Other towers have other tokenizers and contexts; every text that one of them
would cut is a problem:

    claver check-prompts --arch PE-Core-L-14-336

Problems keep a bank from serving its classes: they are to be mended. Notes tell of what may be meant: classes that no
list has, a text that a class has twice, signs, white space. The exit status is 0 without problems, whatever the notes,
1 with problems, 2 if a file cannot be read.
"""
from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from .options import KINDS

NEEDS_HOST = False
SHIPPED = {"kinetics.yaml": ["kinetics400", "kinetics600"], "ucf101.yaml": ["ucf101"], "hmdb51.yaml": ["hmdb51"]}
MOST = 1000
"""Notes and problems that are printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", nargs="?", help="bank in .yaml, .json or .csv")
    parser.add_argument("--classes", nargs="+", help="class lists, one class a line: files, or shipped ones by name")
    parser.add_argument("--kinds", nargs="*", help="kinds that every class needs; without it those that "
                        f"the bank has, of the banks of the project {', '.join(KINDS)}")
    parser.add_argument("--at-least", type=int, help="texts of each kind that every class needs "
                        "(1, of the banks of the project 3)")
    parser.add_argument("--arch", help="architecture whose tokenizer counts, and whose context a text must fit "
                        "(CLIP's, 77): a name of open_clip's, hf-hub:ORGANISATION/NAME or local-dir:FOLDER")
    parser.add_argument("--context", type=int, help="tokens that a text may have, end markers included, where it is "
                        "not the context of the architecture")
    parser.add_argument("--json", action="store_true", help="print sums, notes and problems in JSON")


def run(args: argparse.Namespace) -> int:
    if (args.bank is None) != (args.classes is None):
        raise ValueError("give a bank and the class lists it is for, or neither")

    from claver_mm.catalog import PROMPTS
    from claver_mm.language import check_bank, read_bank, read_lines
    from claver_mm.language.checks import sum_up
    from claver_mm.catalog import find_classes
    from claver_mm.towers.tokenizer import context_of, count_tokens

    own = args.bank is not None
    banks = {args.bank: args.classes} if own else {PROMPTS / name: lists for name, lists in SHIPPED.items()}
    kinds = list(KINDS) if args.kinds is None and not own else args.kinds
    at_least = (1 if own else 3) if args.at_least is None else args.at_least
    context = args.context or (77 if args.arch is None else context_of(args.arch))
    count = partial(count_tokens, arch=args.arch)
    sums, found = [], []
    for path, lists in banks.items():
        bank = read_bank(path)
        class_lists = {str(name): read_lines(name, "classes") for name in map(find_classes, lists)}
        found += check_bank(bank, class_lists, count, kinds, at_least, context)
        for name, classes in class_lists.items():
            sums += [dict(classes_of=Path(name).stem, **row) for row in sum_up(bank, classes, count)]
    notes, problems = ([one for one in found if one.note is kind] for kind in (True, False))
    if args.json:
        print(json.dumps(dict(sums=sums, **{
            what: [dict(file=one.source, line=one.line, name=one.name, message=one.message) for one in some]
            for what, some in (("notes", notes), ("problems", problems))}), indent=1))
    else:
        _print(sums, notes, problems)
    return 1 if problems else 0


def _print(sums: list[dict], notes: list, problems: list) -> None:
    from claver_mm.messages import shown

    print("| classes of | classes | kind | texts | words | tokens, mean | longest |", "|---|---|---|---|---|---|---|",
          *(f"| {shown(row['classes_of'])} | {row['classes']} | {shown(row['kind'], 80)} | {row['texts']} "
            f"| {row['words']} | {row['mean_tokens']:.1f} | {row['longest']} |" for row in sums), sep="\n")
    for some, what in ((notes, "note"), (problems, "problem")):
        print(*some[:MOST], *([f"and {len(some) - MOST} {what}s more"] if len(some) > MOST else []),
              sep="\n", end="\n" if some else "")
        if some or what == "problem":
            print(f"{len(some)} {what}{'s' * (len(some) != 1)}")
