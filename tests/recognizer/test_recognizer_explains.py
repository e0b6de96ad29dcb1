"""A video and a text explained by a ``Recognizer``."""

import numpy as np
import pytest
from rankings import LABELS, frames_of

from claver_mm.datasets import UnreadableVideo


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
