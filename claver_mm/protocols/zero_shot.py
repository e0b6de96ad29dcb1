"""Which classes are new: the draws of Kinetics-600, and base and novel halves of a class list.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ..messages import quoted


@dataclass(frozen=True)
class Kinetics600ZeroShot:
    """Classes of the zero-shot protocol on Kinetics-600, after Chen and Huang (ICCV 2021).

    Attributes:
        novel: The 220 classes of Kinetics-600 that Kinetics-400 has not, under any name.
        draws: The three public draws of 160 of them to test on.
        renamed: What Kinetics-600 calls the 12 classes of Kinetics-400 that it renamed.
    """
    novel: tuple[str, ...]
    draws: tuple[tuple[str, ...], ...]
    renamed: dict[str, str]


@cache
def kinetics600_zero_shot() -> Kinetics600ZeroShot:
    """The classes, from ``kinetics600_zero_shot.json``."""
    facts = json.loads((files(__package__) / "kinetics600_zero_shot.json").read_text(encoding="utf-8"))
    return Kinetics600ZeroShot(tuple(facts["novel_classes"]), tuple(map(tuple, facts["test_splits"])),
                               facts["renamed_k400_to_k600"])


def base_and_novel(classes: Sequence[str], base: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """Base classes, which are trained on, and novel ones, both in the order of the list.

    Args:
        classes: The class list.
        base: The base classes; where None, the first half of the list, rounded up, as CoCoOp splits its data sets
            (Zhou et al., CVPR 2022). ViFi-CLIP (CVPR 2023) chooses others, so numbers compare only under one choice.

    Raises:
        ValueError: A base class that the list has not, or no class that is novel.
    """
    if base is None:
        middle = (len(classes) + 1) // 2
        return list(classes[:middle]), list(classes[middle:])
    unknown = [name for name in base if name not in classes]
    if unknown:
        raise ValueError(f"base class {quoted(unknown[0])} is none of the {len(classes)} classes")
    novel = [name for name in classes if name not in base]
    if not novel or not base:
        raise ValueError(f"{len(base)} base classes of {len(classes)} leave {len(novel)} novel ones; both are needed")
    return [name for name in classes if name in base], novel
