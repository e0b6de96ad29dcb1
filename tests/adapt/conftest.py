"""Videos of one's own, and a small tower that was not trained on them."""
from __future__ import annotations

import os

import pytest
import torch
from toy import toy_config

from claver_mm import Recognizer


@pytest.fixture(scope="session")
def own_videos(motion_videos, tmp_path_factory):
    """A folder of four classes, 6 videos for training and 2 held out in each."""
    from claver_mm.video.motion import MOTION_CLASSES

    root = tmp_path_factory.mktemp("own")
    for split in ("train", "val"):
        for line in (motion_videos / f"{split}.txt").read_text().splitlines():
            path, _, label = line.rpartition(" ")
            if int(label) < 4:
                place = root / split / MOTION_CLASSES[int(label)] / os.path.basename(path)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(motion_videos / path, place)
    return root


@pytest.fixture(scope="session")
def tower(motion_videos, tmp_path_factory) -> Recognizer:
    """The mean over frames of a random tower."""
    torch.manual_seed(0)
    return Recognizer(toy_config("claver_motion_mean", motion_videos, tmp_path_factory.mktemp("tower")), device="cpu",
                      untrained=True)
