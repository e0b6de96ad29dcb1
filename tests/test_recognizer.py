"""Any video, any labels."""
import copy
import json
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import decord
import numpy as np
import open_clip
import pytest
import torch
from claver_mm_cli import MISTAKE, main
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from PIL import Image
from toy import TINY, toy_config

from claver_mm import Recognizer
from claver_mm.datasets import UnreadableVideo
from claver_mm.language import read_bank
from claver_mm.recognizer import UntrainedWarning
from claver_mm.streaming import VideoStream
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


def alone(recognizer, inputs, texts) -> list[float]:
    """Scores by the host's test step, with the texts in its head."""
    model, before = recognizer.model, recognizer.head.texts
    recognizer.head.texts = texts
    try:
        with torch.no_grad():
            sample, = model.test_step(pseudo_collate([recognizer._pipelines["config"](inputs)]))
    finally:
        recognizer.head.texts = before
    return dict(zip(texts.names, sample.pred_score.tolist()))


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


def run_tool(*args) -> int:
    return main(["recognize", *map(str, args), "--device", "cpu", "--untrained", "--config", "claver_motion"])


def test_the_tool_prints_a_table_and_goes_on_after_a_video_it_cannot_read(video, tmp_path, capsys):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert run_tool(tmp_path / "broken.mp4", video, "--labels", *LABELS, "--top", 3) == 1
    said = capsys.readouterr()
    assert "broken.mp4 cannot be opened" in said.err
    lines = [line for line in said.out.splitlines() if line.startswith("  ")]
    assert len(lines) == 3 and all("%" in line for line in lines)
    assert video in said.out.splitlines()


