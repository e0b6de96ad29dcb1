#!/usr/bin/env python
"""Time of a tower cut in two against the tower whole: our frame features over open_clip's own image embeddings.

Both see the same frames, turn by turn in one process, with the same random weights, without gradients; a ratio is the
median over turns of ours over theirs. ``floor`` is that of the whole tower against itself, which is what the machine
scatters by.
"""
from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import open_clip
from torch.nn.functional import normalize

from claver_mm.towers.architectures import NO_TEXTS, model_config, tower_of
from claver_mm.towers.head import CLIPHead
from claver_mm.towers.image import build_image_trunk, image_tokens
from claver_mm.weights import head_weights, image_trunk_weights, load_strict

ARCHS = ("ViT-B-16", "coca_ViT-B-32", "RN50", "ViT-B-16-SigLIP2", "PE-Core-B-16", "EVA02-B-16", "ViTamin-S",
         "MobileCLIP2-S2", "MobileCLIP2-B", "convnext_base", "swin_base_patch4_window7_224",
         "vit_relpos_medium_patch16_cls_224")
"""One of each kind."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archs", nargs="+", default=ARCHS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=9, help="turns")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmark_towers"))
    return parser.parse_args()


def seconds(function: Callable, device: str) -> float:
    """Of the process on a CPU, whose time others do not take; else by the clock."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    function()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def measure(arch: str, options: argparse.Namespace) -> dict:
    """Ratio, its floor, and the largest difference of the features."""
    config = dict(model_config(arch), text_cfg=NO_TEXTS)
    whole = open_clip.CustomTextCLIP(**config).eval()
    trunk, head = build_image_trunk(config).eval(), CLIPHead(config).eval()
    load_strict(trunk, image_trunk_weights(whole.state_dict()), "the whole tower")
    load_strict(head, head_weights(whole.state_dict()), "the whole tower")
    for part in (whole, trunk, head):
        part.to(options.device)
    frames = torch.randn(options.frames, 3, *tower_of(arch).image_size, device=options.device)

    def theirs() -> torch.Tensor:
        return normalize(whole.encode_image(frames), dim=-1)

    def ours() -> torch.Tensor:
        return head.frame_features(image_tokens(trunk, frames).unsqueeze(1)).squeeze(1)

    with torch.inference_mode():
        difference = (ours() - theirs()).abs().max().item()
        turns = [[seconds(each, options.device) for each in (theirs, ours, theirs)] for _ in range(options.repeats)]
    return dict(ratio=statistics.median(2 * own / (first + last) for first, own, last in turns),
                floor=statistics.median(last / first for first, _, last in turns), difference=difference)


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    found: dict[str, dict] = {}
    lines = ["| tower | kind | pooling | ours over whole | floor | largest difference |", "|---|---|---|---|---|---|"]
    print(*lines, sep="\n", flush=True)
    for arch in options.archs:
        found[arch], tower = measure(arch, options), tower_of(arch)
        lines.append(f"| {arch} | {tower.kind} | {tower.pooling.replace('_', ' ')} | {found[arch]['ratio']:.3f} | "
                     f"{found[arch]['floor']:.3f} | {found[arch]['difference']:.0e} |")
        print(lines[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {options.threads} threads"
    (options.out / "towers.json").write_text(json.dumps(dict(torch=torch.__version__, device=where, found=found),
                                                        indent=1))
    (options.out / "towers.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
