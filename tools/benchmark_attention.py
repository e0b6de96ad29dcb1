#!/usr/bin/env python
"""Time and memory of Kronecker mask attention against the published path and unmasked attention, as ratios of one run.

published: scaled_dot_product_attention under a dense float ``-inf`` mask of ``(T*L)^2``, the core call of the
``nn.MultiheadAttention`` that the authors' code uses. joint: the same call without a mask. floor: the time of joint
times the share of pairs that the pattern allows. All get the same ``q, k, v``, views of one packed projection.

Runs of all forms take turns; a ratio is the median of the ratios of single turns. Extra memory is what a call needs
beyond its inputs, masks included: on a CPU the peak resident size of a process of its own, on CUDA the allocator's.
"""
from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from claver_mm.attention import choose_backend, kronecker_attention, may_see  # noqa: E402

COLOURS = {"published": "#000000", "joint": "#E69F00", "kmt": "#0072B2", "kmct": "#D55E00"}  # Okabe and Ito
MARKERS = {"published": "s", "joint": "^", "kmt": "o", "kmct": "D"}
TURN_SECONDS = 0.05


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--frames", nargs="+", type=int, default=[2, 4, 8, 16, 32], help="T")
    parser.add_argument("--tokens", nargs="+", type=int, default=[197], help="L, tokens of a frame")
    parser.add_argument("--patterns", nargs="+", default=["kmt", "kmct"], choices=["kmt", "kmct"])
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=9, help="turns of each form")
    parser.add_argument("--no-memory", action="store_true", help="times only")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmark_attention"))
    return parser.parse_args()


def make_inputs(case: dict) -> tuple[list[Tensor], Tensor]:
    """``q, k, v``, each ``(B, H, S, C)``, as a packed projection yields them, and a gradient of the output."""
    B, S, H, C = case["batch"], case["T"] * case["L"], case["heads"], case["head_dim"]
    like = dict(dtype=getattr(torch, case["dtype"]), device=case["device"])
    torch.manual_seed(0)
    qkv = torch.randn(B, S, 3, H, C, **like).permute(2, 0, 3, 1, 4)
    return [x.requires_grad_() for x in qkv.unbind(0)], torch.randn(B, S, H, C, **like).transpose(1, 2)


def published_mask(pattern: str, case: dict) -> Tensor:
    """Float mask ``(S, S)``; filled in strips, so that nothing larger than itself is ever allocated."""
    T, L = case["T"], case["L"]
    mask = torch.zeros(T * L, T * L, dtype=getattr(torch, case["dtype"]), device=case["device"])
    tokens = torch.arange(T * L, device=case["device"])
    for rows, strip in zip(tokens.split(L), mask.split(L)):
        strip.masked_fill_(~may_see(pattern, rows, tokens, L), float("-inf"))
    return mask


def make_form(name: str, case: dict) -> Callable[..., Tensor]:
    """``joint``, ``published kmt``, ``kmt`` and so on as a function of ``q, k, v``."""
    if name == "joint":
        return sdpa
    if name.startswith("published"):
        mask = published_mask(name.split()[1], case)
        return lambda q, k, v: sdpa(q, k, v, attn_mask=mask)
    return lambda q, k, v: kronecker_attention(q, k, v, name, case["T"], backend=case["backend"])


def run_once(form: Callable, inputs: list[Tensor], grad: Tensor, backward: bool) -> None:
    with torch.set_grad_enabled(backward):
        out = form(*inputs)
        if backward:
            torch.autograd.grad(out, inputs, grad)
    if out.device.type == "cuda":
        torch.cuda.synchronize()


def allowed_share(pattern: str, T: int, L: int) -> float:
    """Allowed pairs over all pairs."""
    S = T * L
    return (S + (S - L) * S * (1 if pattern == "kmt" else 0.5)) / S ** 2


def matmul_peak(dtype: str, device: str) -> float:
    """FLOP/s of the best of a few matrix products of ``n^3``, ``n`` 2048 on a CPU and 8192 on a GPU."""
    n = 2048 if device == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device).to(getattr(torch, dtype)) for _ in range(2))
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        a @ b
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * n ** 3 / min(seconds)


