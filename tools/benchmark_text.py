#!/usr/bin/env python
"""Time of the text side: plain, as CLIP encodes texts, against cut, bucketed and kept, as ratios of one run.

plain: every text 77 tokens long. ours: equal texts once, batches of texts of similar length, cut behind their longest.
A training step draws the same 5 of the texts of each class, forward and backward; the loss is the cross-entropy of a
random video against the classes. Both go through the tower in batches that are computed again in the backward pass,
since the activations of 2,000 texts do not fit a small machine. An evaluation with the features kept is measured
against encoding them for every batch of videos; the check that they are not stale is included.
"""
from __future__ import annotations

import argparse
import copy
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from claver_mm.clip import CLIPHead, tokenize
from claver_mm.language import ACTION_TEMPLATES, class_texts, encode_texts, read_bank, read_lines
from claver_mm.models import ContrastiveTextHead


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--arch", default="B/16")
    parser.add_argument("--classes", type=Path, default=ROOT / "prompts/classes/kinetics400.txt")
    parser.add_argument("--bank", type=Path, default=ROOT / "prompts/kinetics.yaml")
    parser.add_argument("--no-templates", action="store_true", help="the bank's texts alone, which are longer")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--tokens-at-once", type=int, default=7700, help="tokens of a batch of either form")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=1, help="turns of each form; one takes minutes on a CPU")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmark_text"))
    return parser.parse_args()


def keep_the_heap_small() -> None:
    """Have glibc give large blocks back at once; else small tensors between them pin gigabytes that nothing uses."""
    if sys.platform == "linux":
        mmap_threshold, one_mib = -3, 1 << 20
        ctypes.CDLL(None).mallopt(mmap_threshold, one_mib)


def seconds(function: Callable, device: str) -> float:
    start = time.perf_counter()
    function()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def text_loss(features: Tensor, classes: int) -> Tensor:
    """Cross-entropy of a fixed random video against each draw: ``(C * K, E) -> ()``."""
    features = nn.functional.normalize(features, dim=-1).unflatten(0, (classes, -1))
    video = nn.functional.normalize(torch.randn(features.shape[-1], generator=torch.Generator().manual_seed(0)), dim=0)
    logits = 100 * torch.einsum("cke,e->kc", features, video.to(features))
    return nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def plain(tower: nn.Module, tokens: Tensor, at_once: int) -> Tensor:
    """Features of texts of 77 tokens, ``at_once`` tokens in a call."""
    parts = tokens.split(at_once // tokens.shape[1])
    return torch.cat([checkpoint(tower, part, use_reentrant=False) for part in parts])


def ours(tower: nn.Module, tokens: Tensor, at_once: int) -> Tensor:
    return encode_texts(tower, tokens, at_once, checkpointing=True)


def timed_step(encode: Callable, tower: nn.Module, tokens: Tensor, classes: int, at_once: int) -> tuple[float, float]:
    """Seconds and loss of a training step; the gradients stay in the tower."""
    tower.zero_grad()
    start = time.perf_counter()
    loss = text_loss(encode(tower, tokens, at_once), classes)
    loss.backward()
    value = loss.item()  # waits for a GPU
    return time.perf_counter() - start, value


def largest_difference(a: nn.Module, b: nn.Module) -> float:
    """Largest difference of gradients, relative to the largest gradient of the same weight."""
    return max(((p.grad - q.grad).abs().max() / q.grad.abs().max()).item()
               for p, q in zip(a.parameters(), b.parameters()))


def main() -> None:
    options = parse_arguments()
    keep_the_heap_small()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    names = read_lines(options.classes, "classes")
    templates = () if options.no_templates else ACTION_TEMPLATES
    texts = [own + more for own, more in zip(class_texts(names, templates), read_bank(options.bank).texts(names))]
    C, M = len(texts), len(texts[0])
    tower = CLIPHead(options.arch).text.to(options.device)
    twin = copy.deepcopy(tower)
    tokens = tokenize([text for entry in texts for text in entry], options.arch).unflatten(0, (C, M))
    print(f"{C} classes of {M} texts, {(tokens.argmax(-1) + 1).double().mean():.1f} tokens in the mean", flush=True)
    turns = []
    timed_step(plain, tower, tokens[:2, 0].to(options.device), 2, options.tokens_at_once)  # warms up
    for turn in range(options.repeats):
        draw = torch.randperm(M, generator=torch.Generator().manual_seed(turn))[:options.draws]
        drawn = tokens[:, draw].flatten(0, 1)
        plain_seconds, plain_loss = timed_step(plain, tower, drawn.to(options.device), C, options.tokens_at_once)
        our_seconds, our_loss = timed_step(ours, twin, drawn, C, options.tokens_at_once)
        turns.append((plain_seconds, our_seconds))
        print(f"turn {turn}: {plain_seconds / our_seconds:.2f} times, loss {plain_loss:.6f} and {our_loss:.6f}, "
              f"gradients differ by {largest_difference(twin, tower):.1e} of their largest", flush=True)
    step_ratio = statistics.median(a / b for a, b in turns)

    head = ContrastiveTextHead(options.arch, classes=names, bank=str(options.bank), templates=templates)
    head.to(options.device).eval()
    flat = tokens.flatten(0, 1).to(options.device)
    with torch.no_grad():
        parts = flat.split(options.tokens_at_once // flat.shape[1])
        naive = seconds(lambda: [head.clip.text(part) for part in parts], options.device)
        first = seconds(head.text_features, options.device)
        kept = statistics.median(seconds(head.text_features, options.device) for _ in range(5))
    rows = {"training step, forward and backward, plain over ours": step_ratio,
            "evaluation, all texts anew: plain over ours": naive / first,
            "evaluation, each further batch of videos: plain over kept": naive / kept}
    table = "\n".join(["| what | times |", "|---|---|",
                       *(f"| {what} | {ratio:.2f} |" for what, ratio in rows.items())])
    print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {options.threads} threads"
    record = dict(torch=torch.__version__, device=where, arch=options.arch, step_seconds=turns, naive=naive,
                  first=first, kept=kept, ratios=rows)
    (options.out / "text.json").write_text(json.dumps(record, indent=1))
    (options.out / "text.md").write_text(table + "\n")


if __name__ == "__main__":
    main()
