"""Interpretive prompts written by a large language model (paper section 3.3 and appendix E).

Pure: imports nothing of ``mm*``.
Each text is one request: command, examples, concept. Accepted answers go to an append-only file at once, so that a run
that is stopped loses nothing and the next one goes on.
"""
from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from tqdm import tqdm

from ..messages import quoted, shown
from .answers import broken_rule, clean
from .bank import KINDS
from .cache import Cache
from .checks import bare
from .instruction import COMMANDS, Wanted, ask
from .server import BadReply, CannotGoOn
from .writers import Filtered, Write


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
        lines += [f"failed: {shown(wanted.name, 80)}, {wanted.kind} {wanted.sample}: {why}"
                  for wanted, why in self.failed.items()]
        return "\n".join(lines)


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
        raise ValueError(f"unknown kind {quoted(unknown[0])}; known kinds: {', '.join(COMMANDS)}")
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
        if key in cache.texts:  # which an older version may have filled by weaker rules
            text = clean(cache.texts[key])
            rule = broken_rule(text, item, messages, taken, count_tokens)
            if rule is None:
                texts[item] = text
                taken.add(bare(text))
                report.cached += 1
                continue
            report.refused[rule] += 1
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
                    why = f"{rule}: {quoted(text, 80)}"
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
