"""What is installed, what runs here and how, and what would be slow or missing, with what to do about it.

Pure: imports the standard library alone; what it asks about is imported within, so that a package that is missing or
broken becomes a finding.
"""
from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, NamedTuple

from .version import __version__

NEEDED = ("torch", "torchvision", "numpy", "mmengine", "mmaction2", "mmpretrain", "open_clip_torch", "timm", "av",
          "safetensors", "pyyaml", "matplotlib", "tqdm")
ALTERNATIVES = (("mmcv", "mmcv-lite"), ("opencv-python", "opencv-python-headless", "opencv-contrib-python",
                                        "opencv-contrib-python-headless"))
"""Distributions of which one is needed."""
OPTIONAL = {"decord": "stands in for PyAV where that cannot read a video", "openai": "claver generate-prompts",
            "transformers": "towers with tokenizers of the Hugging Face hub, claver generate-prompts --local",
            "sentencepiece": "tokenizers of the Hugging Face hub that are made with it (SigLIP)"}
INPUTS = dict(heads=12, frames=8, tokens=197, width=64)
"""Of the clips that forms of the attention are named for: B/16, 8 frames of 224 pixels."""


class Finding(NamedTuple):
    """Something that a person should know."""
    level: str
    """``missing`` (and needed), ``warning``, ``slow`` or ``note``."""
    what: str
    do: str


def doctor() -> dict[str, Any]:
    """Everything, as plain values: ``versions``, ``devices``, ``decoders``, ``attention``, ``remedies``, ``weights``,
    ``findings`` (see ``Finding``) and ``ok``, whether nothing that is needed is missing."""
    findings: list[Finding] = []
    report: dict[str, Any] = dict(versions=_versions(findings), devices=_devices(findings), decoders=_decoders(),
                                  attention=_attention(), remedies=_remedies(findings), weights=_weights(findings))
    report["findings"] = [finding._asdict() for finding in findings]
    return dict(report, ok=not any(finding.level == "missing" for finding in findings))


def as_text(report: dict[str, Any]) -> str:
    """A report as a person reads it."""
    return "\n".join(_lines(report))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield "versions"
    width = max(map(len, report["versions"]))
    for name, found in report["versions"].items():
        yield f"  {name:<{width}}  {found or '-'}"
    yield "devices"
    yield from _values(report["devices"])
    yield "decoders, in this order"
    for one in report["decoders"]:
        yield f"  {one['name']}: {'installed' if one['installed'] else 'not installed'}"
    yield "attention, {heads} heads of {width}, T = {frames}, L = {tokens}".format(**INPUTS)
    for one in report["attention"]:
        yield f"  {one['pattern']}, {one['dtype']} on {one['device']}: {one['form']}, {one['reason']}"
    yield "remedies for the host packages"
    for applied, what in ((True, "active"), (False, "not needed here")):
        names = [name for name, value in report["remedies"].items() if value is applied]
        yield f"  {what}: {', '.join(names) or 'none'}"
    yield "weights"
    yield from _values(report["weights"])
    yield "findings"
    for one in report["findings"]:
        yield f"  {one['level']}: {one['what']}" + (f"; {one['do']}" if one["do"] else "")
    if not report["findings"]:
        yield "  none"


def _values(part: dict[str, Any]) -> Iterator[str]:
    return (f"  {name}: {', '.join(value) or 'none' if isinstance(value, list) else value}"
            for name, value in part.items())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _versions(findings: list[Finding]) -> dict[str, str | None]:
    found: dict[str, str | None] = {"claver-mm": __version__, "python": platform.python_version()}
    found |= {name: _version(name) for name in NEEDED}
    for names in ALTERNATIVES:
        here = {name: number for name in names if (number := _version(name))}
        found |= here
        if not here:
            findings.append(Finding("missing", f"{names[0]} is not installed",
                                    f"pip install {names[1] if names[0] == 'mmcv' else names[0]}"))
        elif len(here) > 1:
            findings.append(Finding("warning", f"{' and '.join(here)} are both installed and own the same files",
                                    f"pip uninstall both, then install {next(iter(here))} alone"))
    found |= {name: _version(name) for name in OPTIONAL}
    findings += [Finding("missing", f"{name} is not installed", f"pip install {name}")
                 for name in NEEDED if found[name] is None]
    findings += [Finding("note", f"{name} is not installed: {what}", f"pip install {name}")
                 for name, what in OPTIONAL.items() if found[name] is None]
    findings += _out_of_bounds(found)
    if found["av"]:
        import av
        numbers = {name: ".".join(map(str, number)) for name, number in av.library_versions.items()}
        found["FFmpeg, in PyAV"] = ", ".join(f"{name} {numbers[name]}" for name in sorted(numbers)
                                             if name in ("libavcodec", "libavformat"))
    return found