def time_forms(case: dict, patterns: list[str], repeats: int) -> dict[str, list[float]]:
    """Seconds of a call in each turn, by ``form`` and ``form +backward``; the forms take turns of ``TURN_SECONDS`` at
    least, so that what one leaves in the caches is not what the next is measured by."""
    inputs, grad = make_inputs(case)
    forms = {name: make_form(name, case)
             for name in ["joint", *patterns, *(f"published {pattern}" for pattern in patterns)]}
    seconds = {name + suffix: [] for suffix in ("", " +backward") for name in forms}
    calls = dict.fromkeys(seconds, 1)
    for turn in range(repeats + 2):  # one to warm up, one to see how long a call takes
        for key, turns in seconds.items():
            name, _, backward = key.partition(" +")
            start = time.perf_counter()
            for _ in range(calls[key]):
                run_once(forms[name], inputs, grad, bool(backward))
            taken = time.perf_counter() - start
            if turn == 1:
                calls[key] = max(1, round(TURN_SECONDS / taken))
            elif turn > 1:
                turns.append(taken / calls[key])
    return seconds


def extra_memory(case: dict, name: str, backward: bool) -> float:
    """MiB that a call needs at its peak beyond inputs and gradient of the output; runs in a process of its own."""
    torch.set_num_threads(case["threads"])
    small = dict(case, T=2, L=8)
    run_once(make_form(name, small), *make_inputs(small), backward)  # libraries, kernels, thread pools
    inputs, grad = make_inputs(case)
    if case["device"] == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run_once(make_form(name, case), inputs, grad, backward)
        return (torch.cuda.max_memory_allocated() - before) / 2 ** 20
    before = resident("VmRSS")
    form = make_form(name, case)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    run_once(form, inputs, grad, backward)
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """A line of ``/proc/self/status`` in MiB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def busy_elsewhere() -> float:
    """Core seconds that other processes have used since the machine started; 0 where Linux does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
    own = os.times()
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - own.user - own.system


def measure(case: dict, options: argparse.Namespace, peak: float) -> list[dict]:
    """One row for each pattern."""
    start, busy = time.perf_counter(), busy_elsewhere()
    seconds = time_forms(case, options.patterns, options.repeats)
    others = (busy_elsewhere() - busy) / (time.perf_counter() - start)
    if others > 0.1:
        print(f"warning: other processes used {others:.1f} cores meanwhile; many threads in many small calls suffer "
              "most from that, so measure again", flush=True)

    def ratio(a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(seconds[a], seconds[b]))

    names = ["joint", *options.patterns, f"published {options.patterns[0]}"]
    memory = {}
    if not options.no_memory:
        for backward in (False, True):
            for name in names:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    memory[name, backward] = pool.apply(extra_memory, (case, name, backward))
    rows = []
    for pattern in options.patterns:
        share = allowed_share(pattern, case["T"], case["L"])
        row = dict(case, pattern=pattern, cores_used_by_others=others)
        for suffix, backward, products in (("", False, 2), (" +backward", True, 7)):
            inputs, _ = make_inputs(case)
            with torch.set_grad_enabled(backward):
                choice = choose_backend(*inputs, pattern, case["T"], backend=case["backend"])
            flops = 2 * products * case["batch"] * case["heads"] * case["head_dim"] * (case["T"] * case["L"]) ** 2
            typical = {name: statistics.median(seconds[name + suffix]) for name in
                       (pattern, "joint", f"published {pattern}")}
            row["forward+backward" if backward else "forward"] = dict(
                backend=choice.name, reason=choice.reason, ms=1e3 * typical[pattern], joint_ms=1e3 * typical["joint"],
                published_ms=1e3 * typical[f"published {pattern}"],
                speedup=ratio(f"published {pattern}{suffix}", pattern + suffix),
                over_floor=ratio(pattern + suffix, "joint" + suffix) / share,
                share_of_peak=flops * share / typical[pattern] / peak, extra_mib=memory.get((pattern, backward)),
                published_extra_mib=memory.get((names[-1], backward)), joint_extra_mib=memory.get(("joint", backward)))
        rows.append(row)
    return rows