def test_the_tool_prints_json_for_labels_from_a_file(video, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    assert run_tool(video, "--labels-file", tmp_path / "labels.txt", "--extra", "a dog sneezes", "--json", "--top",
                    11) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["video"] == video
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
    passes, features = [], recognizer._video_features
    monkeypatch.setattr(recognizer, "_video_features", lambda clips: passes.append(1) or features(clips))
    assert "a red arrow" in [label for label, _ in recognizer.explain(video, "a red arrow", LABELS, top=99).ranked]
    assert len(recognizer.explain(video, LABELS[0], LABELS, top=99).ranked) == len(LABELS)
    assert len(passes) == 2


def test_one_video_at_a_time_is_explained(recognizer, video, clips):
    with pytest.raises(ValueError, match="one video at a time"):
        recognizer.explain([video, video])
    with pytest.raises(UnreadableVideo, match="corrupted"):
        recognizer.explain(clips / "corrupted.mp4")
    assert recognizer.explain(list(frames_of(video)), "falling").text == "falling"


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


def test_threads_that_share_a_recogniser_get_the_answers_of_calls_alone(recognizer, video):
    """About half the answers carried another call's scores: the labels of a call lay in the shared head."""
    frames = frames_of(video)
    lists = [["alpha one", "alpha two", "alpha three"], ["gamma red", "gamma blue", "gamma green"], LABELS, None]
    tensor = torch.from_numpy(frames[:4, :32, :32]).float().div(255).permute(3, 0, 1, 2)[None]

    def stream(labels):
        texts = recognizer.texts(labels)
        feed = VideoStream(recognizer.claver, beyond="window", texts=texts)
        return [feed.push(tensor[:, :, t]).logits for t in range(2)][-1].flatten().tolist()

    def act(number):
        labels = lists[number % 4]
        if number % 5 == 2:  # hooks of an explanation kept what other threads ran
            found = recognizer.explain(frames, "a red arrow", labels)
            return found.ranked, found.words, found.combined.tolist()
        return (stream(labels) if number % 5 == 3 else recognizer.embed(frames).tolist() if number % 5 == 4
                else recognizer.recognize(frames, labels))

    expected = [act(number) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(act, range(200)))
    assert all(found[number] == expected[number % 20] for number in range(200))


def test_what_a_set_of_labels_costs_is_paid_once(recognizer, video, monkeypatch):
    """All texts went through the tokenizer in every call, and through the text tower after every other labels."""
    labels, spent = [f"label number {number}" for number in range(20)], []
    clip = recognizer.head.clip
    tokenize, encode = recognizer.claver.tokenize, clip.text_features
    monkeypatch.setattr(recognizer.claver, "tokenize", lambda texts: spent.append("tokens") or tokenize(texts))
    monkeypatch.setattr(clip, "text_features", lambda *args, **how: spent.append("features") or encode(*args, **how))
    recognizer.recognize(video, labels)
    assert "tokens" in spent and spent.count("features") == 1
    recognizer.recognize(video, ["other", "labels"])
    spent.clear()
    recognizer.recognize(video, list(labels))
    assert not spent
    with torch.no_grad():
        clip.text.ln_final.bias.data.add_(0)  # written to, but not changed
        recognizer.recognize(video, labels)
        assert not spent
        clip.text.ln_final.bias.data.add_(1)
        recognizer.recognize(video, labels)
        clip.text.ln_final.bias.data.sub_(1)
    assert spent == ["features"]


def test_training_mode_left_on_changes_no_answer(recognizer, video):
    want = recognizer.recognize(video, LABELS), recognizer.embed_texts("chess").tolist()
    recognizer.model.train()
    try:
        got = recognizer.recognize(video, LABELS), recognizer.embed_texts("chess").tolist()
        recognizer.explain(video, "chess", LABELS)
        assert recognizer.model.neck.transformer.training  # as the user left it
    finally:
        recognizer.model.eval()
    assert got == want


def test_the_likeliest_label_is_explained_by_a_text_that_was_ranked(recognizer, video):
    """``ApplyEyeMakeup`` went to the tokenizer as one word that stands for no class."""
    found = recognizer.explain(video, None, ["ApplyEyeMakeup", "BabyCrawling"])
    assert found.text in ("apply eye makeup", "baby crawling") and len(found.words) > 1
    assert found.label == found.ranked[0].label in ("ApplyEyeMakeup", "BabyCrawling")
    assert recognizer.explain(video, "Chess\n", ["chess", "running"]).text == "chess"
    found = recognizer.explain(video, "a red arrow\n", ["chess", "running", "diving"], top=1)
    assert found.text == "a red arrow" and "a red arrow" in [label for label, _ in found.ranked]
    with pytest.raises(ValueError, match="the tokenizer leaves nothing of '&nbsp;'"):
        recognizer.explain(video, "&nbsp;", ["chess", "running"])


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


@pytest.mark.parametrize("pretrained, neck, says", [
    (True, True, "the temporal transformer of this config would be random"), (True, False, None),
    (False, True, UntrainedWarning), (False, False, UntrainedWarning)])
def test_a_model_that_is_random_in_part_is_refused_unless_asked_for(config, tmp_path, pretrained, neck, says):
    """``41.1 %`` was printed for a temporal transformer of random weights."""
    changed = config.copy()
    changed.model = copy.deepcopy(config.model)
    changed.model.neck = changed.model.neck if neck else None
    if pretrained:
        torch.save(open_clip.CustomTextCLIP(**TINY).state_dict(), tmp_path / "clip.pt")
        changed.model.backbone.pretrained = changed.model.cls_head.pretrained = str(tmp_path / "clip.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if says is None:
            Recognizer(changed, device="cpu")
        elif says is UntrainedWarning:
            with pytest.raises(UntrainedWarning, match="all weights of this config are random"):
                Recognizer(changed, device="cpu")
        else:
            with pytest.raises(ValueError, match=says):
                Recognizer(changed, device="cpu")
        Recognizer(changed, device="cpu", untrained=True)


def test_a_recogniser_leaves_the_settings_of_the_program_alone(config):
    """Logging that was switched off was on again, and the default scope was another."""
    logging.disable(logging.WARNING)
    level = MMLogger.get_current_instance().level
    try:
        with DefaultScope.overwrite_default_scope("mmengine"):
            own = Recognizer(config, device="cpu", untrained=True)
            assert DefaultScope.get_current_instance().scope_name == "mmengine"
        assert logging.root.manager.disable == logging.WARNING
    finally:
        logging.disable(logging.NOTSET)
    assert MMLogger.get_current_instance().level == level
    assert own.head.average_clips == "prob" == config.model.cls_head.get("average_clips", "prob")


def test_the_commands_refuse_random_weights_and_say_what_they_take_for_a_label(video, capsys):
    """A video behind ``--labels`` became a label."""
    for name in ("recognize", "explain"):
        config = ["--config", "claver_motion"]
        assert main([name, video, *config, "--labels", "a", "b"]) == MISTAKE
        out, errors = capsys.readouterr()
        assert not out and "give --checkpoint, or ask for --untrained" in errors
        assert errors.startswith(f"claver {name}: error: ")
        assert main([name, *config, "--labels", "a", "b", video]) == MISTAKE
        assert "put the video" in capsys.readouterr().err
