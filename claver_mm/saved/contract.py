"""What ``config.json`` of a saved recogniser says: read from a recogniser, and checked when it comes from a file.

Pure: imports nothing of ``mm*``.
The file is a declaration. It names a tower, settings, and steps of a pipeline that are all known here; nothing in it is
imported or called by its name, which MMEngine's registries would do with any dotted name.
"""
from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from ..language.texts import Texts
from ..protocols.views import kind_of, read_view
from ..settings.keys import did_you_mean, plain
from ..towers.architectures import SCHEMES
from ..towers.preprocessing import Preprocessing
from ..towers.pretrained import HUB, OPEN_CLIP
from ..weights.difference import DIFFERENCE, WHOLE

FORMAT, FORMAT_VERSION = "claver-mm", 1
BACKBONE = ("frozen", "grad_checkpointing", "token_grid")
TEMPORAL = ("pattern", "num_frames", "depth", "num_heads", "embed_dims", "mlp_ratio", "drop_path_rate", "act",
            "embedding_std", "layout", "interpolate", "class_tokens_only", "zero_init_residual")
HEAD = ("pool", "score", "loss", "num_draws", "draw_seed", "average_clips", "label_smooth_eps", "topk", "multi_class",
        "share_texts", "tokens_at_once", "grad_checkpointing", "frozen_text", "frozen_visual", "text_offsets")
"""Settings of the parts that are kept, all of them plain values."""
SAID_ELSEWHERE = ("type", "_scope_", "arch", "pretrained", "image_size", "preprocessing", "init_cfg", "in_channels",
                  "backbone_depth", "classes", "num_classes", "templates", "bank", "kinds", "per_kind", "loss_cls")
"""Settings of the parts that the contract says in another place, or that say where weights and texts come from, which
it has; and a loss of the host's own, which is of training alone."""
PATTERNS = {"KMTNeck": "kmt", "KMCTNeck": "kmct"}
STEPS = ("OpenVideo", "UniformSample", "SampleFrames", "DenseSampleFrames", "DecodeFrames", "Resize", "CenterCrop",
         "ThreeCrop", "TenCrop", "PrepareFrames", "FormatShape", "PackActionInputs")
"""Steps that a pipeline may have: those that look at a video without chance."""
TOWER_CONFIG = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_scale", "init_logit_bias",
                "nonscalar_logit_scale")
OPTIONS = ("act_kwargs", "norm_kwargs", "tokenizer_kwargs")
"""Settings of a tower that are mappings."""
FILES = r"model\.safetensors|texts\.json|tokenizer/[A-Za-z0-9_][A-Za-z0-9_.-]*\.(json|model|txt)"
"""Names of files whose SHA-256 the contract has."""

Contract = dict[str, Any]


def settings_of(model: Mapping, part: str, kept: Sequence[str]) -> dict:
    """The plain settings of a part of a config's model.

    Raises:
        ValueError: A setting that is not known here, so that it would be lost.
    """
    settings = {key: value for key, value in model[part].items() if key not in SAID_ELSEWHERE}
    for key, value in settings.items():
        if key not in kept or not _is_plain(value):
            raise ValueError(f"model.{part}.{key}={value!r:.100} cannot be saved" + did_you_mean(key, kept))
    return settings


def temporal_of(model: Mapping, depth: int) -> dict | None:
    """Settings of the temporal part of a config's model, with its number of blocks; None of a mean over frames."""
    if model.get("neck") is None:
        return None
    pattern = PATTERNS.get(kind_of(model["neck"]), "kmt")
    return {"pattern": pattern, "num_frames": 8, **settings_of(model, "neck", TEMPORAL), "depth": depth}


def steps_of(pipeline: Sequence[Mapping]) -> list[dict]:
    """Steps of a pipeline in plain JSON, without where its videos lay (``backend_args``).

    Raises:
        ValueError: A step that is not among ``STEPS``, or an argument that is no plain value.
    """
    steps = []
    for step in pipeline:
        named = {"type": kind_of(step)}
        named |= {key: plain(value) for key, value in step.items() if key not in ("type", "_scope_", "backend_args")}
        steps.append(json.loads(json.dumps(named, default=repr)))
    _check_steps(steps, "the pipeline")
    return steps


