"""Segments from scores, and the files that other programs read."""
import csv
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from claver_mm.timeline.segments import Segment, segments
from claver_mm.timeline.timeline import Timeline

EDGES = np.arange(11) / 2


def found(column, **how):
    return [(segment.start, segment.end) for segment in segments(EDGES, np.array(column)[:, None], ["a"], **how)]


def test_a_score_that_trembles_about_the_threshold_makes_one_segment():
    column = [0.1, 0.45, 0.55, 0.45, 0.55, 0.41, 0.3, 0.45, 0.1, 0.1]
    assert found(column, threshold=0.5, low=0.4) == [(0.5, 3.0)]  # what never reaches the threshold is none
    assert found(column, threshold=0.5, low=0.5) == [(1.0, 1.5), (2.0, 2.5)]


def test_near_ones_become_one_and_then_short_ones_go():
    column = [0.9, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1]
    assert found(column, gap=0.6) == [(0.0, 1.5), (3.0, 3.5)]
    assert found(column, gap=0.5) == [(0.0, 0.5), (1.0, 1.5), (3.0, 3.5)]  # 0.5 apart is not less
    assert found(column, gap=0.6, shortest=1.0) == [(0.0, 1.5)]


def test_labels_are_for_themselves_and_the_score_is_the_mean_over_time():
    edges = np.array([0.0, 1.0, 4.0, 5.0])
    scores = np.array([[0.6, 0.1], [0.9, 0.9], [0.1, 0.9]])
    assert segments(edges, scores, ["a", "b"]) == [
        Segment("a", 0.0, 4.0, pytest.approx((0.6 + 3 * 0.9) / 4)), Segment("b", 1.0, 5.0, pytest.approx(0.9))]


@pytest.mark.parametrize("how, words", [
    (dict(threshold=0.0), "0 < low <= threshold <= 1"), (dict(threshold=0.5, low=0.6), "low=0.6"),
    (dict(shortest=-1.0), "are seconds"), (dict(gap=-1.0), "are seconds")])
def test_bounds_that_make_no_sense_are_refused(how, words):
    with pytest.raises(ValueError, match=words):
        found([0.5] * 10, **how)


@pytest.fixture()
def timeline():
    scores = np.zeros((10, 2), np.float32)
    scores[2:4, 0], scores[3:8, 1] = 0.9, 0.8
    return Timeline("day one.mp4", ("a <b> & c", "دوران"), EDGES, scores, 25.0)


def test_subtitles_are_read_back(timeline, tmp_path):
    timeline.save(tmp_path / "x.srt")
    timeline.save(tmp_path / "x.vtt")
    assert (tmp_path / "x.srt").read_text(encoding="utf-8") == (
        "1\n00:00:01,000 --> 00:00:02,000\na <b> & c\n\n2\n00:00:01,500 --> 00:00:04,000\nدوران\n\n")
    assert (tmp_path / "x.vtt").read_text(encoding="utf-8").startswith(
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\na &lt;b&gt; &amp; c\n")


def test_tables_have_what_the_segments_have(timeline, tmp_path):
    timeline.save(tmp_path / "x.csv")
    timeline.save(tmp_path / "x.json")
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], float(row["start"]), float(row["end"])) for row in rows] == [
        ("a <b> & c", 1.0, 2.0), ("دوران", 1.5, 4.0)]
    said = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert said["labels"] == list(timeline.labels) and np.allclose(said["scores"], timeline.scores, atol=1e-5)


def test_elan_has_a_tier_for_each_label_and_times_in_milliseconds(timeline, tmp_path):
    timeline.save(tmp_path / "x.eaf")
    root = ET.parse(tmp_path / "x.eaf").getroot()
    times = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")}
    tiers = {tier.get("TIER_ID"): [(times[a.get("TIME_SLOT_REF1")], times[a.get("TIME_SLOT_REF2")])
                                   for a in tier.iter("ALIGNABLE_ANNOTATION")] for tier in root.iter("TIER")}
    assert tiers == {"a <b> & c": [(1000, 2000)], "دوران": [(1500, 4000)]}


def test_label_studio_gets_ranges_of_frames(timeline, tmp_path):
    timeline.save(tmp_path / "x.labelstudio.json")
    task, = json.loads((tmp_path / "x.labelstudio.json").read_text(encoding="utf-8"))
    first = task["predictions"][0]["result"][0]
    assert first["type"] == "timelinelabels" and first["value"] == dict(
        timelinelabels=["a <b> & c"], ranges=[dict(start=26, end=50)])


def test_a_picture_is_drawn_and_an_unknown_ending_refused(timeline, tmp_path):
    timeline.save(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="ends in none of"):
        timeline.save(tmp_path / "x.doc")
