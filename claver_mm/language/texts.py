"""The texts of classes as a value: names -> texts -> token ids, with where they came from.

Pure: imports nothing of ``mm*``. A tokenizer is a function from texts to token ids, ``(N, context)``; see
``claver_mm.towers.tokenizer.tokenize``.
Letters: ``C`` classes, ``M`` texts of a class.
"""
from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from ..messages import quoted
from .bank import PromptBank, read_bank
from .prompts import ACTION_TEMPLATES, class_texts, read_lines, readable

Labels = str | Path | PromptBank | Mapping | Sequence[str]
"""Names as a list, or one a line in a ``.txt`` file; or a prompt bank, read, as a mapping or as a file."""
Tokenizer = Callable[[list[str]], Tensor]
BANK_SUFFIXES = (".yaml", ".yml", ".json", ".csv")


@dataclass(frozen=True, eq=False)
class Texts:
    """``M`` texts for each of ``C`` classes. A value: nothing of it is written to once it is made."""

    tokens: Tensor
    """Token ids ``(C, M, context)``, on the CPU, where lengths are read without a GPU's waiting."""
    source: Mapping[str, object] = field(default_factory=dict)
    """Where they came from: templates, bank and its digest, kinds."""
    names: tuple[str, ...] | None = None
    """The classes, as they were given; None where texts were given without names."""
    strings: tuple[tuple[str, ...], ...] | None = None
    """The texts in words, None where token ids were given."""
    name_tokens: Tensor | None = None
    """Token ids of the readable names, ``(C, context)``; None where there are no names."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def nbytes(self) -> int:
        """Memory of the token ids."""
        return self.tokens.nbytes

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the token ids and their shape."""
        content = repr(tuple(self.tokens.shape)).encode() + self.tokens.contiguous().numpy().tobytes()
        return hashlib.sha256(content).hexdigest()

    @cached_property
    def rows(self) -> tuple[bytes, ...]:
        """SHA-256 of the token ids of each class, which tell it from others wherever it stands."""
        return tuple(hashlib.sha256(row.contiguous().numpy().tobytes()).digest() for row in self.tokens)

    @property
    def named(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], Tensor]:
        """Names, texts in words, and token ids of the names.

        Raises:
            ValueError: Classes without names.
        """
        if self.names is None or self.strings is None or self.name_tokens is None:
            raise ValueError("the classes have no names: their texts were given without")
        return self.names, self.strings, self.name_tokens

    def main_text(self, number: int) -> str:
        """One text that a class was ranked by: its readable name where that is among them, else the first."""
        names, strings, _ = self.named
        own, name = strings[number], readable(names[number])
        return name if name in own else own[0]

    def find(self, text: str, tokenize: Tokenizer) -> int | None:
        """Number of the class whose name is ``text`` to the model; None where there is none."""
        names, _, name_tokens = self.named
        if text in names:
            return names.index(text)
        same = name_tokens.eq(_token_ids([[text]], tokenize)[0]).all(dim=1)
        return int(same.int().argmax()) if same.any() else None

    @torch.inference_mode(False)
    def beside(self, extra: Sequence[str], tokenize: Tokenizer) -> Texts:
        """These and further texts, each a class of its own, word for word.

        Raises:
            ValueError: Classes without names, or a text that cannot be told from another class.
        """
        if not extra:
            return self
        own, strings, name_tokens = self.named
        names = read_lines([*own, *extra], "labels")
        extra = names[len(self):]
        tokens = _token_ids([[text] for text in extra], tokenize)
        M = self.tokens.shape[1]
        return _told_apart(Texts(torch.cat([self.tokens, tokens.expand(-1, M, -1)]), self.source, tuple(names),
                                 (*strings, *((text,) * M for text in extra)),
                                 torch.cat([name_tokens, tokens[:, 0]])), tokenize)


@torch.inference_mode(False)  # token ids of inference mode could not be trained with
def texts_of_classes(names: Sequence[str], tokenize: Tokenizer, templates: Sequence[str] = ACTION_TEMPLATES,
                     bank: PromptBank | None = None, kinds: Sequence[str] | None = None,
                     per_kind: int | None = None) -> Texts:
    """Texts of named classes: the names in templates, then those of a bank, kind after kind.

    Raises:
        ValueError: No text at all, a template without ``{}``, a bank that does not serve all classes, a name of which
            the tokenizer leaves nothing, or two classes that are one to the model.
    """
    texts = class_texts(names, templates)
    source: dict[str, object] = dict(templates=len(templates))
    if bank is not None:
        texts = [own + more for own, more in zip(texts, bank.texts(names, kinds, per_kind))]
        chosen = bank.kinds if kinds is None else kinds
        source.update(bank=bank.source, bank_sha256=bank.digest,
                      kinds={kind: len(bank.texts(names, [kind], per_kind)[0]) for kind in chosen})
    if not texts[0]:
        raise ValueError("neither templates nor bank: the classes have no texts")
    ids = _token_ids([[readable(name), *own] for name, own in zip(names, texts)], tokenize)
    return _told_apart(Texts(ids[:, 1:].contiguous(), source, tuple(names), tuple(map(tuple, texts)),
                             ids[:, 0].clone()),
                       tokenize)


