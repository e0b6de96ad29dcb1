"""A config that says a thing once is made whole: what its parts share is handed to them, what disagrees is refused.

Dicts in, dicts out; ``claver_mm.engine.configs`` reads files and overrides.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

from collections.abc import Mapping

from .data import complete_data, complete_frames, complete_sizes, datasets
from .keys import check_keys, plain, unscoped
from .model import SHARED, complete_model, is_said_once, write_out
from .schedule import complete_schedule

__all__ = ["complete", "write_out"]


def complete(cfg: Mapping) -> dict:
    """A config in which every part says all that it needs, as the host's Runner reads it; ``cfg`` stays as it is.

    * A model of ``CLAVERRecognizer`` is written out as the ``Recognizer3D`` that it stands for.
    * Data sets take files, steps and classes from what the config says of them once, pipelines the model's frames.
    * Schedules without ``end`` end with the run.

    What could not be kept as written is listed in ``derived``. A config that is whole comes back as it is.

    Raises:
        ValueError: Parts that disagree, or a key that nothing reads; the message names both values and the way out.
        FileNotFoundError: A class list that does not exist.
    """
    whole: dict = plain(cfg)
    check_keys(whole)
    notes, num_frames = list(whole.get("derived") or ()), None
    if isinstance(whole.get("model"), dict):
        if is_said_once(whole["model"]):
            _check_one_place(whole)
            num_frames = whole["model"].get("num_frames")
        whole["model"], found = complete_model(whole["model"])
        notes += found
    complete_data(whole)
    complete_frames(whole, num_frames)
    complete_sizes(whole)
    notes += complete_schedule(whole)
    if notes:
        whole["derived"] = list(dict.fromkeys(notes))
    return whole


def _check_one_place(cfg: Mapping) -> None:
    """Refuse what a config with a model that is said once says at a second place."""
    for key in SHARED:
        if key in cfg and cfg[key] != cfg["model"].get(key):
            raise ValueError(f"nothing reads {key!r} at the top of a config; did you mean model.{key}?")
    for split, dataset in datasets(cfg):  # the host's inference_recognizer reads the one, its Inferencer the other
        top = cfg.get(f"{split}_pipeline")
        if top is not None and unscoped(dataset.get("pipeline", top)) != unscoped(top):
            raise ValueError(f"{split}_pipeline and {split}_dataloader.dataset.pipeline differ: give both the same, or "
                             "take the data set's away, and it follows")
