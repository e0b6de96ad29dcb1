"""What a config costs, as plain numbers and as tables: parameters, multiply-accumulates, activations, latency.

Counts need neither weights nor a GPU: the model runs on tensors without data (``costs.py``). docs/costs.md says what
each figure is.
"""
from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmaction.models.recognizers import Recognizer2D, Recognizer3D
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from .costs import VideoSide, build_without_weights, parameters, text_work, video_work
from .engine.configs import read_config
from .memory import activations
from .protocols.views import LAYOUTS, View, innermost, pipeline_of, read_view, with_frames

KINDS = {"convolutions": "convolutions", "mlps": "MLPs", "maps": "attention, linear maps",
         "products": "attention, products", "other": "other"}


def read_for_costs(path: str | Path, frames: int | None = None, changes: Mapping[str, object] | None = None) -> Config:
    """A config with ``frames`` put into neck and pipelines.

    Raises:
        FileNotFoundError, ValueError: As ``read_config``; or a config that lacks a model or a loader.
    """
    cfg = read_config(path, changes)
    lacking = [key for key in ("model", "test_dataloader") if key not in cfg]
    if lacking:
        raise ValueError(f"{path}: no whole config: it lacks {' and '.join(lacking)}; name a leaf")
    if frames is not None:
        if cfg.model.get("neck"):
            cfg.model.neck.num_frames = frames
        for split in ("train", "test") if "train_dataloader" in cfg else ("test",):
            dataset: Any = innermost(cfg[f"{split}_dataloader"].dataset)
            dataset.pipeline = with_frames(dataset.pipeline, frames)
    return cfg


def view_of(cfg: Config, split: str) -> View:
    """The views of a split, once their size and layout are known to be those that costs are counted for.

    Raises:
        ValueError: They are not.
    """
    view = read_view(pipeline_of(cfg[f"{split}_dataloader"].dataset))
    if view.layout not in LAYOUTS:
        raise ValueError(f"the pipeline gives the layout {view.layout!r}; costs are counted for RGB frames in "
                         f"{' or '.join(LAYOUTS)}")
    if view.side is None:
        raise ValueError("no step of the pipeline crops or resizes to a fixed size, so that the size is not known")
    return view


def shape_of(view: View, batch: int) -> tuple[int, ...]:
    """Of the inputs for one view of each of ``batch`` videos, as the recogniser takes them."""
    assert view.side is not None  # as view_of has seen
    return (batch, 1, 3, view.frames, *view.side) if view.layout == "NCTHW" else (batch, view.frames, 3, *view.side)


def report(cfg: Config) -> dict:
    """All counts of a config, as plain numbers: whole multiply-accumulates, and bytes; None in place of a training
    step's where it has none, as a tower that is tested as it is.

    Raises:
        ValueError: A recogniser, or a pipeline, whose costs are not counted.
    """
    model = build_without_weights(lambda: _build(cfg))
    if not isinstance(model, Recognizer2D | Recognizer3D) or not model.with_cls_head:
        raise ValueError(f"{type(model).__name__} is no Recognizer2D or Recognizer3D with a head; costs are counted "
                         "for these alone")
    view, training = view_of(cfg, "test"), view_of(cfg, "train") if "train_dataloader" in cfg else None
    inputs = torch.empty(shape_of(view, 1), device="meta")
    executed = video_work(model, inputs)
    whole = video_work(model, inputs, all_tokens=True)
    macs = dict(executed=_total(executed), whole=_total(whole))
    head = model.cls_head
    text, checkpointing = None, False
    if VideoSide(model).reads_texts:
        checkpointing = head.encoding["checkpointing"]
        text = text_work(head.clip.text, head.text_tokens, head.num_draws, head.encoding["tokens_at_once"],
                         head.frozen_text)
        macs["every_pair_and_a_text"] = _total(video_work(model, inputs, True, True)) + text.one_uncut.total
        macs["published_convention"] = sum(work.convolutions + work.mlps for work in whole.values()) \
            + text.one_uncut.mlps
    batch, memory = None, {}
    if training is not None:
        batch = cfg.train_dataloader.batch_size
        for dtype in ("float32", "bfloat16"):
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
                kept = activations(model, shape_of(training, batch), text.batches if text else (), checkpointing)
            memory[dtype] = dict(asdict(kept), total=kept.total)
    return dict(frames=view.frames, side=list(inputs.shape[-2:]), views=[view.clips, view.crops],
                parameters=parameters(model), trainable=parameters(model, trainable=True), macs=macs,
                macs_by_part={part: asdict(work) for part, work in executed.items()},
                text=text and dict(asdict(text), one_uncut=text.one_uncut.total, draws=head.num_draws,
                                   texts=None if head.text_tokens is None else list(head.text_tokens.shape[:2])),
                training_batch=batch, activation_bytes=memory or None)


def _build(cfg: Config) -> nn.Module:
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmaction")):
        return MODELS.build(cfg.model)


def _total(works: dict) -> int:
    return sum(work.total for work in works.values())


def latency(cfg: Config, batch: int, device: str, repeats: int) -> dict:
    """Milliseconds of the video side in evaluation, float32, random weights; texts are encoded already."""
    model: nn.Module = VideoSide(_build(cfg)).to(device).eval()
    inputs = torch.randn(shape_of(view_of(cfg, "test"), batch), device=device)

    def timed() -> float:
        start = time.perf_counter()
        result: Tensor = model(inputs)
        if result.is_cuda:
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    with torch.inference_mode():
        timed()
        times = [timed() for _ in range(repeats)]
    where = torch.cuda.get_device_name() if device.startswith("cuda") else f"CPU, {torch.get_num_threads()} threads"
    return dict(median_ms=statistics.median(times), fastest_ms=min(times), passes=repeats, batch=batch, device=where,
                torch=torch.__version__)