@torch.inference_mode(False)
def texts_as_given(texts: Sequence[Sequence[str]] | Sequence[str] | Tensor, tokenize: Tokenizer,
                   context: int) -> Texts:
    """Texts of classes that have no names.

    Args:
        texts: ``M`` strings for each of ``C`` classes, one string for each class, or token ids ``(C, M, context)`` or
            ``(C, context)``.
        tokenize: Of strings.
        context: Of token ids.

    Raises:
        ValueError: Classes with different numbers of texts or none, no class at all, or token ids of another shape.
    """
    if isinstance(texts, str):
        raise ValueError(f"texts={quoted(texts)} is one string; give a list with a text, or several, for each class")
    if not len(texts):
        raise ValueError("no texts: at least one class is needed")
    source = dict(set_by="set_texts")
    if isinstance(texts, Tensor):
        if texts.ndim not in (2, 3) or texts.shape[-1] != context:
            raise ValueError(f"token ids of shape {tuple(texts.shape)}; expected (C, M, {context}) or (C, {context})")
        return Texts((texts if texts.ndim == 3 else texts.unsqueeze(1)).detach().cpu().clone(), source)
    strings = tuple((entry,) if isinstance(entry, str) else tuple(entry) for entry in texts)
    counts = [len(entry) for entry in strings]
    if len(set(counts)) != 1:
        odd = next(i for i, count in enumerate(counts) if count != counts[0])
        raise ValueError(f"class 0 has {counts[0]} texts, class {odd} ({list(strings[odd][:1])}) has {counts[odd]}; "
                         "every class needs the same number")
    if not counts[0]:
        raise ValueError("no texts: the classes have none; at least one for each is needed")
    return Texts(_token_ids(strings, tokenize), source, strings=strings)


def read_labels(labels: Labels) -> tuple[list[str], PromptBank | None]:
    """Names of labels, and the bank that they came with.

    Raises:
        FileNotFoundError: No such file.
        ValueError: One string, no label, one that is no text or empty, or one that stands twice.
    """
    if isinstance(labels, str | Path):
        suffix = Path(labels).suffix.lower()
        if suffix not in (*BANK_SUFFIXES, ".txt"):
            raise ValueError(f"labels={quoted(str(labels))} is one string; give a list of names, or a file in .txt or "
                             f"{', '.join(BANK_SUFFIXES)}")
        if suffix == ".txt":
            return read_lines(labels, "labels"), None
        labels = _bank_in(str(labels), *_stamp(labels))
    elif isinstance(labels, Mapping):
        odd = [key for key in labels if not isinstance(key, str)]
        if odd:
            raise ValueError(f"a class must be named by text, got the {type(odd[0]).__name__} {quoted(odd[0])}; in "
                             "YAML put no, on and numbers in quotes, and of id2label give the values")
        labels = read_bank(labels)
    if isinstance(labels, PromptBank):
        return read_lines(list(labels.entries), f"classes of {labels.source}"), labels
    try:
        labels = list(labels)
    except TypeError:
        raise ValueError(f"labels must be a list of names, a file or a prompt bank, got {quoted(labels)}") from None
    return read_lines(labels, "labels"), None


def listed(texts: Sequence[str], name: str) -> list[str]:
    """A list of texts, perhaps none, without the white space around them.

    Raises:
        ValueError: A single string, whose letters would pass for texts, or an entry that is no text, or stands twice.
    """
    if isinstance(texts, str):
        raise ValueError(f"{name}={quoted(texts)} is one string; give a list of texts")
    return read_lines(list(texts), name) if len(texts) else []


def _stamp(path: str | Path) -> tuple[int, ...]:
    """What changes with a file's content."""
    try:
        stat = os.stat(path)
    except OSError:
        raise FileNotFoundError(f"no file of labels at {path}") from None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=8)
def _bank_in(path: str, *stamp: int) -> PromptBank:
    return read_bank(path)


def _token_ids(texts: Sequence[Sequence[str]], tokenize: Tokenizer) -> Tensor:
    """``(C, M, context)``; equal texts go through the tokenizer once."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(chain.from_iterable(texts)))}
    ids = tokenize(list(numbers)).cpu()
    return ids[torch.tensor([[numbers[text] for text in entry] for entry in texts])]


def _told_apart(texts: Texts, tokenize: Tokenizer) -> Texts:
    """The argument; ``ValueError`` where a class is nothing to the model, or two are one, which would share their
    probability."""
    names, _, name_tokens = texts.named
    nothing = name_tokens.eq(tokenize([""])).all(dim=1)
    if nothing.any():
        raise ValueError(f"the tokenizer leaves nothing of {quoted(names[int(nothing.int().argmax())])}; give a text "
                         "of words")
    seen: dict[bytes, str] = {}
    for name, tokens in zip(names, texts.tokens.flatten(1).numpy()):
        other = seen.setdefault(tokens.tobytes(), name)
        if other != name:
            raise ValueError(f"{quoted(other)} and {quoted(name)} are one to the model, whose tokenizer makes "
                             "the same of their texts; leave one of them out")
    return texts
