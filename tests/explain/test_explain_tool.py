"""claver explain and tools/study_motion.py as one calls them."""
import json
import runpy
import sys

import pytest
import torch
from claver_mm_cli import MISTAKE, main
from mmaction.registry import MODELS
from mmengine.config import Config
from toy import ROOT


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    """The model of configs/claver_motion_explained.py, not trained."""
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(ROOT / "configs" / "claver_motion_explained.py").model)
    path = tmp_path_factory.mktemp("explained") / "random.pth"
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


@pytest.fixture
def study(monkeypatch, capsys):
    """Runs tools/study_motion.py in this process: exit status, output, errors."""
    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["study_motion.py", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [*sys.path])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "tools/study_motion.py"), run_name="__main__")
        said = capsys.readouterr()
        return end.value.code, said.out, said.err
    return run


def explain(checkpoint: str, *arguments) -> int:
    return main(["explain", *map(str, arguments), "--config", "claver_motion_explained", "--checkpoint", checkpoint])


def test_a_video_becomes_a_picture_a_film_and_a_page(motion_videos, checkpoint, tmp_path, capsys):
    video = motion_videos / (motion_videos / "val.txt").read_text().split()[0]
    assert explain(checkpoint, video, "--text", "a red arrow rising", "--against", "a red arrow falling", "--out",
                   tmp_path / "new") == 0
    names = {f"{video.stem}_explained.{kind}" for kind in ("png", "mp4", "html")}
    assert {path.name for path in (tmp_path / "new").iterdir()} == names
    said = capsys.readouterr().out
    for word in ("similarity", "red", "arrow", "rising", *names):
        assert word in said


def test_a_video_that_is_not_there_is_named(checkpoint, tmp_path, capsys):
    assert explain(checkpoint, tmp_path / "none.mp4") == MISTAKE
    assert "claver explain: error: " in (said := capsys.readouterr().err) and "none.mp4" in said


def test_the_motion_study_names_a_checkpoint_that_is_not_there(study, tmp_path):
    status, _, errors = study("--checkpoint", tmp_path / "none.pth", "--work-dir", tmp_path)
    assert status == 2 and "none.pth" in errors and "Traceback" not in errors


def test_the_motion_study_counts_objects_deletions_and_words(study, checkpoint, tmp_path):
    status, output, _ = study("--checkpoint", checkpoint, "--work-dir", tmp_path, "--count", 4)
    assert status == 0
    found = json.loads((tmp_path / "study.json").read_text())
    assert set(found["maps"]) == {"spatial", "temporal", "combined"}
    assert all(row["object_over_background"] > 0 for row in found["maps"].values())
    for row in found["words"].values():
        assert sum(row[role] for role in ("article", "colour", "noun", "verb")) == pytest.approx(1)
    # the untrained model is that of the checkpoint, so both rows are of the same weights
    assert found["words"]["before training"] == pytest.approx(found["words"]["after"], abs=1e-3)
    assert (tmp_path / "study.md").read_text().strip() in output
