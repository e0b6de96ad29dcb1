"""Interpretive prompts written by a large language model (paper section 3.3 and appendix E).

Pure: imports nothing of ``mm*``.
Each text is one request: command, examples, concept. Accepted answers go to an append-only file at once, so that a run
that is stopped loses nothing and the next one goes on.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from .bank import KINDS
from .checks import bare, faults
from .instruction import COMMANDS, Wanted, ask
from .prompts import readable
from .writers import BadReply, CannotGoOn, Filtered, Sampling, Write

REFUSALS = ("as an ai", "sorry", "i'm sorry", "i am sorry", "i cannot", "i can't")


@dataclass
class Report:
    """What a run did: numbers of texts, why answers were refused, and which texts failed why."""
    cached: int = 0
    written: int = 0
    retries: int = 0
    filtered: int = 0
    refused: Counter = field(default_factory=Counter)
    failed: dict[Wanted, str] = field(default_factory=dict)

    def __str__(self) -> str:
        refused = ", ".join(f"{reason} {count}" for reason, count in self.refused.most_common()) or "none"
        filtered = f" ({self.filtered} by the server's content filter)" if self.filtered else ""
        lines = [f"{self.cached} texts from the cache, {self.written} new, {len(self.failed)} failed{filtered}; "
                 f"{self.retries} requests sent again; answers asked again: {refused}"]
        lines += [f"failed: {wanted.name}, {wanted.kind} {wanted.sample}: {why}" for wanted, why in self.failed.items()]
        return "\n".join(lines)


def clean(answer: str) -> str:
    """An answer without what models like to put around it: thoughts, labels, list marks, quotation marks."""
    answer = re.sub(r"<think>.*?</think>", "", answer, flags=re.DOTALL).strip()
    answer = re.sub(r"[^\S\n]+", " ", answer)
    before = None
    while answer != before:
        before = answer
        answer = re.sub(r"^(?:text|answer)\s*:\s*|^(?:[-*]|\d+[.)])\s+", "", answer, flags=re.IGNORECASE)
        if len(answer) > 1 and answer[0] + answer[-1] in ('""', "''", "\u201c\u201d"):
            answer = answer[1:-1].strip()
    return answer


def broken_rule(text: str, wanted: Wanted, messages: list[dict[str, str]], taken: set[str],
                count_tokens: Callable[[str], int]) -> str | None:
    """The rule that a text breaks, or None."""
    if not bare(text):
        return "empty"
    if "\n" in text:
        return "several lines"
    if faults(text, count_tokens):
        return "too long" if count_tokens(text) > 77 else "odd characters"
    lowered = text.casefold().replace("\u2019", "'")
    if lowered.startswith(REFUSALS):
        return "refusal"
    asked = " ".join(message["content"] for message in messages).casefold()
    if lowered.strip(". ") == readable(wanted.name).casefold() or lowered.strip(". ") in asked:
        return "echo of the prompt"
    return "repeated" if bare(text) in taken else None


class Cache:
    """Accepted answers in a file of JSON lines that only grows, and the digests of the banks that were made of them.

    A last line that a killed run left unfinished is cut off; anything else that cannot be read is an error.
    """

    def __init__(self, path: Path, sampling: Sampling) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._sampling = asdict(sampling)
        self.texts: dict[str, str] = {}
        self.banks: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        *lines, last = content.split(b"\n")
        if not last.startswith(b'{"key": "'[:len(last)]):  # nothing that a killed run could have left
            lines.append(last)
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                if "bank" in record:
                    self.banks.add(record["key"])
                else:
                    self.texts[record["key"]] = record["text"].strip()
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}, line {number} is no record of this cache; move the file away, or mend the "
                                 f"line: {line[:80]!r}") from error
        self._file = path.open("ab")
        self._file.truncate(len(content) - len(last))

    def key(self, wanted: Wanted, messages: list[dict[str, str]]) -> str:
        """What an answer depends on: model, sampling, messages, and the number of the sample."""
        content = json.dumps([self._sampling, messages, wanted], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def add(self, key: str, wanted: Wanted, text: str) -> None:
        """Keep an answer; it is on the disk when this returns."""
        with self._lock:
            self.texts[key] = text
            self._append(dict(key=key, **wanted._asdict(), text=text, model=self._sampling["model"],
                              time=round(time.time())))

    def add_bank(self, digest: str, name: str) -> None:
        """Remember a bank, so that what others do to its file can be told from what was written."""
        if digest not in self.banks:
            self.banks.add(digest)
            self._append(dict(key=digest, bank=name))

    def _append(self, record: dict) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def generate(classes: Sequence[str], write: Write, cache: Cache, count_tokens: Callable[[str], int],
             kinds: Sequence[str] = KINDS, per_kind: int = 4, workers: int = 8, attempts: int = 5,
             pause: float = 1.0) -> tuple[dict[str, dict[str, list[str]]], Report]:
    """Have every text written that the cache has not.

    Args:
        classes: Class names.
        write: ``openai_writer`` or ``local_writer``.
        cache: Where answers are kept.
        count_tokens: Tokens of a text with its end markers.
        kinds: Kinds of texts.
        per_kind: Texts of each kind for each class.
        workers: Requests at once.
        attempts: How often a text is asked for, until an answer keeps the rules.
        pause: Seconds of waiting after the first reply that is none; doubled each time.

    Returns:
        Texts by class and kind, and the report; texts that failed are missing from the former and named in the latter.

    Raises:
        ValueError: Unknown kind.
        CannotGoOn: The server refuses, or has not answered for long; what was written is in the cache.
    """
    unknown = [kind for kind in kinds if kind not in COMMANDS]
    if unknown:
        raise ValueError(f"unknown kind {unknown[0]!r}; known kinds: {', '.join(COMMANDS)}")
    wanted = [Wanted(name, kind, sample) for name in classes for kind in kinds for sample in range(per_kind)]
    texts: dict[Wanted, str] = {}
    report = Report()
    taken: set[str] = set()
    lock, stop = threading.Lock(), threading.Event()
    silent, patience = 0, max(workers, 8) * attempts  # requests in a row without an answer: seen, and borne
    asked = {(name, kind): ask(Wanted(name, kind, 0), classes) for name in classes for kind in kinds}
    todo = []
    for item in wanted:
        messages = asked[item.name, item.kind]
        key = cache.key(item, messages)
        if key in cache.texts:
            texts[item] = cache.texts[key]
            taken.add(bare(texts[item]))
            report.cached += 1
        else:
            todo.append((item, messages, key))

    def one(item: Wanted, messages: list[dict[str, str]], key: str) -> None:
        nonlocal silent
        why, delay = "", 0.0
        for attempt in range(attempts):
            if stop.wait(delay):
                return
            try:
                answer = write(messages, 1000 * item.sample + attempt)
            except CannotGoOn:
                stop.set()
                raise
            except Filtered as error:
                with lock:
                    silent = 0
                    report.filtered += 1
                    report.failed[item] = str(error)
                return
            except BadReply as error:
                why, delay = str(error), 2 * delay or pause
                with lock:
                    report.refused["no answer"] += 1
                    silent += 1
                    if silent >= patience:
                        stop.set()
                        raise CannotGoOn(f"{silent} requests in a row without an answer; {why}") from error
                continue
            text, delay = clean(answer.text), 0.0
            with lock:
                silent = 0
                report.retries += answer.retries
                rule = answer.cut or broken_rule(text, item, messages, taken, count_tokens)
                if rule is None:
                    taken.add(bare(text))
                    texts[item] = text
                    report.written += 1
                else:
                    report.refused[rule] += 1
                    why = f"{rule}: {text[:80]!r}"
            if rule is None:
                cache.add(key, item, text)
                return
        with lock:
            report.failed[item] = why

    pool = ThreadPoolExecutor(workers)
    try:
        with tqdm(total=len(wanted), initial=report.cached, unit="text", desc="texts") as progress:
            for done in as_completed([pool.submit(one, *job) for job in todo]):
                done.result()
                progress.update()
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)  # who stops a run does not wait for requests under way
    bank = {name: {kind: [texts[item] for sample in range(per_kind) if (item := Wanted(name, kind, sample)) in texts]
                   for kind in kinds} for name in classes}
    return bank, report
