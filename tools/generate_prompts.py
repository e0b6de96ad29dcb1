#!/usr/bin/env python
"""Have a language model write the prompt bank of your classes, over any server of OpenAI's protocol or on this machine.

    python tools/generate_prompts.py --classes my_classes.txt --out my_bank.yaml \\
        --base-url http://127.0.0.1:8000/v1 --model Qwen/Qwen2.5-32B-Instruct
    python tools/generate_prompts.py --classes my_classes.txt --out my_bank.yaml --local --model my_models/llama

The key of a server that wants one is read from OPENAI_API_KEY. Every accepted text goes to the cache at once: after a
stop, of whatever kind, the same command goes on, and no text is asked for twice. The exit status is 0 if the bank is
whole, 1 if texts are missing, 2 if the run cannot begin or go on, 130 after Ctrl-C.
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from claver_mm.clip import count_tokens
from claver_mm.language import KINDS, read_bank, read_lines
from claver_mm.language.bank import write_bank
from claver_mm.language.generate import Cache, generate
from claver_mm.language.writers import CannotGoOn, Sampling, local_writer, openai_writer


def within(kind: type, above: float, most: float = float("inf")) -> Callable[[str], float]:
    """An argument's type: a number above one bound and at most another."""
    def number(text: str) -> float:
        value = kind(text)
        if not above < value <= most:
            raise argparse.ArgumentTypeError(f"must be above {above}" + (f", at most {most}" if most < 1e9 else "")
                                             + f", got {text}")
        return value
    number.__name__ = kind.__name__
    return number


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", required=True, help="class list, one class a line")
    parser.add_argument("--out", required=True, type=Path, help="bank to write, in .yaml")
    parser.add_argument("--model", required=True, help="name at the server; with --local a folder or Hugging Face name")
    parser.add_argument("--base-url", help="address of the server, as http://127.0.0.1:8000/v1; without it OpenAI's")
    parser.add_argument("--local", action="store_true", help="run the model on this machine, with transformers")
    parser.add_argument("--device", help="device of a local model; without it the GPU, if there is one")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of texts")
    parser.add_argument("--per-kind", type=within(int, 0), default=4, help="texts of each kind for each class (4)")
    parser.add_argument("--temperature", type=within(float, 0), default=0.90, help="of sampling (0.90)")
    parser.add_argument("--top-p", type=within(float, 0, 1), default=0.95, help="of sampling (0.95)")
    parser.add_argument("--max-tokens", type=within(int, 0), default=200,
                        help="tokens of an answer (200); more for a model that thinks first")
    parser.add_argument("--workers", type=within(int, 0), default=8, help="requests at once (8)")
    parser.add_argument("--attempts", type=within(int, 0), default=5,
                        help="how often a text is asked for, until an answer keeps the rules (5)")
    parser.add_argument("--timeout", type=within(float, 0), help="seconds that the server may take for a text (60)")
    parser.add_argument("--cache", type=Path, help="file of accepted answers; without it OUT with .answers.jsonl")
    options = parser.parse_args()
    options.kinds = list(dict.fromkeys(options.kinds))
    options.cache = options.cache or options.out.with_suffix(".answers.jsonl")
    if options.out.suffix.lower() not in (".yaml", ".yml"):
        parser.error(f"--out is written in YAML, so its name must end in .yaml, got {options.out}")
    if options.out.resolve() == options.cache.resolve():
        parser.error(f"--out and --cache are one file, {options.out}")
    if options.local and (options.base_url or options.timeout):
        parser.error("--base-url and --timeout are for a server, --local asks none; give one or the other")
    if options.device and not options.local:
        parser.error("--device is for a model on this machine; add --local")
    if options.base_url and not options.base_url.startswith(("http://", "https://")):
        parser.error(f"--base-url must begin with http:// or https://, got {options.base_url}")
    return options


def refuse_to_lose(out: Path, cache: Cache) -> None:
    """Raise ValueError if what is in an existing bank is not what this tool has put there."""
    if not out.exists():
        return
    way_out = "give another --out, or remove the file"
    try:
        bank = read_bank(out)
    except ValueError as error:
        raise ValueError(f"{out} is there and is no bank ({str(error).splitlines()[0]}); {way_out}") from error
    if bank.digest in cache.banks:
        return
    kept = set(cache.texts.values())
    new = [text for entry in bank.entries.values() for texts in entry.values() for text in texts
           if text.text not in kept]
    where = f"{len(new)} new, the first in line {new[0].line}: {new[0].text!r}" if new else "some are gone or moved"
    raise ValueError(f"{out} has other texts than were written there by {cache.path}, so somebody may have corrected "
                     f"it by hand ({where}); {way_out}")


def write(options: argparse.Namespace) -> int:
    classes = read_lines(options.classes, "classes")
    sampling = Sampling(options.model, options.temperature, options.top_p, options.max_tokens)
    with closing(Cache(options.cache, sampling)) as cache:
        refuse_to_lose(options.out, cache)
        writer = (local_writer(sampling, options.device) if options.local
                  else openai_writer(sampling, options.base_url, options.timeout or 60))
        bank, report = generate(classes, writer, cache, count_tokens, options.kinds, options.per_kind, options.workers,
                                options.attempts)
        refuse_to_lose(options.out, cache)  # again: hours may have passed
        cache.add_bank(read_bank(bank).digest, options.out.name)
        write_bank(bank, options.out)
    print(report)
    print(f"{report.cached + report.written} texts of {len(classes)} classes are in {options.out}")
    return 1 if report.failed else 0


def main() -> int:
    options = parse_arguments()
    try:
        return write(options)
    except ModuleNotFoundError as error:
        if error.name not in ("openai", "transformers"):
            raise
        print(f"{error.name} is not installed: pip install claver-mm[generate]", file=sys.stderr)
    except CannotGoOn as error:
        print(f"{one_line(error)}; texts so far are in {options.cache}, the same command goes on", file=sys.stderr)
    except (ValueError, OSError) as error:
        print(one_line(error), file=sys.stderr)
    except KeyboardInterrupt:
        print(f"stopped; texts so far are in {options.cache}, the same command goes on", file=sys.stderr)
        return 130
    return 2


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # requests that are still under way would hold the interpreter until their time-out
