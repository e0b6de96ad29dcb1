"""MMAction2's own inferencer on our configs; it swaps steps of the pipeline by their names."""
import copy
import logging

import av
import cv2
import numpy as np
import pytest
import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmaction.apis.inferencers import MMAction2Inferencer
from mmengine.dataset import Compose
from toy import toy_config


@pytest.fixture(scope="module")
def recogniser(motion_videos, tmp_path_factory):
    """(config file, weights, video) of a toy CLAVER."""
    folder = tmp_path_factory.mktemp("inferencer")
    cfg = toy_config("claver_motion", motion_videos, folder)
    cfg.dump(folder / "toy.py")
    logging.disable(logging.INFO)
    model = init_recognizer(cfg, device="cpu")
    model.init_weights()
    logging.disable(logging.NOTSET)
    torch.save(dict(state_dict=model.state_dict()), folder / "toy.pth")
    video = next((motion_videos / "val").glob("*.mp4"))
    return folder / "toy.py", folder / "toy.pth", video


def expected(config, weights, video) -> np.ndarray:
    """Scores by the config's pipeline with one crop for three, as the inferencer means it."""
    model = init_recognizer(str(config), str(weights), "cpu")
    steps = copy.deepcopy(model.cfg.test_dataloader.dataset.pipeline)
    for step in steps:
        step.type = "CenterCrop" if step.type == "ThreeCrop" else step.type
    return inference_recognizer(model, str(video), Compose(steps)).pred_score.numpy()


def frames_of(video) -> np.ndarray:
    with av.open(str(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("kind", ["video", "array", "rawframes"])
def test_the_inferencer_gives_the_scores_of_the_pipeline(recogniser, kind, tmp_path):
    """It put ``DecordDecode`` after our reader: ``'VideoReader' object has no attribute 'get_batch'``."""
    config, weights, video = recogniser
    given = str(video)
    if kind == "array":
        given = frames_of(video)
    elif kind == "rawframes":
        for number, frame in enumerate(frames_of(video), start=1):
            cv2.imwrite(str(tmp_path / f"img_{number:05}.jpg"), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
        given = str(tmp_path)
    inferencer = MMAction2Inferencer(str(config), str(weights), device="cpu", input_format=kind)
    found = inferencer(given)["predictions"][0]
    scores = expected(config, weights, video)
    assert found["rec_labels"][0] == [int(scores.argmax())]
    assert np.allclose(found["rec_scores"][0], scores, atol=1e-6 if kind != "rawframes" else 0.02)
