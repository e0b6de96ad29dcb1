"""Any video, any labels."""
import json

import numpy as np
import pytest
import torch
from PIL import Image
from rankings import LABELS, alone, frames_of, scores

from claver_mm import Recognizer
from claver_mm.datasets import UnreadableVideo
from claver_mm.language import read_bank
from claver_mm.weights import WeightsDoNotFit


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
    ([], "no video was given"), (None, "must be uint8 RGB frames"),
    ([Image.fromarray(np.zeros((8, 8), np.uint16))] * 2, "mode 'I;16', which cannot be turned into RGB"),
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
    for ask in (recognizer.recognize, recognizer.embed, recognizer.view, recognizer.explain):
        with pytest.raises(FileNotFoundError, match="no video at .*nowhere.mp4$"):  # and nothing of annotation lists
            ask("nowhere.mp4")


def test_a_head_without_texts_is_refused(config):
    fixed = config.copy()
    fixed.model = dict(type="Recognizer3D", backbone=dict(type="CLIPBackbone", arch=config.model.backbone.arch),
                       cls_head=dict(type="I3DHead", num_classes=8, in_channels=64))
    with pytest.raises(ValueError, match="labels need a ContrastiveTextHead, the config has a I3DHead"):
        Recognizer(fixed)


@pytest.mark.parametrize("views", [None, 1, 2])
def test_scores_are_those_of_the_hosts_test_step(recognizer, video, views, monkeypatch):
    """For all views and by as many at a time as ``max_testing_views`` says."""
    monkeypatch.setattr(recognizer.model, "test_cfg", views and dict(max_testing_views=views))
    texts = recognizer.texts(LABELS, extra=["a dog sneezes"])
    inputs = dict(filename=video, label=-1, start_index=0, modality="RGB")
    found = dict(recognizer.recognize(video, texts))
    assert found == pytest.approx(alone(recognizer, inputs, texts), abs=1e-6)
    assert found == dict(recognizer.recognize(video, LABELS, extra=["a dog sneezes"]))


def test_one_view_is_that_of_the_validation(recognizer, video):
    one = recognizer.recognize(video, LABELS, views="one")
    with torch.no_grad():
        features = recognizer.claver.video_features(recognizer.view(video).clip)
        text = recognizer.claver.kept_text_features(recognizer.texts(LABELS))
        expected = recognizer.claver.logits(features, text).softmax(-1).mean(1)[0]
    assert dict(one) == pytest.approx(dict(zip(LABELS, expected.tolist())), abs=1e-6)
    with pytest.raises(ValueError, match="unknown views='two'; one of one, config"):
        recognizer.recognize(video, LABELS, views="two")


def test_videos_and_texts_are_embedded_in_one_space(recognizer, video):
    videos = recognizer.embed([video, frames_of(video), video], batch_size=2)
    assert videos.shape == (3, 32) and torch.allclose(videos.norm(dim=1), torch.ones(3))
    assert torch.allclose(recognizer.embed(video), videos[0], atol=1e-6)
    many = recognizer.embed(video, views="config")
    assert many.shape == (32,) and many.norm() == pytest.approx(1) and not torch.allclose(many, videos[0], atol=1e-4)
    texts = recognizer.embed_texts(LABELS)
    assert texts.shape == (10, 32) and torch.allclose(texts.norm(dim=1), torch.ones(10))
    assert torch.allclose(recognizer.embed_texts("chess"), texts[LABELS.index("chess")], atol=1e-6)
    scale = recognizer.head.clip.logit_scale.exp().item()
    ranked = recognizer.recognize(video, LABELS, templates=None, views="one")
    with torch.no_grad():
        similarity = recognizer.claver.video_features(recognizer.view(video).clip)[0] @ texts.T
    assert dict(ranked) == pytest.approx(dict(zip(LABELS, (scale * similarity).softmax(0).tolist())), abs=1e-5)
    for wrong in ([], [1], ["a", None]):
        with pytest.raises(ValueError, match="texts must be"):
            recognizer.embed_texts(wrong)


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "RGBA", "CMYK"])
def test_images_of_pillow_are_turned_into_rgb(recognizer, video, mode):
    """Hue, saturation and value were taken for red, green and blue."""
    images = [Image.fromarray(frame) for frame in frames_of(video)]
    want = dict(recognizer.recognize(images, LABELS))
    got = dict(recognizer.recognize([image.convert(mode) for image in images], LABELS))
    assert got == pytest.approx(want, abs=2e-3)


def test_scores_that_are_no_numbers_are_refused(recognizer, video):
    bias = recognizer.claver.clip.ln_post.bias
    with torch.no_grad():
        before = bias[0].item()
        bias[0] = torch.nan
        try:
            for ask in (recognizer.recognize, recognizer.embed):
                with pytest.raises(ValueError, match="no numbers came out for .*val.*not finite"):
                    ask(video)
        finally:
            bias[0] = before
