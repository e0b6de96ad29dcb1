"""A prompt bank in a file, written by a language model, never over what somebody has corrected by hand.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from ..messages import quoted, shown
from .bank import KINDS, read_bank, write_bank
from .cache import Cache
from .generate import Report, generate
from .writers import Sampling, Write


def generate_bank(classes: Sequence[str], out: str | Path, cache: str | Path, sampling: Sampling,
                  connect: Callable[[], Write], count_tokens: Callable[[str], int], kinds: Sequence[str] = KINDS,
                  per_kind: int = 4, workers: int = 8, attempts: int = 5) -> Report:
    """Write the bank of some classes; every accepted text goes to the cache at once, and the next call goes on.

    Args:
        classes: Class names.
        out: Bank to write, in YAML.
        cache: File of accepted answers.
        sampling: Model and how it is sampled; of others the cache knows nothing.
        connect: Gives ``openai_writer`` or ``local_writer``, once it is known that something can be written.
        count_tokens, kinds, per_kind, workers, attempts: As in ``generate``.

    Raises:
        ValueError: ``out`` has other texts than were written there from this cache, or another run has the cache.
        claver_mm.language.server.CannotGoOn: As in ``generate``.
        OSError: A file cannot be written.
    """
    out, cache = Path(out), Path(cache)
    with closing(Cache(cache, sampling)) as kept:
        _refuse_to_lose(out, kept)
        bank, report = generate(classes, connect(), kept, count_tokens, kinds, per_kind, workers, attempts)
        _refuse_to_lose(out, kept)  # again: hours may have passed
        kept.add_bank(read_bank(bank).digest, out.name)
        write_bank(bank, out)
    return report


def _refuse_to_lose(out: Path, cache: Cache) -> None:
    """Raise ValueError if what is in an existing bank is not what was put there from the cache."""
    if not out.exists():
        return
    way_out = "give another --out, or remove the file"
    try:
        bank = read_bank(out)
    except ValueError as error:
        raise ValueError(f"{out} is there and is no bank ({shown(str(error).splitlines()[0])}); {way_out}") from error
    if bank.digest in cache.banks:
        return
    kept = set(cache.texts.values())
    new = [text for entry in bank.entries.values() for texts in entry.values() for text in texts
           if text.text not in kept]
    where = (f"{len(new)} new, the first in line {new[0].line}: {quoted(new[0].text)}" if new
             else "some are gone or moved")
    raise ValueError(f"{out} has other texts than were written there by {cache.path}, so somebody may have corrected "
                     f"it by hand ({where}); {way_out}")
