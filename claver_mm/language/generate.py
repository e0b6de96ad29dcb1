"""Interpretive prompts written by a large language model (paper section 3.3 and appendix E).

Pure: imports nothing of ``mm*``; the client libraries are imported where they are used.
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from .bank import KINDS, faults
from .instruction import COMMANDS, Wanted, ask
from .prompts import readable

REFUSALS = ("as an ai", "i'm sorry", "i am sorry", "i cannot", "i can't")


class BadReply(RuntimeError):
    """A server's answer that is no chat completion; asking again may help."""


class CannotGoOn(RuntimeError):
    """The server refuses in a way that asking again does not change: key, address, model or parameters."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn."""
    model: str
    temperature: float = 0.90
    top_p: float = 0.95
    max_tokens: int = 200


@dataclass
class Report:
    """What a run did."""
    cached: int = 0
    written: int = 0
    retries: int = 0
    refused: Counter = field(default_factory=Counter)
    failed: dict[Wanted, str] = field(default_factory=dict)

    def __str__(self) -> str:
        refused = ", ".join(f"{reason} {count}" for reason, count in self.refused.most_common()) or "none"
        lines = [f"{self.cached} texts from the cache, {self.written} new, {len(self.failed)} failed; "
                 f"{self.retries} requests sent again; answers asked again: {refused}"]
        lines += [f"failed: {wanted.name}, {wanted.kind} {wanted.sample}: {why}" for wanted, why in self.failed.items()]
        return "\n".join(lines)


def clean(answer: str) -> str:
    """An answer without what models like to put around it: thoughts, labels, list marks, quotation marks."""
    answer = re.sub(r"<think>.*?</think>", "", answer, flags=re.DOTALL).strip()
    answer = re.sub(r"^(?:text|answer)\s*:\s*|^(?:[-*]|\d+[.)])\s+", "", answer, flags=re.IGNORECASE)
    pairs = ('""', "''", "\u201c\u201d")
    while len(answer) > 1 and answer[0] + answer[-1] in pairs:
        answer = answer[1:-1].strip()
    return answer


def broken_rule(text: str, wanted: Wanted, messages: list[dict[str, str]], taken: set[str],
                count_tokens: Callable[[str], int]) -> str | None:
    """The rule that a text breaks, or None."""
    if not text:
        return "empty"
    if "\n" in text:
        return "several lines"
    if faults(text, count_tokens):
        return "too long" if count_tokens(text) > 77 else "odd characters"
    lowered = text.casefold()
    if lowered.startswith(REFUSALS):
        return "refusal"
    asked = " ".join(message["content"] for message in messages).casefold()
    if lowered.strip(". ") == readable(wanted.name).casefold() or lowered.strip(". ") in asked:
        return "echo of the prompt"
    return "repeated" if lowered in taken else None


