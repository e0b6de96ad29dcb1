"""Positional embeddings of an image tower, for another grid than they were trained for.

Pure: imports torch, open_clip and timm, nothing of ``mm*``.
"""
from __future__ import annotations

import math
import warnings

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn


def fit_positions_when_loading(visual: nn.Module) -> None:
    """Let weights of another input size load: their positional embedding is interpolated; and let the state of the
    tower say of which grid its positions are."""
    if isinstance(visual, VisionTransformer):
        visual.register_load_state_dict_pre_hook(_fit_clip_positions)
        visual.register_state_dict_post_hook(_note_grid)
    elif isinstance(visual, TimmModel) and getattr(visual.trunk, "pos_embed", None) is not None:
        visual.register_load_state_dict_pre_hook(_fit_timm_positions)


def _fit_timm_positions(visual: TimmModel, state_dict: dict, prefix: str, *_: object) -> None:
    """Load hook: by timm's own function, as its ``set_input_size`` does."""
    key, trunk = f"{prefix}trunk.pos_embed", visual.trunk
    positions = state_dict.get(key)
    if isinstance(positions, Tensor) and positions.ndim == 3 and positions.shape[1] != trunk.pos_embed.shape[1]:
        state_dict[key] = resample_abs_pos_embed(
            positions, new_size=trunk.patch_embed.grid_size,
            num_prefix_tokens=0 if trunk.no_embed_class else trunk.num_prefix_tokens)


def _note_grid(trunk: VisionTransformer, state_dict: dict, prefix: str, metadata: dict) -> None:
    """State-dict hook: the number of positions does not say of which grid they are; the state's metadata do."""
    metadata["grid"] = tuple(trunk.grid_size)


def _fit_clip_positions(trunk: VisionTransformer, state_dict: dict, prefix: str, metadata: dict, *_: object) -> None:
    """Load hook: positions of another grid are interpolated."""
    key = prefix + "positional_embedding"
    positions = state_dict.get(key)
    if isinstance(positions, Tensor) and positions.ndim == 2:
        grid = tuple(trunk.grid_size)
        state_dict[key] = resize_positions(positions, _grid_of(key, len(positions) - 1, grid, metadata.get("grid")),
                                           grid)


def _grid_of(key: str, count: int, grid: tuple[int, int], noted: object) -> tuple[int, int]:
    """The grid that ``count`` positions are of: as noted beside them; else square, as in all published files.

    Raises:
        ValueError: As many as no square and not the grid of the model has, and nothing noted.
    """
    if isinstance(noted, tuple) and len(noted) == 2 and all(type(side) is int for side in noted) \
            and noted[0] * noted[1] == count:
        return noted
    side = math.isqrt(count)
    old = (side, side) if side * side == count else grid
    if old[0] * old[1] != count:
        raise ValueError(f"{key} has {count} positions, which are no square grid and not the model's {grid[0]}x"
                         f"{grid[1]}; set image_size to that of the weights, (height, width)")
    if grid[0] != grid[1] and count == grid[0] * grid[1]:
        warnings.warn(f"{key} does not say of which grid its {count} positions are; taken for {old[0]}x{old[1]}, in a "
                      f"model of {grid[0]}x{grid[1]}", stacklevel=2)
    return old


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Positional embedding of another grid, ``(1 + h*w, D) -> (1 + h'*w', D)``, the class token's first.

    Bicubic, as open_clip's; in float32 where the weights are in half precision, in which torch cannot.
    """
    if old == new:
        return positions
    positions = positions if positions.dtype == torch.float64 else positions.float()
    patches = positions[1:].unflatten(0, old).permute(2, 0, 1).unsqueeze(0)
    patches = nn.functional.interpolate(patches, size=new, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], patches[0].flatten(1).transpose(0, 1)])
