"""Scores along a video: those of each window alone, each frame decoded and encoded once."""
import cv2
import numpy as np
import pytest
import torch
from claver_mm_cli import MISTAKE, main
from local_tower import write_tower
from small import TOWERS
from toy import toy_config

from claver_mm import Recognizer
from claver_mm.datasets import UnreadableVideo
from claver_mm.model import CLAVER
from claver_mm.timeline.timeline import timeline
from claver_mm.video.decode import VideoReader

FPS, FRAMES = 10, 60


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Six seconds whose colours change."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (48, 40))
    rng = np.random.default_rng(0)
    for _ in range(FRAMES):
        writer.write(cv2.resize(rng.integers(0, 255, (5, 6, 3), dtype=np.uint8), (48, 40)))
    writer.release()
    return path


@pytest.fixture(scope="module", params=["claver_motion", "claver_motion_mean"])
def recognizer(request, motion_videos, tmp_path_factory):
    torch.manual_seed(0)
    return Recognizer(toy_config(request.param, motion_videos, tmp_path_factory.mktemp("toy")), device="cpu",
                      untrained=True)


def test_a_score_is_that_of_its_window_alone(recognizer, film):
    labels = ["rising", "falling", "growing"]
    found = timeline(recognizer, film, labels, window=2.0, every=1.0, frames_at_once=7, batch_size=2)
    frames = VideoReader(film).frames(range(FRAMES))
    assert found.scores.shape == (5, 3) and found.edges[0] == 0 and found.edges[-1] == FRAMES / FPS
    for number in range(5):  # 4 frames a window, half a second apart, in the middle of each half
        places = [int((0.25 + number + 0.5 * t) * FPS) for t in range(4)]
        video = list(np.repeat(frames[places], 8, axis=0))  # of which the pipeline samples each once
        alone = dict(recognizer.recognize(video, labels, views="one"))
        assert found.scores[number] == pytest.approx([alone[label] for label in labels], abs=1e-5)
    assert np.allclose(found.edges[1:-1], np.arange(1.5, 5, 1.0))


def test_no_frame_goes_through_the_tower_twice(recognizer, film, monkeypatch):
    seen, tokens = [], CLAVER.image_tokens
    monkeypatch.setattr(CLAVER, "image_tokens", lambda self, clips: seen.append(clips.shape[2]) or tokens(self, clips))
    found = timeline(recognizer, film, ["a", "b"], window=2.0, every=0.5)
    assert len(found.scores) == 9 and sum(seen) == 12


def test_a_part_of_a_video_is_that_part(recognizer, film):
    found = timeline(recognizer, film, ["a", "b"], window=1.0, every=1.0, start=2.0, end=5.0)
    assert (found.edges[0], found.edges[-1], len(found.scores)) == (2.0, 5.0, 3)
    whole = timeline(recognizer, film, ["a", "b"], window=1.0, every=1.0)
    np.testing.assert_allclose(found.scores, whole.scores[2:5], atol=1e-5)


def test_a_video_shorter_than_a_window_has_one_score(recognizer, film):
    found = timeline(recognizer, film, ["a", "b"], window=30.0)
    assert found.scores.shape == (1, 2) and found.edges.tolist() == [0, 6]


def test_a_background_takes_its_share_and_has_no_column(recognizer, film):
    plain = timeline(recognizer, film, ["a", "b"], window=2.0, templates=None)
    beside = timeline(recognizer, film, ["a", "b"], window=2.0, background=["an empty room"], templates=None)
    assert beside.labels == ("a", "b") and np.allclose(plain.scores.sum(axis=1), 1)
    assert (beside.scores.sum(axis=1) < 1).all()
    np.testing.assert_allclose(beside.scores / beside.scores.sum(axis=1, keepdims=True), plain.scores, atol=1e-4)


def test_labels_for_themselves_need_a_tower_that_says_yes_or_no(recognizer, film, motion_videos, tmp_path):
    with pytest.raises(ValueError, match="trained to choose among texts"):
        timeline(recognizer, film, ["a", "b"], independent=True)
    torch.manual_seed(0)
    siglip = Recognizer(toy_config("claver_motion_mean", motion_videos, tmp_path, TOWERS["siglip"]), device="cpu",
                        untrained=True)
    torch.nn.init.constant_(siglip.head.clip.logit_bias, 1.0)
    both = timeline(siglip, film, ["a", "b"], independent=True).scores
    one = timeline(siglip, film, ["b"], independent=True).scores
    np.testing.assert_allclose(both[:, 1:], one, atol=1e-5)


@pytest.mark.parametrize("how, error, words", [
    (dict(window=0.0), ValueError, "window must be above 0"), (dict(every=-1.0), ValueError, "every must be above 0"),
    (dict(start=7.0), UnreadableVideo, "has 6.00 s; the stretch from 7 s on is not in it")])
def test_times_that_make_no_sense_are_refused(how, error, words, recognizer, film):
    with pytest.raises(error, match=words):
        timeline(recognizer, film, ["a", "b"], **how)


def test_a_video_that_breaks_off_is_named(recognizer, film, tmp_path):
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[:2000])
    with pytest.raises(UnreadableVideo, match="cut.mp4"):
        timeline(recognizer, tmp_path / "cut.mp4", ["a", "b"])


def test_the_command_prints_and_writes(film, tmp_path, capsys):
    write_tower(tmp_path / "tower")
    words = ["timeline", film, "--tower", f"local-dir:{tmp_path / 'tower'}", "--labels", "a", "b", "--threshold", "0.1"]
    assert main([str(word) for word in (*words, "--out", tmp_path / "x.srt", tmp_path / "x.png")]) == 0
    assert "00:00:00.000" in capsys.readouterr().out and "-->" in (tmp_path / "x.srt").read_text()
    assert main([str(word) for word in (*words, "--out", tmp_path / "x.doc")]) == MISTAKE
    assert main([str(word) for word in (*words[:-1], "1.0")]) == 0
    assert "no label reaches the threshold; highest: a" in capsys.readouterr().out
