"""What a language model is asked for interpretive prompts (paper section 3.3, appendix E): command, examples, concept.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from .prompts import readable

COMMANDS = {
    "decomposition":
        "Describe the action in one sentence of 15 to 40 words by taking it apart into simpler, basic movements, in "
        "the order in which they are seen: what moves, in which direction, what it acts on, how it ends.",
    "synonym":
        "Say the action in other words, as a short caption of 4 to 14 words with the same core meaning but other verbs "
        "and nouns.",
    "body_parts":
        "Describe in one sentence of 12 to 35 words which parts of the body carry out the action and how each of them "
        "moves.",
}
"""The command for each kind."""

RULES = ("Name the object, tool or place, so that the text can be told from texts of other actions. Speak of visible "
         "motion. Answer with the text alone: one line of plain English, no list, no quotation marks, no explanation.")

EXAMPLES = {
    "decomposition": {
        "opening bottle":
            "One hand holds the bottle still while the other grips the cap, twists it until it comes loose, and lifts "
            "it off.",
        "long jump":
            "An athlete sprints down the runway, pushes off the board with one foot, sails forward with both legs "
            "stretched, and lands in the sand.",
        "shuffling cards":
            "A deck is split in two, the halves are bent and released so that the cards fall into each other, and the "
            "pile is pushed together."},
    "synonym": {
        "opening bottle": "unscrewing the cap of a bottle",
        "long jump": "leaping into the sand pit after a run-up",
        "shuffling cards": "mixing a deck before dealing"},
    "body_parts": {
        "opening bottle":
            "Fingers close around the cap and the wrist turns outward, while the other palm keeps the bottle from "
            "turning.",
        "long jump":
            "Knees drive high along the runway, one foot stamps on the board, and both legs swing forward before the "
            "heels hit the sand.",
        "shuffling cards":
            "Thumbs bend the two halves of the deck and let the cards slip one by one while the other fingers hold the "
            "edges."},
}
"""Three answers of each kind, shown to the model."""


class Wanted(NamedTuple):
    """A text to be written: the ``sample``-th of its kind for a class."""
    name: str
    kind: str
    sample: int


def ask(wanted: Wanted, classes: Sequence[str]) -> list[dict[str, str]]:
    """The messages of a request: command, examples, concept, and the classes that share a word with it, those first
    that share a rare one: "playing guitar" is nearer to "strumming guitar" than to "playing chess"."""
    name = readable(wanted.name)
    words, number = _words(tuple(classes))
    shared = {other: entry & set(name.split()) for other, entry in words.items() if other != name}
    neighbours = sorted((other for other in shared if shared[other]),
                        key=lambda other: min(number[word] for word in shared[other]))
    examples = "\n".join(f"Action: {action}\nText: {text}" for action, text in EXAMPLES[wanted.kind].items()
                         if action != name)  # a model would repeat the answer that stands there
    apart = f"\nKeep it apart from: {', '.join(neighbours[:12])}." if neighbours else ""
    return [{"role": "system", "content": f"{COMMANDS[wanted.kind]} {RULES}"},
            {"role": "user", "content": f"{examples}\nAction: {name}{apart}\nText:"}]


@lru_cache(maxsize=1)
def _words(classes: tuple[str, ...]) -> tuple[dict[str, set[str]], Counter]:
    """The words of each class by its readable name, and how many classes have each word."""
    words = {name: set(name.split()) for name in map(readable, classes)}
    return words, Counter(word for entry in words.values() for word in entry)
