"""Recognisers of small towers, saved; one video for all of them."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config
from toy import toy_config

from claver_mm import Recognizer


@pytest.fixture(scope="session")
def video() -> np.ndarray:
    """Frames in memory."""
    return np.random.default_rng(0).integers(0, 255, (12, 40, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def build(motion_videos, tmp_path_factory):
    """A recogniser of a small tower with random weights, every one of them away from where it begins."""
    def made(name: str, arch: dict | None = None, **changes) -> Recognizer:
        config = toy_config(name, motion_videos, tmp_path_factory.mktemp("saved"), arch, **changes)
        return random_weights(config)
    return made


def random_weights(config: Config) -> Recognizer:
    torch.manual_seed(0)
    recognizer = Recognizer(config, device="cpu", untrained=True)
    with torch.no_grad():
        for name, parameter in recognizer.model.named_parameters():
            if name.startswith("neck") or not parameter.count_nonzero():  # a residual that begins as zero is no test
                parameter.add_(torch.randn_like(parameter) * 0.02)
    return recognizer


@pytest.fixture(scope="session")
def recognizer(build) -> Recognizer:
    """Of a whole small model with a temporal part and texts of its own."""
    return build("claver_motion")


@pytest.fixture()
def folder(recognizer, tmp_path):
    return recognizer.save_pretrained(tmp_path / "motions")
