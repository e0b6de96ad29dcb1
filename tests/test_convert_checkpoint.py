"""Checkpoints made fit to be published."""
import pytest
import torch

from claver_mm.weights.convert import convert_checkpoint

WEIGHTS = {"backbone.x": torch.ones(2), "neck.y": torch.ones(3), "cls_head.z": torch.ones(1)}


def test_of_a_training_the_weights_alone_are_left(tmp_path):
    """It was refused as no checkpoint of the published code; MMAction2's own tool cannot read one on today's torch."""
    source, target = tmp_path / "epoch_1.pth", tmp_path / "ours.pth"
    torch.save(dict(state_dict=WEIGHTS, optimizer=dict(state={0: torch.ones(9)}), message_hub={}, meta={}), source)
    assert convert_checkpoint(source, target) == (3, 6, None, 0)
    written = torch.load(target, weights_only=True)
    assert set(written) == {"state_dict", "meta"}
    assert all(torch.equal(written["state_dict"][key], value) for key, value in WEIGHTS.items())


def test_a_shipped_config_says_what_does_not_fit_and_nothing_is_written(tmp_path):
    """The model was built from the config as written, whose parts that follow from others were missing."""
    torch.save(WEIGHTS, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="w.pth"):
        convert_checkpoint(tmp_path / "w.pth", tmp_path / "ours.pth", "claver_motion")
    with pytest.raises(FileExistsError, match="w.pth exists already"):
        convert_checkpoint(tmp_path / "w.pth", tmp_path / "w.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]
