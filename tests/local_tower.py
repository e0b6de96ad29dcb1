"""A small tower in a folder, as open_clip and the hub keep one: what ``local-dir:`` and ``hf-hub:`` name."""
from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

MODEL = dict(embed_dim=32, vision_cfg=dict(layers=2, width=64, head_width=32, patch_size=8, image_size=32),
             text_cfg=dict(context_length=32, width=32, heads=2, layers=2))
PREPROCESS = dict(mean=[0.5, 0.5, 0.5], std=[0.25, 0.5, 0.5], interpolation="bilinear", resize_mode="squash")


def write_tower(folder: Path, **changes: object) -> torch.nn.Module:
    """Write config, preprocessing and random weights; open_clip's model of them."""
    config = MODEL | changes
    folder.mkdir(parents=True, exist_ok=True)
    model = open_clip.CLIP(**config).eval()
    (folder / "open_clip_config.json").write_text(json.dumps(dict(model_cfg=config, preprocess_cfg=PREPROCESS)))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()},
              folder / "open_clip_model.safetensors")
    return model
