"""Real files through MMAction2's public API."""
import pytest
import torch
from mmaction.apis import inference_recognizer, init_recognizer
from toy import toy_config

from claver_mm.datasets import UnreadableVideo
from claver_mm.weights import WeightsDoNotFit


@pytest.fixture(scope="module")
def recogniser(motion_videos, tmp_path_factory):
    cfg = toy_config("claver_b16_k400", motion_videos, tmp_path_factory.mktemp("real"))
    cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    torch.manual_seed(0)
    return init_recognizer(cfg, device="cpu")


@pytest.mark.parametrize("name", ["arm_wrestling.mp4", "test.mp4", "test.avi"])
def test_public_api_recognises_a_real_video(recogniser, clips, name):
    scores = inference_recognizer(recogniser, str(clips / name)).pred_score
    assert scores.shape == (8,) and torch.isclose(scores.sum(), torch.tensor(1.0))
    assert torch.equal(scores, inference_recognizer(recogniser, str(clips / name)).pred_score)


def test_the_damaged_video_is_named(recogniser, clips):
    with pytest.raises(UnreadableVideo, match="corrupted.mp4"):
        inference_recognizer(recogniser, str(clips / "corrupted.mp4"))


def test_the_public_api_refuses_a_checkpoint_of_another_model(recogniser, tmp_path):
    torch.save(dict(state_dict={"visual.proj": torch.zeros(1)}), tmp_path / "foreign.pth")
    with pytest.raises(WeightsDoNotFit, match="no weight of the image tower.*claver convert"):
        init_recognizer(recogniser.cfg, str(tmp_path / "foreign.pth"), device="cpu")


def test_the_public_api_refuses_a_checkpoint_of_another_size(recogniser, tmp_path):
    """``init_recognizer`` alone goes on with random weights and a warning in the log."""
    state_dict = recogniser.state_dict()
    state_dict["neck.transformer.resblocks.0.ln_1.weight"] = torch.zeros(7)
    torch.save(dict(state_dict=state_dict), tmp_path / "other.pth")
    with pytest.raises(WeightsDoNotFit, match=r"neck.transformer.resblocks.0.ln_1.weight \(7,\) instead of \(64,\)"):
        init_recognizer(recogniser.cfg, str(tmp_path / "other.pth"), device="cpu")
