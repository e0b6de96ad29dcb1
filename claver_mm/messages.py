"""Foreign text in messages: what a file, a server or a caller gave is shown printable and short.

Pure: imports the standard library alone.
"""
from __future__ import annotations

import reprlib
import unicodedata
from collections.abc import Iterable

MOST = 200
"""Characters of a foreign text that a message shows."""


def shown(text: object, most: int = MOST) -> str:
    """A text, or what ``str`` makes of an object, in one line of printable characters.

    What a terminal obeys (escape codes, C0 and C1 controls) and what hides or turns other text (zero-width characters,
    marks of direction) is written as an escape; of a longer text the number of characters left out is told.
    """
    text = str(text)
    line = "".join(char if char.isprintable() or joins(text, at) else char.encode("unicode_escape").decode()
                   for at, char in enumerate(text[:most].replace("\n", " ")))
    return line + (f"... ({len(text) - most} characters more)" if len(text) > most else "")


def joins(text: str, at: int) -> bool:
    """Whether the character there is a joiner or non-joiner that belongs to its word: between Arabic letters or behind
    a virama, as Persian, Hindi or Sinhala are spelled (Unicode Annex 31, section 2.3)."""
    if not at or text[at] not in "\u200c\u200d":
        return False
    arabic = [unicodedata.bidirectional(char) in ("AL", "NSM") for char in (text[at - 1], *text[at + 1:at + 2])]
    return unicodedata.combining(text[at - 1]) == 9 or arabic == [True, True]


def quoted(value: object, most: int = MOST) -> str:
    """``repr`` of a value as short as ``shown`` makes a text; containers, however large or deep, in part."""
    if isinstance(value, str | bytes):
        return repr(value[:most]) + (f"... ({len(value) - most} more)" if len(value) > most else "")
    return shown(_SHORT.repr(value), most)


def listed(values: Iterable[object], count: int = 5) -> str:
    """The first ``count`` of some values, ``quoted``, and how many there are besides."""
    values = list(values)
    more = f" and {len(values) - count} more" if len(values) > count else ""
    return ", ".join(quoted(value, 60) for value in values[:count]) + more


class _Short(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        """Python refuses to write an integer of thousands of digits."""
        return repr(value) if value.bit_length() < 200 else f"<an integer of {value.bit_length()} bits>"

    def repr_str(self, value: str | bytes, level: int) -> str:
        return quoted(value, 60)

    repr_bytes = repr_str


_SHORT = _Short()
_SHORT.maxlevel = 3