class Cache:
    """Accepted answers in a file of JSON lines that only grows.

    A last line that a killed run left unfinished is cut off; anything else that cannot be read is an error.
    """

    def __init__(self, path: Path, sampling: Sampling) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._sampling = asdict(sampling)
        self.texts: dict[str, str] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        whole = content[:content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                record = json.loads(line)
                self.texts[record["key"]] = record["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number} is no record of this cache; move the file away, or mend the "
                                 f"line: {line[:80]!r}") from error
        self._file = path.open("ab")
        self._file.truncate(len(whole))

    def key(self, wanted: Wanted, messages: list[dict[str, str]]) -> str:
        """What an answer depends on: model, sampling, messages, and the number of the sample."""
        content = json.dumps([self._sampling, messages, wanted], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def add(self, key: str, wanted: Wanted, text: str) -> None:
        """Keep an answer; it is on the disk when this returns."""
        record = dict(key=key, **wanted._asdict(), text=text, model=self._sampling["model"], time=round(time.time()))
        with self._lock:
            self.texts[key] = text
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


Write = Callable[[list[dict[str, str]], int], tuple[str, int]]
"""Messages and a seed -> answer, and how many requests had to be sent again for it."""


def openai_writer(sampling: Sampling, base_url: str | None = None, timeout: float = 60, max_retries: int = 5) -> Write:
    """Writes through a server of OpenAI's protocol (vLLM, Ollama, llama.cpp, or hosted), with the ``openai`` client.

    The client itself waits and asks again after 408, 409, 429, 5xx, a time-out or a cut connection. ``OPENAI_API_KEY``
    is the key; a server at a ``base_url`` may need none.

    Raises:
        ModuleNotFoundError: ``openai`` is not installed.
        CannotGoOn: By the writer: the server refuses key, model or parameters.
        BadReply: By the writer: an answer that is no chat completion, or none after ``max_retries``.
    """
    import openai
    key = os.environ.get("OPENAI_API_KEY") or (None if base_url is None else "none")
    try:
        client = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=max_retries)
    except openai.OpenAIError as error:
        raise CannotGoOn(str(error)) from error

    def write(messages: list[dict[str, str]], seed: int) -> tuple[str, int]:
        try:
            raw = client.chat.completions.with_raw_response.create(
                model=sampling.model, messages=messages, temperature=sampling.temperature, top_p=sampling.top_p,
                max_tokens=sampling.max_tokens, seed=seed)
            reply = raw.parse()
        except (openai.RateLimitError, openai.InternalServerError, openai.APIConnectionError,
                openai.APIResponseValidationError, json.JSONDecodeError) as error:
            raise BadReply(f"{type(error).__name__}: {error}") from error
        except openai.APIStatusError as error:
            raise CannotGoOn(f"the server answers {error.status_code}: {error.message}") from error
        if not getattr(reply, "choices", None):
            raise BadReply(f"no chat completion: {str(reply)[:80]!r}")
        return reply.choices[0].message.content or "", raw.retries_taken

    return write


def local_writer(sampling: Sampling, device: str | None = None) -> Write:
    """Writes with a Hugging Face model on this machine; ``sampling.model`` is its folder or name.

    Raises:
        ModuleNotFoundError: ``transformers`` is not installed.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(sampling.model)
    model = AutoModelForCausalLM.from_pretrained(sampling.model).eval()
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    lock = threading.Lock()  # one model, one random state

    def write(messages: list[dict[str, str]], seed: int) -> tuple[str, int]:
        if tokenizer.chat_template:
            inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt",
                                                   return_dict=True)
        else:
            inputs = tokenizer("\n".join(message["content"] for message in messages), return_tensors="pt")
        with lock, torch.inference_mode():
            torch.manual_seed(seed)
            inputs = inputs.to(model.device)
            output = model.generate(**inputs, do_sample=True, temperature=sampling.temperature, top_p=sampling.top_p,
                                    max_new_tokens=sampling.max_tokens,
                                    pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id)
        answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
        # a model without a chat format goes on with the pattern of the examples; the first line is its answer
        return (answer if tokenizer.chat_template else answer.strip().split("\n")[0]), 0

    return write


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
        CannotGoOn: The server refuses; what was written is in the cache.
    """
    unknown = [kind for kind in kinds if kind not in COMMANDS]
    if unknown:
        raise ValueError(f"unknown kind {unknown[0]!r}; known kinds: {', '.join(COMMANDS)}")
    wanted = [Wanted(name, kind, sample) for name in classes for kind in kinds for sample in range(per_kind)]
    texts: dict[Wanted, str] = {}
    report = Report()
    taken: set[str] = set()
    lock = threading.Lock()
    todo = []
    for item in wanted:
        messages = ask(item, classes)
        key = cache.key(item, messages)
        if key in cache.texts:
            texts[item] = cache.texts[key]
            taken.add(texts[item].casefold())
            report.cached += 1
        else:
            todo.append((item, messages, key))

    def one(item: Wanted, messages: list[dict[str, str]], key: str) -> None:
        why = ""
        for attempt in range(attempts):
            try:
                answer, retries = write(messages, 1000 * item.sample + attempt)
            except BadReply as error:
                why = str(error)
                with lock:
                    report.refused["no answer"] += 1
                time.sleep(pause * 2 ** attempt)
                continue
            text = clean(answer)
            with lock:
                report.retries += retries
                rule = broken_rule(text, item, messages, taken, count_tokens)
                if rule is None:
                    taken.add(text.casefold())
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

    with tqdm(total=len(wanted), initial=report.cached, unit="text", desc="texts") as progress, \
            ThreadPoolExecutor(workers) as pool:
        for done in _at_most(2 * workers, (lambda job=job: pool.submit(one, *job) for job in todo), pool):
            done.result()
            progress.update()
    bank = {name: {kind: [texts[item] for sample in range(per_kind) if (item := Wanted(name, kind, sample)) in texts]
                   for kind in kinds} for name in classes}
    return bank, report


def _at_most(limit: int, submits: Iterator[Callable[[], Future]], pool: ThreadPoolExecutor) -> Iterator[Future]:
    """Futures as they end, never more than ``limit`` begun, so that a stop leaves no queue behind."""
    running = {submit() for submit in islice(submits, limit)}
    try:
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {submit() for submit in islice(submits, len(done))}
            yield from done
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
