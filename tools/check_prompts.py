#!/usr/bin/env python
"""Check prompt banks: what is missing, too long, empty, repeated or odd, with file, line and class; and sum them up.

Without arguments: the banks that come with the project. With a bank of your own:

    python tools/check_prompts.py my_bank.csv --classes my_classes.txt --kinds text --at-least 1
"""
from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from claver_mm.clip import count_tokens
from claver_mm.language import KINDS, PromptBank, check_bank, read_bank, read_lines

SHIPPED = {  # bank -> class lists
    "prompts/kinetics.yaml": ["prompts/classes/kinetics400.txt", "prompts/classes/kinetics600.txt"],
    "prompts/ucf101.yaml": ["prompts/classes/ucf101.txt"],
    "prompts/hmdb51.yaml": ["prompts/classes/hmdb51.txt"],
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", nargs="?", help="bank in .yaml, .json or .csv")
    parser.add_argument("--classes", nargs="+", help="class lists, one class a line")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), help="kinds that every class needs")
    parser.add_argument("--at-least", type=int, default=3, help="texts of each kind that every class needs")
    parser.add_argument("--context", type=int, default=77, help="tokens that a text may have, end markers included")
    options = parser.parse_args()
    if (options.bank is None) != (options.classes is None):
        parser.error("give a bank and the class lists it is for, or neither")
    return options


def summary(bank: PromptBank, class_list: str, classes: list[str]) -> list[str]:
    """Rows of a table: classes, texts, words and tokens of each kind."""
    rows = []
    kinds = [kind for kind in bank.kinds if any((bank.entry(name) or {}).get(kind) for name in classes)]
    for kind in kinds:
        texts = [text for name in classes for text, _ in (bank.entry(name) or {}).get(kind, ())]
        tokens = [count_tokens(text) for text in texts]
        rows.append(f"| {Path(class_list).stem} | {len(classes)} | {kind} | {len(texts)} "
                    f"| {sum(len(text.split()) for text in texts)} | {statistics.mean(tokens):.1f} | {max(tokens)} |")
    return rows


def main() -> int:
    options = parse_arguments()
    banks = SHIPPED if options.bank is None else {options.bank: options.classes}
    rows = ["| classes of | classes | kind | texts | words | tokens, mean | longest |", "|---|---|---|---|---|---|---|"]
    problems = []
    for path, lists in banks.items():
        root = ROOT if options.bank is None else Path()
        try:
            bank = read_bank(root / path)
            class_lists = {name: read_lines(root / name, "classes") for name in lists}
        except (ValueError, FileNotFoundError) as error:
            print(error, file=sys.stderr)
            return 2
        problems += check_bank(bank, class_lists, count_tokens, options.kinds, options.at_least, options.context)
        for name, classes in class_lists.items():
            rows += summary(bank, name, classes)
    print("\n".join(rows))
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{len(problems)} problem{'s' * (len(problems) != 1)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
