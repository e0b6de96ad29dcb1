"""How frames were prepared when the weights of a tower were trained, by open_clip's own records.

Pure: imports open_clip, numpy and Pillow, nothing of ``mm*``.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
from open_clip.pretrained import download_pretrained_from_hf
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import Compose, Normalize, ToTensor

from .architectures import (
    CONFIG,
    LOCAL_DIR,
    PAPER_ARCHS,
    SCHEMES,
    Arch,
    bring_config,
    folder_of,
    shown_arch,
    tower_of,
    written_config,
)

RESIZE_MODES = ("shortest", "squash", "longest")
INTERPOLATIONS = ("bicubic", "bilinear")


@dataclass(frozen=True)
class Preprocessing:
    """From pixels to what an image tower takes."""

    size: tuple[int, int]
    """Height and width."""
    mean: tuple[float, float, float]
    """Of red, green and blue, for pixels from 0 to 1."""
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    """``shortest``: the short side to ``size``, the centre cropped; ``squash``: both sides, whatever the shape;
    ``longest``: the long side, the rest filled up."""

    def __post_init__(self) -> None:
        for name, known in (("resize_mode", RESIZE_MODES), ("interpolation", INTERPOLATIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; one of {', '.join(known)}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) != 3:
                raise ValueError(f"{name} has a number for red, green and blue, got {getattr(self, name)!r}")

    @property
    def mean_255(self) -> list[float]:
        """For pixels from 0 to 255, as data preprocessors of the host take it."""
        return [255 * value for value in self.mean]

    @property
    def std_255(self) -> list[float]:
        """For pixels from 0 to 255."""
        return [255 * value for value in self.std]

    def resized(self, frame: np.ndarray) -> np.ndarray:
        """An RGB frame ``(h, w, 3)`` in uint8 at the size of the tower, by open_clip's own steps; not yet
        normalised."""
        return np.asarray(self._steps(Image.fromarray(frame)))

    @cached_property
    def _steps(self) -> Compose:
        whole = image_transform_v2(PreprocessCfg(**{**asdict(self), "mode": "RGB"}), is_train=False)
        return Compose([step for step in whole.transforms if not isinstance(step, ToTensor | Normalize)])


def preprocessing_of(arch: Arch, pretrained: str | Path | None = None, given: str | Mapping | None = None,
                     image_size: int | tuple[int, int] | None = None) -> Preprocessing:
    """How frames are prepared for the weights of an architecture.

    Args:
        arch: See ``claver_mm.towers.architectures``.
        pretrained: An open_clip tag; ``hf-hub:`` or ``local-dir:``, which bring it; or a file, which says nothing of
            it; or None.
        given: What is known better: the tag that a file has the weights of, or ``mean``, ``std``, ``interpolation``,
            ``resize_mode`` that differ.
        image_size: Side of the input where it is not the architecture's.

    Raises:
        ValueError: A file, and weights of this architecture were trained with different preprocessing; or an unknown
            setting or tag.
    """
    if isinstance(given, str):
        _check_tag(given, arch)
    found = dict(given) if isinstance(given, Mapping) else {}
    if not {field.name for field in fields(Preprocessing)} - {"size"} <= set(found):  # not all of it is said
        found = _recorded(arch, given if isinstance(given, str) else pretrained)
    prepared = Preprocessing(tower_of(arch, image_size).image_size, _numbers(found["mean"]),
                             _numbers(found["std"]), found["interpolation"], found["resize_mode"])
    if given is None or isinstance(given, str):
        return prepared
    known = [field.name for field in fields(Preprocessing) if field.name != "size"]
    odd = [key for key in given if key not in known]
    if odd:
        raise ValueError(f"preprocessing takes {', '.join(known)}, not {odd[0]!r}; a size is said by image_size")
    changes = {key: _numbers(value) if key in ("mean", "std") else value for key, value in given.items()}
    return replace(prepared, **changes)


def _numbers(values: Iterable[float]) -> Any:
    """One for each colour, which ``Preprocessing`` counts."""
    return tuple(map(float, values))


def _recorded(arch: Arch, pretrained: str | Path | None) -> dict:
    """Settings under open_clip's names."""
    usual = asdict(PreprocessCfg())
    brought = bring_config(pretrained)
    if brought or not isinstance(arch, str) or arch.startswith(SCHEMES):
        own = _beside(str(pretrained)) if brought else \
            _beside(arch) if isinstance(arch, str) else written_config(arch).get("preprocess_cfg")
        return {**usual, **{key: value for key, value in (own or {}).items() if value is not None}}
    name = PAPER_ARCHS.get(arch, arch)
    tags = {tag: open_clip.get_pretrained_cfg(name, tag) for tag in _tags(arch)}
    if str(pretrained) in tags:
        return tags[str(pretrained)]
    kinds: dict[str, list[str]] = {}
    for tag, config in tags.items():
        kinds.setdefault(json.dumps([config[key] for key in ("mean", "std", "interpolation", "resize_mode")]),
                         []).append(tag)
    if len(kinds) > 1 and pretrained is not None:
        rare = min(kinds.values(), key=len)[0]
        raise ValueError(f"weights of {shown_arch(arch)} were trained with different preprocessing ({rare!r} is not "
                         f"as the others), and {str(pretrained)!r} does not say of which they are: give the tag, "
                         f"preprocessing={max(kinds.values(), key=len)[0]!r} say, or mean, std, interpolation and "
                         "resize_mode")
    return tags[max(kinds.values(), key=len)[0]] if kinds else usual


def _tags(arch: Arch) -> list[str]:
    """open_clip's tags of an architecture; a model that brings its own config has none."""
    if not isinstance(arch, str) or arch.startswith(SCHEMES):
        return []
    return open_clip.list_pretrained_tags_by_model(PAPER_ARCHS.get(arch, arch))


def _check_tag(given: str, arch: Arch) -> None:
    tags = _tags(arch)
    if given not in tags and not bring_config(given):
        raise ValueError(f"preprocessing={given!r} is no open_clip tag of {shown_arch(arch)}; its tags: "
                         f"{', '.join(tags) or 'none'}; or give mean, std, interpolation and resize_mode")


def _beside(name: str) -> dict:
    """``preprocess_cfg`` of a model on the hub or in a folder."""
    return json.loads(config_file(name).read_text()).get("preprocess_cfg") or {}


def config_file(name: str) -> Path:
    """The config file of ``hf-hub:ORGANISATION/NAME``, downloaded, or of ``local-dir:FOLDER``.

    Raises:
        ValueError: It cannot be had.
    """
    if name.startswith(LOCAL_DIR):
        path = folder_of(name) / CONFIG
    else:
        written_config(name)  # says why it cannot be had
        path = Path(download_pretrained_from_hf(open_clip.factory.parse_model_name(name)[1], filename=CONFIG))
    if not path.is_file():
        raise ValueError(f"no {CONFIG} in {path.parent}")
    return path
