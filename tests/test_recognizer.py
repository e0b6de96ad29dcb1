"""Any video, any labels."""
import json
import subprocess
import sys

import decord
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from toy import ROOT, toy_config

from claver_mm import Recognizer
from claver_mm.datasets import UnreadableVideo
from claver_mm.language import read_bank
from claver_mm.weights import WeightsDoNotFit

LABELS = ["arm wrestling", "diving", "reading", "chess", "juggling", "running", "sleeping", "cooking", "singing",
          "skiing"]


@pytest.fixture(scope="module")
def config(motion_videos, tmp_path_factory) -> Config:
    return toy_config("claver_motion", motion_videos, tmp_path_factory.mktemp("recognizer"))


@pytest.fixture(scope="module")
def recognizer(config) -> Recognizer:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="no checkpoint.*random"):
        return Recognizer(config, device="cpu")


@pytest.fixture(scope="module")
def video(motion_videos) -> str:
    return str(motion_videos / (motion_videos / "val.txt").read_text().split()[0])


def frames_of(path: str) -> np.ndarray:
    return decord.VideoReader(path)[:].asnumpy()


def scores(ranked) -> list[float]:
    return [score for _, score in ranked]


def test_a_real_video_is_ranked_among_ten_labels_twice_alike(recognizer, clips):
    ranked = recognizer.recognize(clips / "arm_wrestling.mp4", LABELS)
    assert {label for label, _ in ranked} == set(LABELS)
    assert scores(ranked) == sorted(scores(ranked), reverse=True)
    assert sum(scores(ranked)) == pytest.approx(1)
    assert recognizer.recognize(clips / "arm_wrestling.mp4", LABELS) == ranked
    assert recognizer.recognize(clips / "arm_wrestling.mp4", LABELS, top=3) == ranked[:3]


def test_a_path_an_array_a_tensor_and_a_list_of_frames_are_the_same_video(recognizer, video):
    expected = recognizer.recognize(video, LABELS)
    array = frames_of(video)
    for same in (array, torch.from_numpy(array), list(array), [Image.fromarray(frame) for frame in array]):
        assert recognizer.recognize(same, LABELS) == expected


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_many_videos_are_ranked_as_each_alone(recognizer, motion_videos, batch_size):
    lines = (motion_videos / "val.txt").read_text().splitlines()[:3]
    videos = [str(motion_videos / line.split()[0]) for line in lines]
    videos[1] = frames_of(videos[1])
    together = recognizer.recognize(videos, LABELS, batch_size=batch_size)
    for one, ranked in zip(videos, together, strict=True):
        alone = recognizer.recognize(one, LABELS)
        assert [label for label, _ in alone] == [label for label, _ in ranked]
        assert scores(ranked) == pytest.approx(scores(alone), abs=1e-5)


def test_without_labels_the_classes_of_the_config_are_ranked(recognizer, video, motion_videos):
    before = recognizer.recognize(video)
    assert {label for label, _ in before} == set((motion_videos / "classes.txt").read_text().splitlines())
    recognizer.recognize(video, ["a", "b"])
    assert recognizer.recognize(video) == before


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".csv", ".txt", "mapping", "bank"])
def test_labels_may_be_a_bank(recognizer, video, tmp_path, suffix):
    bank = {"jumping": ["leaping up", "hopping"], "brush_hair": ["combing", "stroking hair with a brush"]}
    if suffix == ".csv":
        text = "class,text\n" + "".join(f"{name},{text}\n" for name, texts in bank.items() for text in texts)
    else:
        text = "\n".join(bank) if suffix == ".txt" else json.dumps(bank)
    labels = bank if suffix == "mapping" else read_bank(bank) if suffix == "bank" else tmp_path / f"labels{suffix}"
    if suffix.startswith("."):
        labels.write_text(text)
    ranked = recognizer.recognize(video, labels)
    assert {label for label, _ in ranked} == set(bank)
    expected = recognizer.recognize(video, list(bank) if suffix == ".txt" else bank)
    assert ranked == expected