def arguments(step: Mapping) -> dict:
    """A step as the host's registry builds it: its lists are tuples again."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in step.items()}


def describe_texts(texts: Texts | None) -> dict | None:
    """What tells the texts of classes."""
    return None if texts is None else dict(classes=len(texts), texts_per_class=texts.tokens.shape[1],
                                           digest=texts.digest)


def describe_preprocessing(preprocessing: Preprocessing) -> dict:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(preprocessing).items()}


def check(contract: object, where: str) -> Contract:
    """A contract as it was read from a file, or what is wrong with it.

    Raises:
        ValueError: No contract, one of another version of the format, a key that is missing or unknown, a value of
            another kind, a step that is not known here; the message names the place.
    """
    if not isinstance(contract, dict) or contract.get("format") != FORMAT:
        raise ValueError(f"{where} is not of a recogniser that was saved here: its format is not {FORMAT!r}")
    if contract.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{where} has the format_version {contract.get('format_version')!r:.40}, this version reads "
                         f"{FORMAT_VERSION}; it was written by claver-mm {contract.get('version')!r:.40}")
    try:
        _check(contract)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return contract


def _check(contract: Contract) -> None:
    _check_keys(contract, "", format=_text, format_version=_whole, version=_text, tower=_mapping, temporal=_mapping_or,
                backbone=_mapping, head=_mapping, preprocessing=_mapping, num_frames=_count, sampling=_mapping,
                texts=_mapping_or, prompts_of_known_labels=_truth, threshold=_number_or, weights=_text, files=_mapping,
                versions=_mapping)
    tower, sampling, files = contract["tower"], contract["sampling"], contract["files"]
    _check_keys(tower, "tower.", reference=_text_or, arch=_arch, image_size=_size_or, context_length=_count,
                tokenizer=_text, licence=_text_or)
    if contract["weights"] not in (WHOLE, DIFFERENCE):
        raise ValueError(f"weights is {contract['weights']!r:.40}, neither {WHOLE} nor {DIFFERENCE}")
    if contract["weights"] == DIFFERENCE and not (tower["reference"] or "").startswith((OPEN_CLIP, HUB)):
        raise ValueError(f"weights are a {DIFFERENCE}, and tower.reference {tower['reference']!r:.100} names no public "
                         f"ones: {OPEN_CLIP}ARCHITECTURE/TAG or {HUB}ORGANISATION/NAME")
    if isinstance(tower["arch"], dict):
        _check_tower(tower["arch"])
    for part, known in (("temporal", TEMPORAL), ("head", HEAD), ("backbone", BACKBONE)):
        for key, value in (contract[part] or {}).items():
            if key not in known:
                raise ValueError(f"nothing reads {part}.{key}" + did_you_mean(key, known))
            if not _is_plain(value):
                raise ValueError(f"{part}.{key} is no plain value: {value!r:.100}")
    _check_keys(contract["preprocessing"], "preprocessing.", size=_size_or, mean=_numbers, std=_numbers,
                interpolation=_text, resize_mode=_text)
    _check_keys(sampling, "sampling.", one=_list, all=_list, max_testing_views=_count_or)
    for name in ("one", "all"):
        _check_steps(sampling[name], f"sampling.{name}")
        frames = read_view(sampling[name]).frames
        if frames != contract["num_frames"]:
            raise ValueError(f"sampling.{name} takes {frames} frames, num_frames is {contract['num_frames']}")
    if contract["texts"] is not None:
        _check_keys(contract["texts"], "texts.", classes=_count, texts_per_class=_count, digest=_text)
    wanted = {"model.safetensors"} | ({"texts.json"} if contract["texts"] else set())
    for name, digest in files.items():
        if not re.fullmatch(FILES, name) or not re.fullmatch("[0-9a-f]{64}", str(digest)):
            raise ValueError(f"files names {name!r:.100}, which is no file of a saved recogniser with its SHA-256")
    if missing := sorted(wanted - set(files)):
        raise ValueError(f"files lacks {missing[0]}")


def _check_tower(config: dict) -> None:
    """A model config of open_clip, whose parts are plain values under the names that it knows."""
    known = {"": TOWER_CONFIG, "vision_cfg": [field.name for field in fields(CLIPVisionCfg)],
             "text_cfg": [field.name for field in fields(CLIPTextCfg)]}
    for part, names in known.items():
        settings = config if part == "" else config.get(part)
        if not isinstance(settings, dict):
            raise ValueError(f"tower.arch.{part} is missing")
        for key, value in settings.items():
            if key not in names:
                raise ValueError(f"nothing reads tower.arch.{part and part + '.'}{key}" + did_you_mean(key, names))
            inner = value.values() if key in OPTIONS and isinstance(value, dict) else [value]
            if not (part == "" and key in known) and not all(map(_is_plain, inner)):
                raise ValueError(f"tower.arch.{part and part + '.'}{key} is no plain value: {value!r:.100}")


def _check_steps(steps: Sequence[Mapping], where: str) -> None:
    for number, step in enumerate(steps):
        kind = step.get("type") if isinstance(step, dict) else step
        if kind not in STEPS:
            raise ValueError(f"{where}.{number} is {kind!r:.100}, and not one of the steps that a saved recogniser may "
                             f"have: {', '.join(STEPS)}")
        for key, value in step.items():
            if not _is_plain(value):
                raise ValueError(f"{where}.{number}: {key} of {kind} is no plain value: {value!r:.100}")


def _check_keys(node: Mapping, where: str, **known: Callable[[Any], bool]) -> None:
    for key, fits in known.items():
        if key not in node:
            raise ValueError(f"{where}{key} is missing")
        if not fits(node[key]):
            raise ValueError(f"{where}{key} is {node[key]!r:.100}, which is not {(fits.__doc__ or '').rstrip('.')}")
    for key in node:
        if key not in known:
            raise ValueError(f"nothing reads {where}{key}" + did_you_mean(key, known))


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(entry) for entry in value)
    return value is None or isinstance(value, str | bool | int) or isinstance(value, float) and math.isfinite(value)


def _text(value: object) -> bool:
    """a text."""
    return isinstance(value, str)


def _text_or(value: object) -> bool:
    """a text or null."""
    return value is None or isinstance(value, str)


def _arch(value: object) -> bool:
    """an architecture of open_clip, by name or as a config."""
    return isinstance(value, dict) or isinstance(value, str) and (value.startswith(HUB) or
                                                                  not value.startswith(SCHEMES))


def _mapping(value: object) -> bool:
    """an object."""
    return isinstance(value, dict)


def _mapping_or(value: object) -> bool:
    """an object or null."""
    return value is None or isinstance(value, dict)


def _list(value: object) -> bool:
    """a list."""
    return isinstance(value, list)


def _truth(value: object) -> bool:
    """true or false."""
    return isinstance(value, bool)


def _whole(value: object) -> bool:
    """a whole number."""
    return type(value) is int


def _count(value: object) -> bool:
    """a whole number of at least 1."""
    return type(value) is int and value >= 1


def _count_or(value: object) -> bool:
    """a whole number of at least 1 or null."""
    return value is None or _count(value)


def _number_or(value: object) -> bool:
    """a number or null."""
    return value is None or isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(value: object) -> bool:
    """three numbers."""
    return isinstance(value, list) and len(value) == 3 and all(entry is not None and _number_or(entry)
                                                               for entry in value)


def _size_or(value: object) -> bool:
    """a side in pixels, height and width, or null."""
    return _count_or(value) or isinstance(value, list) and len(value) == 2 and all(map(_count, value))
