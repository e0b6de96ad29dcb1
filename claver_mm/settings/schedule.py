"""Schedules that end with the run.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import math
from collections.abc import Mapping

from ..protocols.views import kind_of

WARM_UPS = ("LinearLR", "ConstantLR", "LinearParamScheduler", "ConstantParamScheduler", "LinearMomentum",
            "ConstantMomentum")
MOST = 0.25
"""The largest part of a run that a warm-up takes."""


def length(train_cfg: Mapping | None, by_epoch: bool = True) -> int | None:
    """Epochs or iterations of a run; None where it is not said in them."""
    return (train_cfg or {}).get("max_epochs" if by_epoch else "max_iters")


def schedulers(cfg: Mapping) -> list[tuple[str, dict, int]]:
    """Schedulers whose unit is that of the run, each with its place and the run's length."""
    found = cfg.get("param_scheduler")
    named = [(f"param_scheduler.{number}", each) for number, each in enumerate(found)] \
        if isinstance(found, list | tuple) else [("param_scheduler", found)]
    return [(name, each, total) for name, each in named if isinstance(each, dict) and "type" in each
            and (total := length(cfg.get("train_cfg"), each.get("by_epoch", True))) is not None]


def complete_schedule(cfg: dict) -> list[str]:
    """Let schedules follow the run, in place; what had to give way.

    A scheduler without ``end`` ends with the run, and a warm-up before it takes a quarter of the run at most. A first
    validation beyond the run comes at its end.

    Raises:
        ValueError: A scheduler that begins after the run, ends after it, or has come to its lowest rate before.
    """
    notes, planned = [], schedulers(cfg)
    still_open = any(each.get("end") in (None, math.inf) for _, each, _ in planned)
    if still_open:
        for _, each, total in planned:
            each["end"] = total if each.get("end") in (None, math.inf) else each["end"]
        notes += _shorten_warm_up(planned)
    _check_ends(planned)
    train, end = cfg.get("train_cfg") or {}, length(cfg.get("train_cfg"))
    if end is not None and train.get("val_begin", 1) > end:
        notes.append(f"train_cfg.val_begin: {end}, the end of the run, in place of {train['val_begin']}")
        train["val_begin"] = end
    return notes


def _shorten_warm_up(planned: list[tuple[str, dict, int]]) -> list[str]:
    name, first, total = planned[0]
    end, most = first["end"], MOST * total
    followed = any(each.get("begin", 0) == end for _, each, _ in planned[1:])
    if kind_of(first) not in WARM_UPS or first.get("begin", 0) or end <= most or not followed:
        return []
    if not first.get("convert_to_iter_based") and first.get("by_epoch", True):
        most = max(int(most), 1)
    first["end"] = most
    for _, each, _ in planned[1:]:
        if each.get("begin", 0) == end:
            each["begin"] = most
    return [f"{name}: a warm-up of {most:g} in place of {end:g}, a quarter of this run of {total}"]


def _check_ends(planned: list[tuple[str, dict, int]]) -> None:
    for name, each, total in planned:
        if each.get("begin", 0) >= total:
            raise ValueError(f"{name} begins at {each['begin']:g}, and the run ends at {total} (train_cfg): it would "
                             "never begin; shorten what comes before it")
        if each["end"] > total:
            raise ValueError(f"{name} ends at {each['end']:g}, and the run at {total} (train_cfg): the rate would not "
                             "come down; leave end out, and it follows the run")
    _, last, total = max(planned, key=lambda entry: entry[1]["end"], default=("", {}, 0))
    if last and last["end"] < total and kind_of(last) not in WARM_UPS:
        raise ValueError(f"param_scheduler ends at {last['end']:g}, and the run at {total} (train_cfg): the rest would "
                         "train at its last rate; leave end out, and it follows the run")


def stretch(cfg: dict, total: int) -> list[str]:
    """Scale a schedule whose every end is written out to a run of another length, in place; what was scaled.

    To be called before that length is put in. Units that are not epochs stay; a scheduler that steps by the epoch and
    is left without one goes.
    """
    planned = [(name, each, old) for name, each, old in schedulers(cfg) if each.get("by_epoch", True)]
    if any(each.get("end") in (None, math.inf) or old == total for _, each, old in planned):
        return []
    for _, each, old in planned:
        def scaled(value: float, least: int, old: int = old, whole: bool = not is_by_iteration(each)) -> float:
            return max(value * total // old, least) if whole else value * total / old

        for key, least in (("begin", 0), ("end", 0), ("T_max", 1), ("step_size", 1)):
            if key in each:
                each[key] = scaled(each[key], least)
        if "milestones" in each:
            each["milestones"] = sorted({scaled(value, 1) for value in each["milestones"]})
    if isinstance(cfg["param_scheduler"], list):
        empty = [each for _, each, _ in planned if each["end"] <= each.get("begin", 0)]
        cfg["param_scheduler"] = [each for each in cfg["param_scheduler"] if not any(each is one for one in empty)]
    return [f"{name}: stretched from a run of {old} epochs to one of {total}" for name, _, old in planned]


def is_by_iteration(scheduler: object) -> bool:
    """Whether a scheduler is written in epochs and steps every iteration."""
    return isinstance(scheduler, dict) and bool(scheduler.get("convert_to_iter_based"))


def has_a_step(scheduler: Mapping, epoch_length: int) -> bool:
    """Whether such a scheduler lasts an iteration; MMEngine refuses one that does not."""
    end = scheduler.get("end", math.inf)
    return end == math.inf or int(end * epoch_length) > int(scheduler.get("begin", 0) * epoch_length)
