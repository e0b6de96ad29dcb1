"""Accuracy by class and confusions, counted by hand."""
import json

import numpy as np
import pytest

from claver_mm.protocols.class_report import ClassResult, Confusion, class_report

NAMES = ["run", "walk", "jump", "nap"]


def scores_of(*recognised: int) -> np.ndarray:
    """The class that is recognised first, the one after it second."""
    scores = np.zeros((len(recognised), 4))
    for row, label in zip(scores, recognised):
        row[label], row[(label + 1) % 4] = 2, 1
    return scores


def test_each_class_has_its_videos_right_answers_and_accuracy():
    report = class_report(scores_of(0, 1, 1, 0, 1), [0, 0, 0, 1, 1], NAMES, topk=(1, 2, 4))
    assert report.classes == [ClassResult("run", 3, 1, 1 / 3, 0), ClassResult("walk", 2, 1, 0.5, 0),
                              ClassResult("jump", 0, 0, None, 0), ClassResult("nap", 0, 0, None, 0)]
    assert report.confusions == [Confusion("run", "walk", 2), Confusion("walk", "run", 1)]
    assert report.right == {1: 2, 2: 3}, "the one of 4 classes among the first 4 is no news"
    assert report.mean_class_accuracy == pytest.approx((1 / 3 + 1 / 2) / 2), "over the classes that have videos"


def test_a_video_that_could_not_be_read_is_wrong_and_taken_for_none():
    scores = scores_of(0, 0)
    scores[1, 0] = -np.inf
    report = class_report(scores, [0, 0], NAMES, topk=(1, 3))
    assert report.classes[0] == ClassResult("run", 2, 1, 0.5, 1)
    assert report.confusions == [] and report.right == {1: 1, 3: 1}
    assert "1 videos could not be read" in report.table()


def test_the_table_shows_the_worst_and_the_file_holds_all():
    labels = np.repeat(np.arange(20), 3)
    recognised = np.where(np.arange(60) % 3 < 1, labels, (labels + 1) % 20)
    recognised[:3] = [1, 1, 2]
    report = class_report(np.eye(20)[recognised], labels, [f"class {i}" for i in range(20)])
    lines = report.table(rows=10).splitlines()
    assert lines[0].startswith("top-1 31.7 % (19 of 60), top-5 ") and "mean of 20 classes 31.7 %" in lines[0]
    assert lines[3].split() == ["class", "0", "3", "0", "0.0", "%", "class", "1", "(2)"]
    assert sum(" % " in line for line in lines[3:]) == 10 and len(lines) == 1 + 2 + 10 + 2 + 10
    plain = json.loads(json.dumps(report.as_dict()))
    assert (len(plain["classes"]), len(plain["confusions"])) == (20, 21)
    assert plain["top1"] == pytest.approx(19 / 60) and plain["right"]["top1"] == 19


def test_long_names_keep_the_table_narrow():
    report = class_report(scores_of(1), [0], ["run " * 50, "walk", "jump", "nap"])
    assert max(map(len, report.table().splitlines())) < 120


@pytest.mark.parametrize("labels, names, says", [
    ([0], NAMES, r"a label for each video; got \(2, 4\) and \(1,\)"), ([0, 4], NAMES, "labels from 0 to 4"),
    ([-1, 0], NAMES, "labels from -1"), ([0, 1], NAMES[:3], "3 names for 4 classes")])
def test_what_does_not_fit_is_named(labels, names, says):
    with pytest.raises(ValueError, match=says):
        class_report(scores_of(0, 1), labels, names)
