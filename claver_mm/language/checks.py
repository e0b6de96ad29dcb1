"""What is wrong with a prompt bank, and with a text alone.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence

from .bank import KINDS, Problem, PromptBank
from .prompts import readable


def check_bank(bank: PromptBank, class_lists: Mapping[str, Sequence[str]], count_tokens: Callable[[str], int],
               kinds: Sequence[str] = KINDS, at_least: int = 3, context: int = 77) -> list[Problem]:
    """Everything to mend in a bank: classes and kinds that miss, classes in two spellings that differ, uneven counts,
    and texts that are empty, too long, repeated within or across the classes of a list, or hold odd characters.

    Args:
        bank: The bank.
        class_lists: Class names, by the name of the file that lists them, one a line; a class of the bank must be in
            one.
        count_tokens: Tokens of a text with its end markers.
        kinds: Kinds that every class needs.
        at_least: Texts of each kind that every class needs.
        context: Tokens that a text may have.
    """
    problems: dict[Problem, None] = {}

    def say(line: int, name: str, message: str, source: str = bank.source) -> None:
        problems[Problem(source, line, name, message)] = None

    known = {readable(name).casefold() for names in class_lists.values() for name in names}
    spelled: dict[str, str] = {}
    for name, line in bank.lines.items():
        as_read = readable(name).casefold()
        if as_read not in known:
            say(line, name, f"no class of {', '.join(class_lists)}")
        other = spelled.setdefault(as_read, name)
        if bank.entries[other] != bank.entries[name]:
            say(line, name, f"is the class of line {bank.lines[other]} ({other}) in another spelling, with other texts")
    for name, entry in bank.entries.items():
        for kind in kinds:
            found = len(entry.get(kind, ()))
            if found < at_least:
                say(bank.lines[name], name, f"{found} texts of the kind {kind!r}, {at_least} are needed")
        for kind, texts in entry.items():
            for text, line in texts:
                for message in faults(text, count_tokens, context):
                    say(line, name, f"{kind}: {message}")
    for source, names in class_lists.items():
        counts: dict[str, tuple[int, str]] = {}
        seen: dict[str, tuple[str, int]] = {}
        for number, name in enumerate(names, start=1):
            entry = bank.entry(name)
            if entry is None:
                say(number, name, f"no texts in {bank.source}", source)
                continue
            for kind, texts in entry.items():
                count, first = counts.setdefault(kind, (len(texts), name))
                if count != len(texts):
                    say(texts[0].line if texts else 0, name,
                        f"{len(texts)} texts of the kind {kind!r}, but {first!r} has {count}")
                for text, line in texts:
                    other, before = seen.setdefault(bare(text), (name, line))
                    if (other, before) != (name, line):
                        say(line, name, f"{kind}: {text!r} stands in line {before} ({other}) already")
    return sorted(problems, key=lambda problem: (problem.source != bank.source, problem.line))


def faults(text: str, count_tokens: Callable[[str], int], context: int = 77) -> list[str]:
    """What is wrong with a text taken alone; empty where nothing is."""
    if not text.strip():
        return ["an empty text"]
    found = []
    odd = sorted({char for char in text if unicodedata.category(char)[0] in "CZ" and char != " "
                  or unicodedata.category(char) in ("So", "Sk")})
    if odd:
        found.append(f"odd characters {', '.join(f'U+{ord(char):04X}' for char in odd)} in {text!r}")
    if text != " ".join(text.split()) and not odd:
        found.append(f"white space to spare in {text!r}")
    tokens = count_tokens(text)
    if tokens > context:
        found.append(f"{tokens} tokens, {context} fit: {text!r}")
    return found


def bare(text: str) -> str:
    """A text without case, punctuation and spaces to spare; two texts that share it say the same."""
    return " ".join("".join(char if char.isalnum() else " " for char in text.casefold()).split())