def table(rows: list[dict]) -> str:
    lines = ["| dtype | L | T | pattern | pass | backend | ms | published ms | times published | over floor "
             "| share of peak | extra MiB | published, joint MiB |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        for name in ("forward", "forward+backward"):
            r = row[name]
            memory = ("-", "-") if r["extra_mib"] is None else (
                f"{r['extra_mib']:.0f}", f"{r['published_extra_mib']:.0f}, {r['joint_extra_mib']:.0f}")
            lines.append("| " + " | ".join([
                row["dtype"], str(row["L"]), str(row["T"]), row["pattern"], name, r["backend"], f"{r['ms']:.2f}",
                f"{r['published_ms']:.2f}", f"{r['speedup']:.2f}", f"{r['over_floor']:.2f}",
                f"{100 * r['share_of_peak']:.0f} %", *memory]) + " |")
    return "\n".join(lines)


def draw(rows: list[dict], path: Path, title: str) -> None:
    """Milliseconds over ``T``, both logarithmic: a row for each dtype and L, a column for each pass."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    groups = list(dict.fromkeys((row["dtype"], row["L"]) for row in rows))
    figure, axes = plt.subplots(len(groups), 2, figsize=(9, 3.2 * len(groups) + 0.5), squeeze=False, sharex=True,
                                layout="constrained")
    for (dtype, L), line in zip(groups, axes):
        chosen = [row for row in rows if (row["dtype"], row["L"]) == (dtype, L)]
        patterns = list(dict.fromkeys(row["pattern"] for row in chosen))
        frames = sorted({row["T"] for row in chosen})
        for axis, name in zip(line, ("forward", "forward+backward")):
            by_pattern = {pattern: [row[name] for row in sorted(chosen, key=lambda row: row["T"])
                                    if row["pattern"] == pattern] for pattern in patterns}
            first = by_pattern[patterns[0]]
            lines = {"published": [r["published_ms"] for r in first], "joint": [r["joint_ms"] for r in first]}
            lines.update({pattern: [r["ms"] for r in results] for pattern, results in by_pattern.items()})
            for label, values in lines.items():
                axis.loglog(frames, values, color=COLOURS[label], marker=MARKERS[label], markersize=5,
                            linestyle="-" if label in patterns else "--",
                            label={"joint": "joint, no mask", "published": "published, dense mask"}.get(label, label))
            axis.set_xticks(frames, [str(T) for T in frames])
            axis.minorticks_off()
            axis.grid(True, which="both", alpha=0.3)
            axis.set_title(f"{name}, {dtype}, L = {L}", fontsize=10)
            axis.set_ylabel("milliseconds")
    for axis in axes[-1]:
        axis.set_xlabel("frames T")
    axes[0, 0].legend(fontsize=9)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=80)


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {options.threads} threads"
    peaks, rows = {}, []
    for dtype in options.dtypes:
        peaks[dtype] = matmul_peak(dtype, options.device)
        print(f"{where}: matrix products in {dtype} reach {peaks[dtype] / 1e9:.0f} GFLOP/s", flush=True)
        for L in options.tokens:
            for T in options.frames:
                case = dict(T=T, L=L, dtype=dtype, device=options.device, batch=options.batch, heads=options.heads,
                            head_dim=options.head_dim, threads=options.threads, backend=options.backend)
                new = measure(case, options, peaks[dtype])
                print(table(new) if not rows else table(new).split("\n", 2)[2], flush=True)
                rows += new
                record = dict(torch=torch.__version__, device=where, repeats=options.repeats, peak_flops=peaks,
                              rows=rows)
                (options.out / "attention.json").write_text(json.dumps(record, indent=1))
    (options.out / "attention.md").write_text(table(rows) + "\n")
    draw(rows, options.out / "attention.png", f"{where}, torch {torch.__version__}, B = {options.batch}, "
         f"{options.heads} heads of {options.head_dim}")
    print(f"wrote {options.out}/attention.md, attention.json and attention.png")


if __name__ == "__main__":
    main()
