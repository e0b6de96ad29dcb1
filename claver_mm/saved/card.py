"""What a person, the hub and MMAction2's tools read of a saved recogniser: a model card and a ``metafile.yml``.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

from collections.abc import Mapping

import yaml

from ..towers.pretrained import HUB
from .contract import Contract

Metrics = Mapping[str, Mapping[str, float]]
"""Data set -> name of a metric -> its value."""
PIPELINE = "video-classification"


def check_metrics(metrics: Metrics | None) -> dict[str, dict[str, float]]:
    """Metrics in plain numbers.

    Raises:
        ValueError: Another form.
    """
    plain: dict[str, dict[str, float]] = {}
    for dataset, found in (metrics or {}).items():
        if not isinstance(found, Mapping) or not found:
            raise ValueError(f"metrics are by data set and name, {{'my videos': {{'top-1 accuracy': 0.93}}}}; got "
                             f"{dataset!r}: {found!r:.60}")
        plain[str(dataset)] = {str(name): float(value) for name, value in found.items()}
    return plain


def card(contract: Contract, name: str, what: str, classes: list[str] | None, metrics: Metrics,
         licence: str | None) -> str:
    """README.md with the front matter that the hub reads.

    Args:
        contract: Of the recogniser.
        name: What it is called.
        what: A line on it.
        classes: Its own.
        metrics: See ``check_metrics``.
        licence: The tower's where None.
    """
    licence, tower = licence or contract["tower"]["licence"], contract["tower"]
    front: dict = dict(library_name="claver-mm", pipeline_tag=PIPELINE,
                       tags=["video-classification", "action-recognition", "zero-shot", "claver"])
    if licence:
        front["license"] = licence
    if (tower["reference"] or "").startswith(HUB):
        front["base_model"] = tower["reference"].removeprefix(HUB)
    if metrics:
        results = [dict(task=dict(type=PIPELINE), dataset=dict(name=dataset, type=_slug(dataset)),
                        metrics=[dict(type=_slug(key), name=key, value=value) for key, value in found.items()])
                   for dataset, found in metrics.items()]
        front["model-index"] = [dict(name=name, results=results)]
    lines = ["---", yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(), "---", "", f"# {name}", "",
             f"{what}.", "", "```python", "from claver_mm import Recognizer", "",
             'recognizer = Recognizer.from_pretrained("PATH OR hf-hub:ORGANISATION/NAME")',
             'recognizer.recognize("video.mp4"' + ("" if classes else ', ["juggling", "diving"]') + ")", "```", ""]
    if classes:
        shown = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
        lines += [f"Classes, {len(classes)} of them, with their texts in `texts.json`: {shown}. Other labels can be "
                  "given as well.", ""]
    if contract["threshold"] is not None:
        lines += [f"Below a probability of {contract['threshold']:g} none of its classes fits.", ""]
    for dataset, found in metrics.items():
        lines += [f"| {dataset} | |", "|---|---|", *(f"| {key} | {value:.4g} |" for key, value in found.items()), ""]
    where = "what differs from the tower's public weights" if contract["weights"] == "difference" else "all weights"
    lines += [f"Tower: {tower['reference'] or 'a model of its own'}, licence: {tower['licence'] or 'not known here'}. "
              f"`model.safetensors` holds {where}. Saved by claver-mm {contract['version']}.", ""]
    return "\n".join(lines)


def metafile(contract: Contract, name: str, metrics: Metrics, weights: str) -> str:
    """``metafile.yml`` as MMAction2's model zoo has them."""
    temporal, tower = contract["temporal"], contract["tower"]
    model: dict = dict(
        Name=name, Config="config.json",
        Metadata=dict(Architecture=tower["reference"] or "a model of its own",
                      Temporal=temporal["pattern"] if temporal else "mean", Frames=contract["num_frames"],
                      Resolution="x".join(map(str, contract["preprocessing"]["size"]))),
        Modality="RGB", Weights=weights)
    if metrics:
        model["Results"] = [dict(Dataset=dataset, Task="Action Recognition", Metrics=dict(found))
                            for dataset, found in metrics.items()]
    return yaml.safe_dump(dict(Models=[model]), sort_keys=False, allow_unicode=True)


def _slug(text: str) -> str:
    return "-".join("".join(char if char.isalnum() else " " for char in text.lower()).split()) or "unnamed"
