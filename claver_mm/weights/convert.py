"""Checkpoints made into weights of this project alone.

Pure: imports torch alone; a config, where one is given, takes MMEngine.
"""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from ..files import written_whole
from .fitting import check_values, load_strict
from .layouts import convert_official
from .reading import read_state_dict


class Converted(NamedTuple):
    """What was written."""
    tensors: int
    values: int
    """Numbers in all tensors."""
    frames: int | None
    """Of the clips that the temporal embedding is for; None where there is none."""
    cast: int
    """Tensors that became float32."""


def convert_checkpoint(source: str | Path, target: str | Path, config: str | Path | None = None) -> Converted:
    """Write the weights of a checkpoint of the published code, or of a training here, to a file of their own.

    Args:
        source: The checkpoint (.pth, .pt, .safetensors).
        target: File to write, of ``torch.save``; it must not be there yet.
        config: A file or a shipped config by name, whose model the weights have to fit.

    Raises:
        FileExistsError: ``target`` is there.
        FileNotFoundError: No such checkpoint or config.
        ValueError: A checkpoint of another model, or values that are no numbers; the message names the file.
    """
    source, target = Path(source), Path(target)
    if target.exists():
        raise FileExistsError(f"{target} exists already; remove it or name another file")
    if target.suffix == ".safetensors":
        raise ValueError(f"{target} will be a file of torch.save; name it .pth")
    try:
        given = read_state_dict(source)
        ours = any(key.startswith("cls_head.") for key in given)
        state_dict = dict(given) if ours else convert_official(given)
        check_values(state_dict)
        if config is not None:
            load_strict(_build(config), state_dict, str(source))
    except ValueError as error:
        if str(source) in str(error):
            raise
        raise ValueError(f"{source}: {error}") from error
    with written_whole(target) as file:
        torch.save(dict(state_dict=state_dict, meta=dict(converted_from=source.name)), file)
    embedding = state_dict.get("neck.transformer.temporal_embedding")
    cast = 0 if ours else sum(value.is_floating_point() and value.dtype != torch.float32 for value in given.values())
    return Converted(len(state_dict), sum(value.numel() for value in state_dict.values()),
                     None if embedding is None else embedding.shape[1], cast)


def _build(config: str | Path) -> torch.nn.Module:
    from mmaction.registry import MODELS
    from mmengine.registry import DefaultScope

    from ..engine.configs import read_config

    cfg = read_config(config)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmaction")):
        return MODELS.build(cfg.model)
