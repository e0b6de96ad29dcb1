"""Weights: read from files that are looked at first, renamed, and loaded strictly. Pure: nothing of ``mm*``."""
from .fitting import WeightsDoNotFit, check_values, load_strict, refuse_other_sizes
from .layouts import (
    NOT_WEIGHTS,
    OFFICIAL_RENAMES,
    StateDict,
    clip_layout,
    convert_official,
    head_weights,
    image_trunk_weights,
)
from .reading import load_file, read_state_dict
from .torchscript import is_torchscript

__all__ = ["NOT_WEIGHTS", "OFFICIAL_RENAMES", "StateDict", "WeightsDoNotFit", "check_values", "clip_layout",
           "convert_official", "head_weights", "image_trunk_weights", "is_torchscript", "load_file", "load_strict",
           "read_state_dict", "refuse_other_sizes"]
