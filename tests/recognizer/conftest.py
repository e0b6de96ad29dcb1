"""One small recogniser and one video for all that is asked of a ``Recognizer``."""

import pytest
import torch
from mmengine.config import Config
from toy import toy_config

from claver_mm import Recognizer


@pytest.fixture(scope="session")
def config(motion_videos, tmp_path_factory) -> Config:
    return toy_config("claver_motion", motion_videos, tmp_path_factory.mktemp("recognizer"))


@pytest.fixture(scope="session")
def recognizer(config) -> Recognizer:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="no checkpoint.*random"):
        return Recognizer(config, device="cpu")


@pytest.fixture(scope="session")
def video(motion_videos) -> str:
    return str(motion_videos / (motion_videos / "val.txt").read_text().split()[0])
