"""From a folder of videos to a recogniser: what it begins as, what is kept, what a kill costs, what is reported."""
import shutil
from dataclasses import replace

import pytest
import torch

from claver_mm.adapt.adapter import Settings, adapt
from claver_mm.adapt.encode import Encoded, Sight
from claver_mm.adapt.look import look
from claver_mm.adapt.start import Temporal, started
from claver_mm.adapt.training import Schedule
from claver_mm.model import CLAVER
from claver_mm.protocols.clips import read_clips

SHORT = Settings(schedule=Schedule(epochs=3, min_steps=1, batch_size=8), lr=3e-3, temporal=Temporal(depth=1))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def adapted(tower, own_videos, cache):
    return adapt(tower, own_videos, SHORT, cache=cache, workers=0)


def learnt_weights(adapted):
    return {name: value for name, value in adapted.recognizer.model.state_dict().items()
            if name.startswith("neck.") or "text_offsets" in name}


@pytest.mark.parametrize("width", [None, 32])
def test_it_begins_with_the_answers_that_the_tower_gives(width, tower, own_videos, tmp_path):
    videos = look(read_clips(own_videos))
    begun = started(tower, videos.classes, Temporal(embed_dims=width))
    video = videos.clips[0].path
    ours = {label: score for label, score in begun.recognize(video)}
    templates = ["{}", "a shape {}", "a video of something {}"]
    theirs = dict(tower.recognize(video, list(videos.classes), templates=templates))
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert tower.claver.temporal is None and len(tower.head.texts) == 8  # stays as it is
    learning = {name.split(".")[0] for name, p in begun.claver.named_parameters() if p.requires_grad}
    assert learning == {"temporal", "clip"} | ({"project"} if width else set())
    encoded = Encoded(begun, videos, Sight(), tmp_path)
    encoded.encode(workers=0)
    exact = begun.claver.image_tokens(begun.view(video).clip)
    assert (encoded.tokens([0]) - exact).abs().max() <= exact.abs().max() * 2 ** -11


def test_what_trains_is_the_temporal_part_and_the_texts(adapted, tower):
    weights, before = adapted.recognizer.model.state_dict(), tower.model.state_dict()
    changed = {name for name, value in weights.items() if name not in before or not torch.equal(value, before[name])}
    assert {name for name in changed if not name.startswith("neck.")} == {
        "cls_head.clip.text_offsets", "cls_head.clip.logit_scale"}  # the temperature
    assert any(value.abs().sum() > 0 for name, value in weights.items() if name.endswith("attn.out_proj.weight"))


def test_the_report_counts_what_was_held_out(adapted):
    report = adapted.report
    assert (report["training"], report["held_out"]) == (24, 8)
    assert [row["held_out"] for row in report["classes"]] == [2, 2, 2, 2]
    assert sum(map(sum, report["confusion"])) == 8
    right = sum(report["confusion"][c][c] for c in range(4))
    assert report["accuracy"] == right / 8 and report["interval"][0] < report["accuracy"] < report["interval"][1]
    assert len(report["held_out_by_epoch"]) == len(report["losses"]) + 1
    assert [clip["probability"] for clip in report["clips"]] == sorted(clip["probability"] for clip in report["clips"])
    assert report["calibration_error"] <= 1 and report["elsewhere"]["classes"] == 400


def test_the_recogniser_gives_the_scores_that_were_reported(adapted):
    for place, row in list(zip(adapted.held_out, adapted.probabilities))[:3]:
        scores = dict(adapted.recognizer.recognize(adapted.videos.clips[place].path, views="one"))
        assert [scores[name] for name in adapted.videos.classes] == pytest.approx(row.tolist(), abs=2e-3)


def test_a_second_run_encodes_nothing_and_comes_to_the_same(adapted, tower, own_videos, cache, monkeypatch):
    monkeypatch.setattr(CLAVER, "image_tokens", lambda *_: pytest.fail("encoded once more"))
    again = adapt(tower, own_videos, SHORT, cache=cache, workers=0)
    for name, value in learnt_weights(adapted).items():
        assert torch.equal(learnt_weights(again)[name], value), name


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_run_that_is_stopped_goes_on_to_the_same_weights(after, adapted, tower, own_videos, cache):
    def stop(text):
        if (f"epoch {after}/" if after else "trained: ") in text:
            raise KeyboardInterrupt

    lines = []
    with pytest.raises(KeyboardInterrupt):
        adapt(tower, own_videos, SHORT, cache=cache, workers=0, say=stop)
    again = adapt(tower, own_videos, SHORT, cache=cache, workers=0, say=lines.append)
    assert (f"goes on after epoch {after}" in lines) == (after > 0)
    for name, value in learnt_weights(adapted).items():
        assert torch.equal(learnt_weights(again)[name], value), name


def test_a_way_of_nothing_ends_where_it_began(tower, own_videos, cache):
    found = adapt(tower, own_videos, replace(SHORT, alpha=0.0), cache=cache, workers=0)
    assert found.report["alphas"] == [dict(alpha=0.0, accuracy=found.report["zero_shot"])]
    assert all(value.abs().sum() == 0 for name, value in learnt_weights(found).items() if "out_proj" in name)


