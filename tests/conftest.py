"""Small models, small videos and the shared files that many tests use."""
from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
import claver_mm  # noqa: E402, F401, I001
from mmengine.registry import init_default_scope  # noqa: E402

init_default_scope("mmaction")

ROOT = Path(__file__).resolve().parents[1]
TINY = dict(
    embed_dim=32, quick_gelu=True,
    vision_cfg=dict(layers=3, width=64, head_width=32, patch_size=8, image_size=32),
    text_cfg=dict(context_length=24, width=32, heads=2, layers=2))
"""A CLIP of a few thousand weights beside its vocabulary."""


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def clips() -> Path:
    """Real video files, one of them damaged; they are not part of the project."""
    folder = Path(os.environ.get("CLAVER_TEST_CLIPS", ROOT.parent / "shared" / "clips"))
    if not folder.is_dir():
        pytest.skip(f"no real video files at {folder}; CLAVER_TEST_CLIPS names a folder with some")
    return folder


@pytest.fixture(scope="session")
def motion_videos(tmp_path_factory) -> Path:
    """48 training and 16 validation clips of the 8 motion classes."""
    from claver_mm.datasets.motion import make_motion_videos
    root = tmp_path_factory.mktemp("motion")
    make_motion_videos(root, num_train=48, num_val=16, seed=0, workers=1, progress=False)
    return root