def describe(path: str, costs: dict) -> str:
    """One config in full."""
    clips, crops = costs["views"]
    macs, text = costs["macs"], costs["text"]
    size = " x ".join(map(str, costs["side"]))
    lines = [f"{path}: {costs['frames']} frames of {size}, {clips} clips x {crops} crops in a test", "",
             "| parameters | M | trainable |", "|---|---|---|"]
    for part, number in {**costs["parameters"], "all": sum(costs["parameters"].values())}.items():
        trainable = costs["trainable"].get(part, sum(costs["trainable"].values()))
        lines.append(f"| {part} | {number / 1e6:.2f} | {trainable / 1e6:.2f} |")
    lines += ["", "| multiply-accumulates of one view, executed | " + " | ".join(KINDS.values()) + " | G |",
              "|---" * (len(KINDS) + 2) + "|"]
    for part, work in costs["macs_by_part"].items():
        cells = [f"{work[kind] / 1e9:.2f}" for kind in KINDS] + [f"{sum(work.values()) / 1e9:.2f}"]
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    lines += ["", "multiply-accumulates of one view (G)",
              f"  executed, the last temporal block for what is read of it: {macs['executed'] / 1e9:.2f}",
              f"  with all tokens in every block: {macs['whole'] / 1e9:.2f}"]
    if text:
        lines += [f"  with blocked pairs and one text of the whole context: {macs['every_pair_and_a_text'] / 1e9:.2f}",
                  "  published convention, convolutions and MLPs, with those of one text: "
                  f"{macs['published_convention'] / 1e9:.2f}",
                  "text tower, forward (G); in brackets every text at the whole context",
                  f"  one text: ({text['one_uncut'] / 1e9:.2f})"]
    if text and text["texts"]:
        C, M = text["texts"]
        lines += [f"  training step, {min(text['draws'], M)} draws x {C} classes: "
                  f"{text['step'] / 1e9:.0f} ({text['step_uncut'] / 1e9:.0f})",
                  f"  evaluation, once, {M} texts x {C} classes: "
                  f"{text['evaluation'] / 1e9:.0f} ({text['evaluation_uncut'] / 1e9:.0f})"]
    if not text:
        lines.append("  published convention: not defined for a model without CLIP's towers")
    if costs["activation_bytes"]:
        lines.append(f"activations of a training step of {costs['training_batch']} clips (GiB)")
    for dtype, kept in (costs["activation_bytes"] or {}).items():
        lines.append(f"  {dtype}: {gib(kept['total'])} = video {gib(kept['video'])} + text {gib(kept['text'])}"
                     f" + computed again at a time {gib(kept['recomputed'])}")
    if "latency" in costs:
        lines.append(_latency_line(costs["latency"]))
    return "\n".join(lines)


def tables(reports: dict[str, dict]) -> str:
    """One table for the video side and one for texts and training; configs of equal costs share a row."""
    parts = [part for part in dict.fromkeys(part for costs in reports.values() for part in costs["parameters"])
             if part != "logit scale"]
    figures = {"executed": "executed, G", "whole": "whole, G", "every_pair_and_a_text": "every pair and a text, G",
               "published_convention": "published convention, G"}
    texts = {"step": "step, T", "step_uncut": "(uncut)", "evaluation": "evaluation, T", "evaluation_uncut": "(uncut)"}
    kept = {"video": "video, GiB", "text": "text, GiB", "recomputed": "computed again, GiB", "total": "all, GiB"}
    video, training = {}, {}
    for path, costs in reports.items():
        name, text = Path(path).with_suffix("").as_posix().removeprefix("configs/"), costs["text"]
        video[name] = (str(costs["frames"]), str(costs["side"][0]),
                       *(f"{costs['parameters'][part] / 1e6:.2f}" if part in costs["parameters"] else "-"
                         for part in parts),
                       *(f"{costs['macs'][kind] / 1e9:.4g}" if kind in costs["macs"] else "-" for kind in figures))
        C, M = (text and text["texts"]) or (0, 0)
        memory, clips = costs["activation_bytes"], costs["training_batch"]
        training[name] = (f"{C} x {M}" if C else "-", str(min(text["draws"], M)) if C else "-",
                          *(f"{text[kind] / 1e12:.3g}" if C else "-" for kind in texts),
                          *(["-"] * (len(kept) + 2) if memory is None else
                            [str(clips), *(gib(memory["float32"][part]) for part in kept),
                             gib(memory["bfloat16"]["total"])]))
    lines = [*_table(["frames", "side", *(f"{part}, M" for part in parts), *figures.values()], video), "",
             *_table(["texts", "draws", *texts.values(), "clips", *kept.values(), "all in bfloat16, GiB"], training)]
    latencies = [f"{path}: {_latency_line(costs['latency'])}" for path, costs in reports.items() if "latency" in costs]
    return "\n".join(lines + [""] * bool(latencies) + latencies)


def _table(header: list[str], rows: dict[str, tuple[str, ...]]) -> list[str]:
    names: dict[tuple[str, ...], list[str]] = {}
    for name, cells in rows.items():
        names.setdefault(cells, []).append(name)
    return [f"| config | {' | '.join(header)} |", "|---" * (len(header) + 1) + "|",
            *(f"| {', '.join(same)} | {' | '.join(cells)} |" for cells, same in names.items())]


def gib(number: int) -> str:
    return f"{number / 2 ** 30:.2f}"


def _latency_line(took: dict) -> str:
    return (f"latency of the video side, {took['batch']} clips of one view, on this machine ({took['device']}, torch "
            f"{took['torch']}, float32): median of {took['passes']} {took['median_ms']:.0f} ms, "
            f"fastest {took['fastest_ms']:.0f} ms")
