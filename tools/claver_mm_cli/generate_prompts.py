"""Have a language model write the prompt bank of your classes, over any server of OpenAI's protocol or on this machine.

    claver generate-prompts --classes my_classes.txt --out my_bank.yaml \\
        --base-url http://127.0.0.1:8000/v1 --model Qwen/Qwen2.5-32B-Instruct
    claver generate-prompts --classes my_classes.txt --out my_bank.yaml --local --model my_models/llama

The key of a server that wants one is read from OPENAI_API_KEY. Every accepted text goes to the cache at once: after a
stop, of whatever kind, the same command goes on, and no text is asked for twice. The exit status is 0 if the bank is
whole, 1 if texts are missing, 2 if the run cannot begin or go on, 130 after Ctrl-C.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from .options import KINDS, within

NEEDS_HOST = False
LEAVES_THREADS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--timeout", type=within(float, 0), help="seconds that the server may take for a whole "
                        "answer (60)")
    parser.add_argument("--cache", type=Path, help="file of accepted answers; without it OUT with .answers.jsonl")


def run(args: argparse.Namespace) -> int:
    cache = args.cache or args.out.with_suffix(".answers.jsonl")
    _check(args, cache)
    from claver_mm.messages import shown

    def one_line(error: object) -> str:
        return shown(" ".join(str(error)[:2000].split()), 500)

    go_on = f"texts so far are in {cache}, the same command goes on"
    try:
        from claver_mm.clip import count_tokens
        from claver_mm.language import read_lines
        from claver_mm.language.generated import generate_bank
        from claver_mm.language.server import CannotGoOn
        from claver_mm.language.writers import Sampling, local_writer, openai_writer

        classes = read_lines(args.classes, "classes")
        sampling = Sampling(args.model, args.temperature, args.top_p, args.max_tokens)
        report = generate_bank(
            classes, args.out, cache, sampling,
            lambda: (local_writer(sampling, args.device) if args.local
                     else openai_writer(sampling, args.base_url, args.timeout or 60)),
            count_tokens, list(dict.fromkeys(args.kinds)), args.per_kind, args.workers, args.attempts)
    except ModuleNotFoundError as error:
        if error.name not in ("openai", "transformers"):
            raise
        raise ImportError(f"{error.name} is not installed: pip install claver-mm[generate]") from error
    except CannotGoOn as error:
        raise RuntimeError(f"{one_line(error)}; {go_on}") from error
    except (ValueError, OSError) as error:
        raise ValueError(one_line(error)) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {go_on}") from None
    print(report)
    print(f"{report.cached + report.written} texts of {len(classes)} classes are in {args.out}")
    return 1 if report.failed else 0


def _check(args: argparse.Namespace, cache: Path) -> None:
    if args.out.suffix.lower() not in (".yaml", ".yml"):
        raise ValueError(f"--out is written in YAML, so its name must end in .yaml, got {args.out}")
    if args.out.resolve() == cache.resolve():
        raise ValueError(f"--out and --cache are one file, {args.out}")
    if args.local and (args.base_url or args.timeout):
        raise ValueError("--base-url and --timeout are for a server, --local asks none; give one or the other")
    if args.device and not args.local:
        raise ValueError("--device is for a model on this machine; add --local")
    if args.base_url and not args.base_url.startswith(("http://", "https://")):
        raise ValueError(f"--base-url must begin with http:// or https://, got {args.base_url}")