def test_class_tokens_alone_train_a_part_that_reads_them_alone(tower, own_videos, cache):
    settings = replace(SHORT, sight=Sight("class"))
    found = adapt(tower, own_videos, settings, cache=cache, workers=0)
    assert found.recognizer.claver.temporal.pattern == "class_token"
    place = found.held_out[0]
    scores = dict(found.recognizer.recognize(found.videos.clips[place].path, views="one"))
    assert [scores[name] for name in found.videos.classes] == pytest.approx(found.probabilities[0].tolist(), abs=2e-3)


def test_a_grid_of_fewer_tokens_is_part_of_the_recogniser(tower, own_videos, cache):
    found = adapt(tower, own_videos, replace(SHORT, sight=Sight("grid2")), cache=cache, workers=0)
    assert found.recognizer.claver.token_grid == 2
    place = found.held_out[0]
    scores = dict(found.recognizer.recognize(found.videos.clips[place].path, views="one"))
    assert [scores[name] for name in found.videos.classes] == pytest.approx(found.probabilities[0].tolist(), abs=2e-3)


def test_augmented_views_are_others_and_the_same_each_time(tower, own_videos, tmp_path):
    videos = look(read_clips(own_videos))
    begun = started(tower, videos.classes, Temporal())
    kept = [Encoded(begun, videos, Sight(views=3), tmp_path / str(n)) for n in range(2)]
    tokens = [[one.tokens([0], view) for view in range(3)] for one in kept]
    for first, second in zip(*tokens):
        assert torch.equal(first, second)
    assert not torch.equal(tokens[0][0], tokens[0][1]) and not torch.equal(tokens[0][1], tokens[0][2])


def test_lora_trains_the_tower_and_is_merged(tower, own_videos, cache):
    found = adapt(tower, own_videos, replace(SHORT, lora=2, temporal=None), cache=cache, workers=0)
    weights, before = found.recognizer.model.state_dict(), tower.model.state_dict()
    assert set(weights) == {*before, "cls_head.clip.text_offsets"}
    changed = {name for name, value in before.items() if not torch.equal(weights[name], value)}
    attention = {name for name in before if name.startswith("backbone.")
                 and name.endswith(("in_proj_weight", "out_proj.weight"))}
    assert found.report["alpha"] == 0 or changed - {"cls_head.clip.logit_scale"} == attention
    place = found.held_out[0]
    scores = dict(found.recognizer.recognize(found.videos.clips[place].path, views="one"))
    assert [scores[name] for name in found.videos.classes] == pytest.approx(found.probabilities[0].tolist(), abs=1e-4)


def test_lora_trains_the_text_tower_on_kept_tokens(tower, own_videos, cache, monkeypatch):
    monkeypatch.setattr(CLAVER, "image_tokens", lambda *_: pytest.fail("encoded once more"))
    found = adapt(tower, own_videos, replace(SHORT, lora_text=2, text_offsets=False, alpha=1.0), cache=cache, workers=0)
    weights, before = found.recognizer.model.state_dict(), tower.model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(weights[name], value)}
    assert found.report["best_epoch"] == 0 or changed - {"cls_head.clip.logit_scale"} == {
        name for name in before if name.startswith("cls_head.clip.text.") and ".attn." in name
        and name.endswith(("in_proj_weight", "out_proj.weight"))}


def test_nothing_to_learn_is_refused(tower, own_videos, cache):
    with pytest.raises(ValueError, match="nothing is to learn"):
        adapt(tower, own_videos, replace(SHORT, temporal=None, text_offsets=False), cache=cache, workers=0)


def test_a_video_that_breaks_while_it_is_encoded_is_left_out_and_said(tower, own_videos, tmp_path):
    shutil.copytree(own_videos, tmp_path / "own")
    victim = sorted((tmp_path / "own/train").rglob("*.mp4"))[-1]  # the first are encoded to see how long it takes
    lines = []

    def say(text):
        lines.append(text)
        if "clips to learn from" in text:
            victim.write_bytes(victim.read_bytes()[:500])

    found = adapt(tower, tmp_path / "own", SHORT, cache=tmp_path / "cache", workers=0, say=say)
    assert found.report["training"] == 23 and victim.name in found.report["left_out"][0]
    assert any(line.startswith("left out: ") and victim.name in line for line in lines)


def test_without_held_out_videos_it_trains_and_measures_nothing(tower, own_videos, cache):
    found = adapt(tower, own_videos / "train", replace(SHORT, held_out=0.0), cache=cache, workers=0)
    assert found.report["accuracy"] is None and found.report["alpha"] == 1 and found.report["threshold"] is None
    assert found.report["best_epoch"] == 3


def test_other_labels_are_told_before_and_after(tower, own_videos, motion_videos, cache):
    found = adapt(tower, own_videos, SHORT, others=own_videos / "val", cache=cache, workers=0)
    elsewhere = found.report["elsewhere"]
    assert elsewhere["clips"] == 8 and elsewhere["classes"] == 4
    assert elsewhere["before"] == found.report["zero_shot"] or elsewhere["before"] >= 0
    assert 0 <= elsewhere["after"] <= 1