def _out_of_bounds(found: dict[str, str | None]) -> list[Finding]:
    """What is installed in versions that the project does not take."""
    try:
        from packaging.requirements import Requirement
        wanted = [Requirement(line) for line in requires("claver-mm") or ()]
    except (ImportError, PackageNotFoundError):  # run from a checkout: no bounds are known
        return []
    return [Finding("warning", f"{one.name} {number} is installed, {one.specifier} is asked for",
                    f"pip install '{one.name}{one.specifier}'")
            for one in wanted if (one.marker is None or one.marker.evaluate({"extra": ""}))
            and (number := found.get(one.name)) and not one.specifier.contains(number, prereleases=True)]


def _devices(findings: list[Finding]) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices: dict[str, Any] = {"CPU cores of this process": cores}
    try:
        import torch

        from .attention.flash import multiplies_bfloat16
    except ImportError:
        return devices
    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    hardware = multiplies_bfloat16()
    devices |= {"PyTorch's threads": torch.get_num_threads(), "CPU capability": torch.backends.cpu.get_cpu_capability(),
                "bfloat16 in the CPU": "in hardware" if hardware else "widened to float32",
                "CUDA GPUs": [f"{gpu.name} ({gpu.total_memory / 2 ** 30:.0f} GiB)" for gpu in gpus]}
    if not gpus:
        findings.append(Finding("slow", "PyTorch sees no CUDA GPU", "fine for small models and for a few videos; train "
                                "the paper's on GPUs" + ("" if torch.version.cuda else ", with a PyTorch built for "
                                                                                        "CUDA (this one is not)")))
        if not hardware:
            findings.append(Finding("slow", "this CPU has no bfloat16 units, so that --amp gains nothing on it",
                                    "train and test in float32"))
    if torch.get_num_threads() < min(cores or 1, 4):
        findings.append(Finding("slow", f"PyTorch has {torch.get_num_threads()} threads for {cores} cores",
                                "unset OMP_NUM_THREADS, or set it higher"))
    return devices


def _decoders() -> list[dict[str, Any]]:
    try:
        from importlib.util import find_spec

        from .video.decode import DECODERS
    except ImportError:
        return []
    return [dict(name=name, installed=find_spec(module) is not None) for name, module in DECODERS.items()]


def _attention() -> list[dict[str, str]]:
    try:
        import torch

        from .attention import choose_backend
    except ImportError:
        return []
    device, found = "cuda" if torch.cuda.is_available() else "cpu", []
    for pattern in ("kmt", "kmct"):
        for dtype in (torch.float32, torch.bfloat16):
            q = torch.empty(1, INPUTS["heads"], INPUTS["frames"] * INPUTS["tokens"], INPUTS["width"], dtype=dtype,
                            device=device)
            choice = choose_backend(q, q, q, pattern, INPUTS["frames"])
            found.append(dict(pattern=pattern, dtype=str(dtype).removeprefix("torch."), device=device, form=choice.name,
                              reason=choice.reason))
    return found


def _remedies(findings: list[Finding]) -> dict[str, bool]:
    """Of ``compat.py``, whether each is active; what keeps the host from being imported is a finding."""
    try:
        compat = import_module(".compat", __package__)  # before anything else of the host
        for room in ("datasets", "engine", "models"):
            import_module(f".{room}", __package__)
    except Exception as error:  # whatever a broken package raises
        findings.append(Finding("missing", f"MMAction2 cannot be imported: {type(error).__name__}: {error}",
                                "nothing but claver ls, cp, lists, check-data and the prompts works without"))
        return {}
    return dict(compat.APPLIED)


def _weights(findings: list[Finding]) -> dict[str, Any]:
    """Where pretrained weights are kept, and which are there."""
    offline = os.environ.get("HF_HUB_OFFLINE", "")
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface") / "hub")
    openai, hub = Path("~/.cache/clip").expanduser(), hub.expanduser()
    kept = sorted(path.name for path in openai.glob("*.pt")) + sorted(
        path.name.removeprefix("models--").replace("--", "/") for path in hub.glob("models--*"))
    if offline.upper() in ("1", "ON", "YES", "TRUE"):
        findings.append(Finding("note", "HF_HUB_OFFLINE is set: weights of the hub that are not kept cannot be had",
                                "unset it, or name a file: model.pretrained=/path/to/weights"))
    if not kept:
        findings.append(Finding("note", "no pretrained weights are kept here: the first run of a config that names "
                                "some downloads them", "or name a file: model.pretrained=/path/to/weights"))
    return {"OpenAI's": str(openai), "of the Hugging Face hub": str(hub), "HF_HUB_OFFLINE": offline or "not set",
            "kept": kept}
