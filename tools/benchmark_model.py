#!/usr/bin/env python
"""Time and memory of CLAVER's video side: temporal transformer, whole clip, one more frame of a stream, as ratios.

published: the same blocks with ``nn.MultiheadAttention(need_weights=False)`` under a dense float ``-inf`` mask of
``(T*L)^2``, all tokens through every block, as in the authors' code. joint: the same without a mask, which is the
practical floor. ours: ``KroneckerTransformer``; with class tokens alone in the last block unless it says otherwise.

Runs of all forms take turns; a ratio is the median of the ratios of single turns. Extra memory is what a call needs
beyond inputs and weights (gradients of weights included, which are the same for all), in a process of its own.
"""
import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from benchmark_attention import COLOURS, allowed_share, matmul_peak, published_mask, resident
from torch import Tensor, nn

from claver_mm.clip import (
    CLIPHead,
    activation,
    build_image_trunk,
    vision_depth,
    vision_heads,
    vision_width,
)
from claver_mm.model import CLAVER
from claver_mm.streaming import VideoStream
from claver_mm.temporal import KroneckerTransformer

OURS = {"ours": True, "ours, all tokens": False}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="B/16", help="a name of the paper or of open_clip")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="bfloat16 by autocast")
    parser.add_argument("--frames", nargs="+", type=int, default=[4, 8, 16], help="T")
    parser.add_argument("--patterns", nargs="+", default=["kmt", "kmct"], choices=["kmt", "kmct"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each form")
    parser.add_argument("--no-memory", action="store_true", help="times only")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmark_model"))
    return parser.parse_args()


class DenseBlocks(nn.Module):
    """The blocks of the published path; ``mask`` None makes them joint attention."""

    def __init__(self, ours: KroneckerTransformer, mask: Tensor | None) -> None:
        super().__init__()
        self.blocks, self.mask = ours.resblocks, mask
        width, heads = ours.temporal_embedding.shape[-1], ours.resblocks[0].attn.heads
        self.attentions = nn.ModuleList(nn.MultiheadAttention(width, heads, batch_first=True) for _ in self.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, L, D) -> (B, T, L, D)``."""
        T, x = x.shape[1], x.flatten(1, 2)
        for block, attention in zip(self.blocks, self.attentions):
            y = block.ln_1(x)
            x = x + attention(y, y, y, need_weights=False, attn_mask=self.mask)[0]
            x = x + block.mlp(block.ln_2(x))
        return x.unflatten(1, (T, -1))


def make_temporal(name: str, case: dict) -> nn.Module:
    """``joint``, ``published``, ``ours`` or ``ours, all tokens`` at a case's pattern and size."""
    torch.manual_seed(0)
    arch = case["arch"]
    ours = KroneckerTransformer(vision_width(arch), vision_heads(arch), round(vision_depth(arch) / 3), case["T"],
                                case["pattern"], act_layer=activation(arch), class_tokens_only=OURS.get(name, False))
    if name in OURS:
        return ours.to(case["device"])
    dense = dict(case, dtype="float32" if case["device"] == "cpu" else case["dtype"])
    mask = published_mask(case["pattern"], dense) if name == "published" else None
    return DenseBlocks(ours, mask).to(case["device"])


def run(module: Callable, inputs: Tensor, case: dict, backward: bool) -> None:
    with torch.set_grad_enabled(backward), torch.autocast(case["device"], torch.bfloat16, case["dtype"] == "bfloat16"):
        out = module(inputs)
        if backward:
            out[:, :, :1].float().square().sum().backward()
    if case["device"] == "cuda":
        torch.cuda.synchronize()


def turns(forms: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each form in each turn; the first turn warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            if turn > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], a: str, b: str) -> float:
    return statistics.median(x / y for x, y in zip(seconds[a], seconds[b]))


def multiply_accumulates(case: dict, class_tokens_only: bool) -> float:
    """Of the temporal transformer, forward, pairs that the pattern blocks not counted."""
    T, L, D = case["T"], case["L"], vision_width(case["arch"])
    S, depth = T * L, round(vision_depth(case["arch"]) / 3)
    share = allowed_share(case["pattern"], T, L)
    block = 12 * S * D * D + 2 * S * S * share * D
    last = 2 * S * D * D + 10 * T * D * D + 2 * T * S * share * D if class_tokens_only else block
    return case["batch"] * ((depth - 1) * block + last)


def extra_memory(case: dict, name: str, backward: bool) -> float:
    """MiB at the peak beyond weights and inputs; to be run in a process of its own."""
    torch.set_num_threads(case["threads"])
    module, x = make_temporal(name, case), features(case)
    if case["device"] == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(module, x, case, backward)
        return (torch.cuda.max_memory_allocated() - before) / 2 ** 20
    mask, tiny = getattr(module, "mask", None), x[:, :2, :2].contiguous()
    module.mask = None
    run(module, tiny, case, backward)  # libraries, thread pools, gradients of weights
    module.mask = mask
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    run(module, x, case, backward)
    return resident("VmHWM") - before + (0 if mask is None else mask.numel() * mask.element_size() / 2 ** 20)


def features(case: dict) -> Tensor:
    """What the image encoder gives, ``(B, T, L, D)``."""
    return torch.randn(case["batch"], case["T"], case["L"], vision_width(case["arch"]), device=case["device"])


def measure_temporal(case: dict, repeats: int, peak: float, memory: bool) -> dict:
    """Temporal transformer alone, forward and with backward."""
    x, result = features(case), {}
    modules = {name: make_temporal(name, case) for name in ("joint", "published", *OURS)}
    for label, backward in (("forward", False), ("forward+backward", True)):
        forms = {name: lambda module=module, backward=backward: run(module, x, case, backward)
                 for name, module in modules.items()}
        seconds = turns(forms, repeats)
        work = 2 * multiply_accumulates(case, True) * (3 if backward else 1)
        result[label] = dict(
            ms={name: 1e3 * statistics.median(values) for name, values in seconds.items()},
            times_published=ratio(seconds, "published", "ours"),
            times_published_all_tokens=ratio(seconds, "published", "ours, all tokens"),
            over_joint=ratio(seconds, "ours", "joint"), share_of_peak=work / statistics.median(seconds["ours"]) / peak)
        if memory:
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                result[label]["extra_mib"] = {name: pool.apply(extra_memory, (case, name, backward))
                                              for name in modules}
    return result


def measure_stream(case: dict, trunk: nn.Module, head: CLIPHead, repeats: int) -> dict:
    """The last frame of a clip pushed into a stream, against the whole clip; image encoder and projection included."""
    temporal = make_temporal("ours", case).eval()

    model = CLAVER(trunk, temporal, head, case["arch"]).eval()
    side = trunk.image_size[0]
    clip = torch.randn(case["batch"], 3, case["T"], side, side, device=case["device"])
    streams = {beyond: VideoStream(model, beyond) for beyond in ("restart", "window")
               if beyond == "window" or case["pattern"] == "kmct"}
    for stream in streams.values():
        for t in range(case["T"] - 1):
            stream.push(clip[:, :, t])

    def push(beyond: str) -> None:
        stream = streams[beyond]
        stream.push(clip[:, :, -1])
        if beyond == "restart":
            stream.temporal.length -= 1  # the next turn adds the same frame again

    forms = {"clip": lambda: run(lambda x: model.frame_features(x).unsqueeze(2), clip, case, False)}
    for beyond in streams:
        forms[beyond] = lambda beyond=beyond: run(lambda x: push(beyond), clip, case, False)
    seconds = turns(forms, repeats)
    return dict(ms={name: 1e3 * statistics.median(values) for name, values in seconds.items()},
                clip_over_frame={name: ratio(seconds, "clip", name) for name in streams})


def table(rows: list[dict]) -> str:
    lines = ["| T | pattern | pass | ours ms | times published | (all tokens) | over joint | share of peak "
             "| extra MiB ours | published | joint |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        for label in ("forward", "forward+backward"):
            r = row["temporal"][label]
            memory = [f"{r['extra_mib'][name]:.0f}" if "extra_mib" in r else "-"
                      for name in ("ours", "published", "joint")]
            lines.append("| " + " | ".join([
                str(row["T"]), row["pattern"], label, f"{r['ms']['ours']:.1f}", f"{r['times_published']:.2f}",
                f"{r['times_published_all_tokens']:.2f}", f"{r['over_joint']:.2f}", f"{100 * r['share_of_peak']:.0f} %",
                *memory]) + " |")
    lines += ["", "| T | pattern | whole clip ms | one more frame, stream | clip over frame | one more frame, window "
              "| clip over frame |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        stream = row["stream"]
        cells = [f"{stream['ms'][name]:.1f} ms | {stream['clip_over_frame'][name]:.1f}" if name in stream["ms"]
                 else "- | -" for name in ("restart", "window")]
        lines.append(f"| {row['T']} | {row['pattern']} | {stream['ms']['clip']:.1f} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def draw(rows: list[dict], path: Path, title: str) -> None:
    """Milliseconds over ``T``, both logarithmic: temporal transformer, and a frame of a stream against its clip."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
    frames = sorted({row["T"] for row in rows})
    styles = {"ours": ("o", "-"), "published": ("s", "--"), "joint": ("^", ":")}
    for pattern in dict.fromkeys(row["pattern"] for row in rows):
        chosen = sorted((row for row in rows if row["pattern"] == pattern), key=lambda row: row["T"])
        for name, (marker, line) in styles.items():
            if name != "joint" or pattern == rows[0]["pattern"]:
                colour = COLOURS["joint"] if name == "joint" else COLOURS[pattern]
                axes[0].loglog(frames, [row["temporal"]["forward+backward"]["ms"][name] for row in chosen],
                               marker + line, color=colour, label=name if name == "joint" else f"{pattern}, {name}")
        for name, marker, line in (("clip", "s", "--"), ("restart", "o", "-"), ("window", "D", ":")):
            if name in chosen[0]["stream"]["ms"]:
                label = {"clip": "whole clip", "restart": "one frame, stream", "window": "one frame, window"}[name]
                axes[1].loglog(frames, [row["stream"]["ms"][name] for row in chosen], marker + line,
                               color=COLOURS[pattern], label=f"{pattern}, {label}")
    for axis, name in zip(axes, ("temporal transformer, forward+backward", "image encoder and temporal transformer")):
        axis.set(xlabel="frames T", ylabel="milliseconds", title=name)
        axis.set_xticks(frames, [str(T) for T in frames])
        axis.minorticks_off()
        axis.grid(True, alpha=0.3)
        axis.legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=80)


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {options.threads} threads"
    peak = matmul_peak(options.dtype, options.device)
    trunk, head = build_image_trunk(options.arch).eval(), CLIPHead(options.arch).eval()
    trunk, head = trunk.to(options.device), head.to(options.device)
    rows = []
    for T in options.frames:
        for pattern in options.patterns:
            case = dict(arch=options.arch, T=T, L=len(trunk.positional_embedding), pattern=pattern, dtype=options.dtype,
                        device=options.device, batch=options.batch, threads=options.threads)
            print(f"{where}, {options.arch}, {options.dtype}: T = {T}, {pattern}", flush=True)
            rows.append(dict(case, temporal=measure_temporal(case, options.repeats, peak, not options.no_memory),
                             stream=measure_stream(case, trunk, head, options.repeats)))
            record = dict(torch=torch.__version__, device=where, repeats=options.repeats, rows=rows, peak_flops=peak)
            (options.out / "model.json").write_text(json.dumps(record, indent=1))
    (options.out / "model.md").write_text(table(rows) + "\n")
    draw(rows, options.out / "model.png", f"{options.arch}, {options.dtype}, B = {options.batch}, {where}, "
         f"torch {torch.__version__}")
    print(f"\n{table(rows)}\n\nwrote {options.out}/model.md, model.json and model.png")


if __name__ == "__main__":
    main()