def test_extra_texts_are_ranked_beside_the_labels_word_for_word(recognizer, video):
    """Appendix F of the paper."""
    extra = "a cartoon kangaroo disco dances"
    for labels in (["jumping", "running"], None):
        ranked = recognizer.recognize(video, labels, extra=[extra])
        assert extra in [label for label, _ in ranked]
        assert sum(scores(ranked)) == pytest.approx(1)
        without = recognizer.recognize(video, labels)
        assert len(ranked) == len(without) + 1
    single = recognizer.recognize(video, ["jumping", extra], templates=["{}"])
    beside = recognizer.recognize(video, ["jumping"], extra=[extra], templates=["{}"])
    assert dict(beside) == pytest.approx(dict(single), abs=1e-6)


def test_a_text_that_is_too_long_is_cut_with_a_warning_that_names_it(recognizer, video):
    with pytest.warns(UserWarning, match="is cut to the context of 24: 'walk walk"):
        recognizer.recognize(video, ["walk " * 50, "run"], templates=["{}"])


def test_a_checkpoint_is_loaded_whole_or_refused(recognizer, config, video, tmp_path):
    torch.save(dict(state_dict=recognizer.model.state_dict()), tmp_path / "whole.pth")
    loaded = Recognizer(config, tmp_path / "whole.pth", device="cpu")
    assert loaded.recognize(video, LABELS) == recognizer.recognize(video, LABELS)
    partly = recognizer.model.state_dict()
    partly.pop("neck.transformer.temporal_embedding")
    torch.save(dict(state_dict=partly), tmp_path / "partly.pth")
    with pytest.raises(WeightsDoNotFit, match="partly.pth does not fit the model; missing: neck.transformer.temporal"):
        Recognizer(config, tmp_path / "partly.pth")
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        Recognizer(config, tmp_path / "nowhere.pth")


@pytest.mark.parametrize("video, says", [
    (np.zeros((4, 8, 8, 3), np.float32), r"must be uint8 RGB frames \(T, h, w, 3\), got float32 \(4, 8, 8, 3\)"),
    (np.zeros((4, 3, 8, 8), np.uint8), r"got uint8 \(4, 3, 8, 8\)"),
    (np.zeros((0, 8, 8, 3), np.uint8), r"got uint8 \(0, 8, 8, 3\)"),
    ([np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)], "frames of a video must have one shape"),
    ([], "no video was given"),
])
def test_frames_that_are_no_video_are_named(recognizer, video, says):
    with pytest.raises(ValueError, match=says):
        recognizer.recognize(video, LABELS)


@pytest.mark.parametrize("labels, says", [
    ("running", "labels='running' is one string; give a list of names, or a file"),
    ([], "no labels"), (["a", "a"], "'a' stands"), (["a", " "], "empty"),
])
def test_labels_that_cannot_be_ranked_are_named(recognizer, video, labels, says):
    with pytest.raises(ValueError, match=says):
        recognizer.recognize(video, labels)


def test_videos_that_cannot_be_read_are_named(recognizer, clips):
    with pytest.raises(UnreadableVideo, match="corrupted.mp4"):
        recognizer.recognize(clips / "corrupted.mp4", LABELS)
    with pytest.raises(FileNotFoundError, match="no video at .*nowhere.mp4"):
        recognizer.recognize("nowhere.mp4", LABELS)


def test_a_head_without_texts_is_refused(config):
    fixed = config.copy()
    fixed.model = dict(type="Recognizer3D", backbone=dict(type="CLIPBackbone", arch=config.arch),
                       cls_head=dict(type="I3DHead", num_classes=8, in_channels=64))
    with pytest.raises(ValueError, match="labels need a ContrastiveTextHead, the config has a I3DHead"):
        Recognizer(fixed)


def run_tool(*args) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(ROOT / "tools/recognize.py"), *map(str, args), "--device", "cpu",
                           "--config", str(ROOT / "configs/claver_motion.py")], capture_output=True, text=True)


def test_the_tool_prints_a_table_and_goes_on_after_a_video_it_cannot_read(video, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    result = run_tool(tmp_path / "broken.mp4", video, "--labels", *LABELS, "--top", 3)
    assert result.returncode == 1 and "broken.mp4 cannot be opened" in result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("  ")]
    assert len(lines) == 3 and all("%" in line for line in lines)
    assert video in result.stdout.splitlines()


