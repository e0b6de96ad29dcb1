"""A model said once: what its parts share stands in one place, and the parts follow.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..catalog import find_classes
from ..language.prompts import read_lines
from ..language.shipped import find_bank
from ..protocols.views import kind_of
from ..towers.architectures import Arch, bring_config, model_config, tower_of
from ..towers.head import check_tokens, class_tokens_suffice
from ..towers.preprocessing import Preprocessing, preprocessing_of
from .keys import did_you_mean, plain

BUILDER = "CLAVERRecognizer"
SHARED = {
    "arch": ("backbone", "neck", "cls_head"),
    "pretrained": ("backbone", "cls_head"),
    "preprocessing": ("backbone",),
    "image_size": ("backbone",),
    "num_frames": ("neck",),
    "classes": ("cls_head",),
    "bank": ("cls_head",),
}
"""What is said of a whole model, and which of its parts it is handed to."""
NECKS = ("TemporalNeck", "KMTNeck", "KMCTNeck")
PARTS = {"backbone": "CLIPBackbone", "neck": "KMTNeck", "cls_head": "ContrastiveTextHead"}
KNOWN = (*SHARED, *PARTS, "data_preprocessor", "train_cfg", "test_cfg", "init_cfg", "type", "_scope_")


def is_said_once(model: Mapping) -> bool:
    """Whether this is a model of ``CLAVERRecognizer``, whose parts are yet to be handed what they share."""
    return kind_of(model) == BUILDER


def write_out(model: Mapping) -> tuple[dict, list[str]]:
    """The ``Recognizer3D``, all parts written out, that a ``CLAVERRecognizer`` stands for; and what had to give way.

    Args:
        model: ``arch``, ``pretrained``, ``preprocessing``, ``image_size``, ``num_frames``, ``classes`` and ``bank`` of
            the whole, and in ``backbone``, ``neck`` (None for none) and ``cls_head`` what concerns these alone.
            ``classes`` is a list, a file or the name of a shipped list; ``bank`` a file, a mapping, None, or
            ``'auto'``: the shipped bank that has texts for all classes, or none, so that templates serve alone. Mixup
            and cutmix get the number of classes, the data preprocessor mean and standard deviation of the weights.

    Raises:
        ValueError: An unknown key, a part that says something else than the model, or kinds of texts without a bank.
        FileNotFoundError: A class list that does not exist.
    """
    model = plain(model)
    for key in model:
        if key not in KNOWN:
            raise ValueError(f"model.{key}: {BUILDER} takes no {key!r}" + did_you_mean(key, KNOWN))
    if "arch" not in model:
        raise ValueError(f"model.arch is missing: {BUILDER} needs an architecture, e.g. 'B/16'")
    if model.get("num_frames") is not None and model["num_frames"] < 1:
        raise ValueError(f"model.num_frames must be at least 1, got {model['num_frames']}")
    written = {key: value for key, value in model.items() if key not in SHARED}
    written["type"] = "Recognizer3D"
    for name, kind in PARTS.items():
        part = model.get(name, {})
        written[name] = None if part is None else dict({"type": kind}, **part)
    for key, parts in SHARED.items():
        for name in parts if key in model else ():
            if written[name] is not None:
                _hand_on(model[key], written[name], name, key)
    head, notes = written["cls_head"], []
    if head.get("classes") is not None:
        head["classes"] = find_classes(head["classes"])
    if head.get("bank") == "auto":
        notes = _choose_bank(head)
    _count_classes(written, said_once=True)
    _follow_tower(written)
    agree(written)
    return written, notes


def _follow_tower(written: dict) -> None:
    """What the image tower decides, where the model does not say it: mean and standard deviation, and whether class
    tokens are all that the temporal transformer has to give."""
    backbone, neck = written["backbone"], written["neck"]
    prepared = frames_of(backbone)
    given = written.get("data_preprocessor")
    written["data_preprocessor"] = given = {"type": "ActionDataPreprocessor", "format_shape": "NCTHW", **(given or {})}
    given.setdefault("mean", prepared.mean_255)
    given.setdefault("std", prepared.std_255)
    if neck is not None and kind_of(neck) in NECKS:
        pool = written["cls_head"].get("pool", "tower")
        neck.setdefault("class_tokens_only", class_tokens_suffice(tower_of(backbone["arch"]), pool))


def frames_of(backbone: Mapping) -> Preprocessing:
    """How frames are prepared for the image tower of a config."""
    return preprocessing_of(backbone["arch"], backbone.get("pretrained"), backbone.get("preprocessing"),
                            backbone.get("image_size"))


def _hand_on(value: Any, part: dict, name: str, key: str) -> None:
    """Give a part what the model says, unless it says the same itself."""
    if key not in part:
        if value is not None:
            part[key] = value
    elif key == "bank" and value == "auto":
        return
    elif not (same_arch(part[key], value) if key == "arch" else part[key] == value):
        raise ValueError(f"model.{name}.{key} is {shown(part[key])}, model.{key} is {shown(value)}: say it once, in "
                         f"model.{key}, and the parts follow")


def _choose_bank(head: dict) -> list[str]:
    if head.get("classes") is None:
        del head["bank"]
        return []
    bank = find_bank(read_lines(head["classes"], "classes"))
    if bank is not None:
        head["bank"] = bank
        return []
    del head["bank"]
    chosen = [key for key in ("kinds", "per_kind") if head.get(key) is not None]
    if chosen:
        raise ValueError(f"model.cls_head.{chosen[0]} chooses from a bank, and no shipped bank has texts for all of "
                         "these classes; name one in model.bank, or leave it out")
    return ["prompts: no shipped bank has texts for all of these classes, so templates serve alone; model.bank names a "
            "bank of yours"]


def agree(model: Mapping) -> None:
    """Check that parts which are written out are of one model.

    Raises:
        ValueError: Two parts that name different architectures, towers with different weights, or a neck that keeps
            back tokens which the head reads; both are named.
    """
    parts = {name: model[name] for name in PARTS if isinstance(model.get(name), Mapping) and "arch" in model[name]}
    for name, part in list(parts.items())[1:]:
        first = next(iter(parts))
        if not same_arch(parts[first]["arch"], part["arch"]):
            raise ValueError(f"model.{first}.arch is {shown(parts[first]['arch'])}, model.{name}.arch is "
                             f"{shown(part['arch'])}: the parts of a model share one architecture")
    _check_preprocessing(model)
    if {"neck", "cls_head"} <= parts.keys() and kind_of(parts["neck"]) in NECKS:
        check_tokens(parts["neck"].get("class_tokens_only", False), tower_of(parts["neck"]["arch"]),
                     parts["cls_head"].get("pool", "tower"))
    towers = [parts[name].get("pretrained") for name in SHARED["pretrained"] if name in parts]
    if len(towers) == 2 and towers[0] != towers[1]:
        raise ValueError(f"model.backbone.pretrained is {shown(towers[0])}, model.cls_head.pretrained is "
                         f"{shown(towers[1])}: both towers start from the same weights")
    for key in SHARED:
        if key in model and not is_said_once(model):
            raise ValueError(f"model.{key}: {kind_of(model)} takes no {key!r}, this config says it in "
                             + " and ".join(f"model.{name}.{key}" for name in SHARED[key])
                             + f"; only {BUILDER}, which the shipped configs name, hands it on")


def _check_preprocessing(model: Mapping) -> None:
    """Refuse frames that are not normalised as for the weights of the image tower."""
    backbone, given = model.get("backbone") or {}, model.get("data_preprocessor")
    if kind_of(backbone) != PARTS["backbone"] or not backbone.get("pretrained") or not given:
        return
    if isinstance(backbone["arch"], Mapping) and "preprocess_cfg" not in backbone["arch"] \
            and not backbone.get("preprocessing") and not bring_config(backbone["pretrained"]):
        return  # what weights of a model of one's own were trained with, nobody but its owner knows
    prepared = frames_of(backbone)
    for key, wanted in (("mean", prepared.mean_255), ("std", prepared.std_255)):
        if key in given and any(abs(a - b) > 0.5 for a, b in zip(given[key], wanted, strict=True)):
            raise ValueError(
                f"model.data_preprocessor.{key} is {shown(given[key])}, the weights {shown(backbone['pretrained'])} of "
                f"{shown(backbone['arch'])} were trained with {[round(value, 3) for value in wanted]}: leave it out, "
                f"or say so where it is meant: preprocessing=dict({key}=...), in numbers from 0 to 1")


def same_arch(first: Arch, second: Arch) -> bool:
    """Whether two names or configs are of one architecture."""
    return first == second or model_config(first) == model_config(second)


def complete_model(model: dict) -> tuple[dict, list[str]]:
    """Parts written out, shipped class lists found, and mixup and cutmix told how many classes there are."""
    if is_said_once(model):
        return write_out(model)
    agree(model)
    head = model.get("cls_head")
    if isinstance(head, dict) and isinstance(head.get("classes"), str):
        head["classes"] = find_classes(head["classes"])
    _count_classes(model)
    return model, []


def _count_classes(model: dict, said_once: bool = False) -> None:
    """Mixup and cutmix get the number of classes where they have none."""
    head, blending = model.get("cls_head"), (model.get("data_preprocessor") or {}).get("blending")
    augments = [] if not isinstance(blending, dict) else blending.get("augments", [blending])
    if not augments or not isinstance(head, dict):
        return
    if not said_once and all("num_classes" in augment for augment in augments):
        return
    count = head.get("num_classes") if head.get("classes") is None else len(read_lines(head["classes"], "classes"))
    for augment in augments:
        if augment.setdefault("num_classes", count) != count and count is not None:
            raise ValueError(f"model.data_preprocessor.blending: {augment['type']}.num_classes is "
                             f"{augment['num_classes']}, the model has {count} classes; leave num_classes out")


def shown(value: object) -> str:
    """A value for a message, shortened."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ...{text[-1]}"


def listed_classes(model: object) -> str | Sequence[str] | None:
    """Classes of a model whose parts are written out; None for one that is built."""
    head = model.get("cls_head") if isinstance(model, Mapping) else None
    return head.get("classes") if isinstance(head, Mapping) else None
