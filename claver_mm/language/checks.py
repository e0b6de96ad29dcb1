"""What is wrong with a prompt bank, and with a text alone.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import statistics
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from ..messages import joins, quoted, shown
from .bank import Problem, PromptBank
from .prompts import readable


def check_bank(bank: PromptBank, class_lists: Mapping[str, Sequence[str]], count_tokens: Callable[[str], int],
               kinds: Sequence[str] | None = None, at_least: int = 1, context: int = 77) -> list[Problem]:
    """Everything to mend in a bank, and, as notes, what may be meant.

    Problems are what keeps the bank from serving the class lists or makes two classes one: classes and kinds that miss,
    classes in two spellings that differ, uneven counts, and texts that are empty, too long, in two classes of a list,
    or hold odd characters. Notes are classes of no list where no class of the lists misses, texts that a class has
    twice, signs and pictures, and white space to spare.

    Args:
        bank: The bank.
        class_lists: Class names, by the name of the file that lists them, one a line.
        count_tokens: Tokens of a text with its end markers.
        kinds: Kinds that every class needs; where None, those that the bank has for any class of the lists.
        at_least: Texts of each kind that every class needs.
        context: Tokens that a text may have.
    """
    problems: dict[Problem, None] = {}

    def say(line: int, name: str, message: str, source: str = bank.source, note: bool = False) -> None:
        problems[Problem(source, line, name, message, note)] = None

    listed = {readable(name).casefold() for names in class_lists.values() for name in names}
    complete = all(bank.entry(name) is not None for names in class_lists.values() for name in names)
    spelled: dict[str, str] = {}
    for name, line in bank.lines.items():
        as_read = readable(name).casefold()
        if as_read not in listed:
            say(line, name, f"no class of {', '.join(class_lists)}", note=complete)
        other = spelled.setdefault(as_read, name)
        if bank.entries[other] != bank.entries[name]:
            say(line, name, f"is the class of line {bank.lines[other]} ({shown(other, 80)}) in another spelling, with "
                            "other texts")
    own = [name for name in bank.entries if readable(name).casefold() in listed]
    needed = dict.fromkeys(kind for name in own for kind in bank.entries[name]) if kinds is None else kinds
    for name in bank.entries if kinds is not None else own:
        for kind in needed:
            found = len(bank.entries[name].get(kind, ()))
            if found < at_least:
                say(bank.lines[name], name, f"{found} texts of the kind {quoted(kind)}, {at_least} are needed")
    for name, texts_of in bank.entries.items():
        for kind, texts in texts_of.items():
            for text, line in texts:
                for message in faults(text, count_tokens, context):
                    say(line, name, f"{shown(kind, 80)}: {message}")
                for message in oddities(text):
                    say(line, name, f"{shown(kind, 80)}: {message}", note=True)
    for source, names in class_lists.items():
        counts: dict[str, tuple[int, str]] = {}
        seen: dict[str, tuple[str, int]] = {}
        for number, name in enumerate(names, start=1):
            entry = bank.entry(name)
            if entry is None:
                say(number, name, f"no texts in {shown(bank.source)}", source)
                continue
            for kind, texts in entry.items():
                count, first = counts.setdefault(kind, (len(texts), name))
                if count != len(texts):
                    say(texts[0].line if texts else 0, name,
                        f"{len(texts)} texts of the kind {quoted(kind)}, but {quoted(first)} has {count}")
                for text, line in texts:
                    said = bare(text) or text
                    if said in seen:
                        other, before = seen[said]
                        say(line, name, f"{shown(kind, 80)}: {quoted(text)} stands in line {before} "
                                        f"({shown(other, 80)}) already", note=other == name)
                    else:
                        seen[said] = name, line
    return sorted(problems, key=lambda problem: (problem.source != bank.source, problem.line))


def sum_up(bank: PromptBank, classes: Sequence[str], count_tokens: Callable[[str], int]) -> list[dict]:
    """What a bank has for a class list, kind by kind: numbers of ``classes``, ``texts`` and ``words``, and the tokens
    of a text, ``mean_tokens`` and ``longest``."""
    rows = []
    for kind in bank.kinds:
        texts = [text for name in classes for text, _ in (bank.entry(name) or {}).get(kind, ())]
        if texts:
            tokens = [count_tokens(text) for text in texts]
            rows.append(dict(classes=len(classes), kind=kind, texts=len(texts),
                             words=sum(len(text.split()) for text in texts),
                             mean_tokens=statistics.mean(tokens), longest=max(tokens)))
    return rows


def faults(text: str, count_tokens: Callable[[str], int], context: int = 77) -> list[str]:
    """What is wrong with a text taken alone; empty where nothing is."""
    if not text.strip():
        return ["an empty text"]
    found = []
    odd = odd_characters(text)
    if odd:
        found.append(f"odd characters {', '.join(f'U+{ord(char):04X}' for char in odd[:8])} in {quoted(text)}")
    if len(text) > 40 * context:  # not given to the tokenizer, which would take its time
        return [*found, f"{len(text)} characters, {context} tokens fit: {quoted(text)}"]
    tokens = count_tokens(text.encode("utf-8", "replace").decode())
    if tokens > context:
        found.append(f"{tokens} tokens, {context} fit: {quoted(text)}")
    return found


def odd_characters(text: str) -> list[str]:
    """Controls, invisible characters, blanks other than the space, and halves of surrogate pairs."""
    return sorted({char for at, char in enumerate(text)
                   if unicodedata.category(char)[0] in "CZ" and char != " " and not joins(text, at)})


def oddities(text: str) -> list[str]:
    """What of a text may be meant, though a text encoder makes little of it."""
    signs = [f"signs {', '.join(f'U+{ord(char):04X}' for char in symbols(text)[:8])} in {quoted(text)}"]
    spare = [f"white space to spare in {quoted(text)}"]
    return signs * bool(symbols(text)) + spare * (text != " ".join(text.split()) and not odd_characters(text))


def symbols(text: str) -> list[str]:
    """Pictures and signs (emoji, arrows, degrees) of a text."""
    return sorted({char for char in text if unicodedata.category(char) in ("So", "Sk")})


def bare(text: str) -> str:
    """A text without case, punctuation and spaces to spare; two texts that share it say the same."""
    return " ".join("".join(char if char.isalnum() or unicodedata.category(char)[0] == "M" else " "  # M: vowel signs
                            for char in text.casefold()).split())