def test_the_tool_prints_json_for_labels_from_a_file(video, tmp_path):
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    result = run_tool(video, "--labels-file", tmp_path / "labels.txt", "--extra", "a dog sneezes", "--json",
                      "--top", 11)
    record = json.loads(result.stdout.splitlines()[-1])
    assert result.returncode == 0 and record["video"] == video
    assert {entry["label"] for entry in record["labels"]} == {*LABELS, "a dog sneezes"}
    assert sum(entry["score"] for entry in record["labels"]) == pytest.approx(1)


def test_a_video_and_a_text_are_explained_and_saved(recognizer, video, tmp_path):
    found = recognizer.explain(video, "a red arrow moving left", LABELS, top=3)
    assert [word for word, _ in found.words] == ["a", "red", "arrow", "moving", "left"]
    assert found.frames.shape == (4, 32, 32, 3) and found.frames.dtype == np.uint8
    assert found.spatial.shape == found.temporal.shape == found.combined.shape == (4, 4, 4)
    assert found.frame_relevance.shape == (4,) and found.frame_numbers == [1, 5, 9, 12]
    assert (found.frames == frames_of(video)[found.frame_numbers][:, :, 4:36]).all()  # the crop of the validation
    labels = [label for label, _ in found.ranked]
    assert len(labels) == 3 + ("a red arrow moving left" not in labels[:3]) and "a red arrow moving left" in labels
    found.save(tmp_path / "found.html")
    assert "a red arrow" in (tmp_path / "found.html").read_text()


def test_explaining_changes_no_answer(recognizer, video):
    before = recognizer.recognize(video, LABELS)
    recognizer.explain(video, "moving left", LABELS)
    assert recognizer.recognize(video, LABELS) == before


def test_without_a_text_the_likeliest_label_is_explained(recognizer, video):
    found = recognizer.explain(video)
    assert found.text == recognizer.recognize(video)[0].label == found.ranked[0].label
    assert len(found.ranked) == 5


def test_an_explanation_against_other_texts_is_another_one(recognizer, video):
    alone = recognizer.explain(video, "moving left")
    against = recognizer.explain(video, "moving left", against=["moving right", "rising"])
    assert against.against == ("moving right", "rising")
    assert against.similarity == pytest.approx(alone.similarity, abs=1e-6)
    assert not np.allclose(against.combined / against.combined.sum(), alone.combined / alone.combined.sum(), rtol=0.01)


def test_a_text_in_place_of_a_list_of_texts_is_refused(recognizer, video):
    """Its letters passed for texts."""
    with pytest.raises(ValueError, match="extra='rising' is one string; give a list"):
        recognizer.recognize(video, LABELS, extra="rising")
    with pytest.raises(ValueError, match="against='rising' is one string; give a list"):
        recognizer.explain(video, "falling", against="rising")


@pytest.mark.parametrize("options, says", [
    (dict(text="rising", against=["rising", "falling"]), "nothing speaks for 'rising' and not for itself"),
    (dict(top=0), "top must be at least 1, got 0"),
])
def test_what_cannot_be_explained_is_refused(recognizer, video, options, says):
    """Maps of zeros came out of a text against itself, an empty ranking out of top=0."""
    with pytest.raises(ValueError, match=says):
        recognizer.explain(video, **options)


def test_a_text_is_ranked_beside_labels_in_one_pass_over_the_video(recognizer, video, monkeypatch):
    """A video with a text that is no label went through the model twice, all its views."""
    passes, step = [], recognizer.model.test_step
    monkeypatch.setattr(recognizer.model, "test_step", lambda batch: passes.append(batch) or step(batch))
    assert "a red arrow" in [label for label, _ in recognizer.explain(video, "a red arrow", LABELS, top=99).ranked]
    assert len(recognizer.explain(video, LABELS[0], LABELS, top=99).ranked) == len(LABELS)
    assert len(passes) == 2


def test_one_video_at_a_time_is_explained(recognizer, video, clips):
    with pytest.raises(ValueError, match="one video at a time"):
        recognizer.explain([video, video])
    with pytest.raises(UnreadableVideo, match="corrupted"):
        recognizer.explain(clips / "corrupted.mp4")
    assert recognizer.explain(list(frames_of(video)), "falling").text == "falling"
