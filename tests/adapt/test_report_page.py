"""The report of a training as a page: what it says, and that it stands alone."""
import base64
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from claver_mm.adapt.choice import interval, none_of_these, reliability
from claver_mm.adapt.page import as_json, page, write_report
from claver_mm.adapt.page_charts import epoch_step, percent
from claver_mm.adapt.strips import LONG_SIDE, data_uri, spread, strip, worst_strips
from claver_mm.video.decode import VideoReader

av = pytest.importorskip("av", reason="PyAV writes the videos: pip install av")
VOID = {"meta", "br", "img"}
SVG_VOID = {"path", "rect", "circle"}
ODD_NAMES = ["<script>alert(1)</script>", "رقص & موسيقى", "🤸🏽 \"cartwheel\"", "it's\u202eturned"]


class Tree(HTMLParser):
    """Elements with their attributes, and the visible text; fails where tags do not match."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} stands twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SVG_VOID
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def of(self, tag: str) -> list[dict]:
        return [attributes for each, attributes in self.elements if each == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\u00a0", " ").split())


def report(names=("walking", "running", "sitting"), N: int = 30, **changes) -> dict:
    """What ``adapt`` gives for random answers, right more often than not."""
    C, generator = len(names), torch.Generator().manual_seed(0)
    labels = torch.arange(N) % C
    logits = torch.randn(N, C, generator=generator)
    logits[torch.arange(N), labels] += 1
    probabilities = logits.softmax(dim=1)
    said = probabilities.argmax(dim=1)
    confusion = torch.zeros(C, C, dtype=torch.long)
    confusion.index_put_((labels, said), torch.ones_like(labels), accumulate=True)
    made = dict(
        best_epoch=2, losses=[1.0, 0.8, 0.7], alpha=0.8, temperature=1.25, train_seconds=12.0,
        classes=[dict(name=name, training=40 + c, held_out=int(confusion[c].sum()), right=int(confusion[c, c]),
                      seconds=90.0) for c, name in enumerate(names)],
        training=40 * C, held_out=N, confusion=confusion.tolist(), accuracy=None, interval=None, reliability=[],
        calibration_error=None, threshold=None, clips=[], elsewhere=dict(classes=400, clips=N, same=0.5 if N else None),
        settings=dict(temporal=dict(pattern=None, depth=2), text_offsets=True, seed=0), schedule=dict(epochs=3, lr=0.1),
        left_out=[], kept="0123abcd", seconds=20.0)
    if N:
        rows, error = reliability(probabilities, labels)
        right, own = int(said.eq(labels).sum()), probabilities.gather(1, labels[:, None]).squeeze(1)
        made.update(
            held_out_by_epoch=[0.25, 0.5, 0.6, 0.6], zero_shot=0.25, judged_by_the_other_half=0.4,
            alphas=[dict(alpha=number / 10, accuracy=0.25 + number / 40) for number in range(11)],
            calibration_error_before=0.321, accuracy=right / N, interval=interval(right, N), reliability=rows,
            calibration_error=error, threshold=none_of_these(probabilities, labels)._asdict(),
            clips=[dict(video=f"videos/{n}.mp4", start=None, end=None, label=names[labels[n]], said=names[said[n]],
                        probability=own[n].item(), probability_said=probabilities[n, said[n]].item())
                   for n in own.argsort().tolist()])
    return {**made, **changes}


def write_video(path, grey_levels, size=(48, 64)):
    """A frame of one grey for each level."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options=dict(threads="1"))
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for level in grey_levels:
            frame = np.full((*size, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


def clip_of(video, start=None, end=None, **more):
    return dict(video=video, start=start, end=end, label="walking", said="running", probability=0.125,
                probability_said=0.75, **more)


def decoded(uri):
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("names", [ODD_NAMES, ["no", "yes"], [f"<class {c}>" for c in range(101)]], ids=len)
def test_every_class_is_named_and_the_page_is_well_formed(names):
    tree = Tree(page(report(names, N=3 * len(names))))
    for name in names:
        assert " ".join(name.split()) in tree.text
    assert not tree.of("script") and not any(tag.startswith("class") for tag, _ in tree.elements)
    assert all(each["dir"] == "auto" for each in tree.of("bdi")) and len(tree.of("bdi")) >= len(names)


def test_the_page_needs_nothing_beside_it(tmp_path):
    video = write_video(tmp_path / "a.mp4", [0, 100, 200])
    source = page(report(), [strip(clip_of(video))])
    assert not re.search(r"https?:|url\(|@import|//[a-z]", source)
    tree = Tree(source)
    assert len(tree.of("img")) == 3 and all(image["src"].startswith("data:image/") for image in tree.of("img"))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tree.elements}
    assert not any(key.startswith("on") or key == "href" for _, attributes in tree.elements for key in attributes)


def test_accuracy_stands_with_its_interval_beside_the_start_and_the_honest_estimate():
    made = report(N=400, accuracy=0.96, interval=(0.936, 0.9752))
    said = Tree(page(made)).text
    assert "96.0 % of 400 held-out videos are told right (95 % interval: 93.6 to 97.5 %)" in said
    assert "Before training it was 25.0 %" in said
    low, high = interval(160, 400)
    assert f"after, chosen on the other half40.0 %{100 * low:.1f} to {100 * high:.1f} %" in said


def test_what_was_set_on_held_out_videos_is_said():
    said = Tree(page(report(calibration_error=0.123, threshold=dict(value=0.746, kept=0.95, turned_away=0.57)))).text
    assert "(expected calibration error) is 12.3 %; before the temperature was set, it was 32.1 %" in said
    assert "Logits are divided by 1.25" in said
    assert "under 0.75" in said and "keeps 95.0 % of the held-out videos, and turns away 57.0 %" in said
    two = Tree(page(report(["no", "yes"]))).text
    assert "cannot be told from two classes alone" in two


def test_a_training_that_changed_nothing_says_so():
    nothing = "it is as it was before training"
    assert nothing in Tree(page(report(best_epoch=0))).text and nothing in Tree(page(report(alpha=0.0))).text
    assert nothing not in Tree(page(report())).text


def test_without_held_out_videos_the_page_says_that_nothing_is_known():
    source = page(report(N=0))
    tree = Tree(source)
    assert "No videos were held out" in tree.text and "walking" in tree.text and "None of these" not in tree.text
    assert not {"nan", "None"} & set(re.findall(r"\w+", tree.text)) and not tree.of("svg")


def test_a_class_without_held_out_videos_has_no_bar():
    made = report()
    made["classes"][1].update(held_out=0, right=0)
    made["confusion"][1] = [0, 0, 0]
    bars = [each for each in Tree(page(made)).of("svg") if each["class"] == "bar"]
    assert len(bars) == 3 + 2


def test_the_commonest_confusion_comes_first_and_many_classes_become_a_map():
    names = [f"class {c}" for c in range(30)]
    confusion = (3 * torch.eye(30, dtype=torch.long)).tolist()
    confusion[4][7], confusion[8][2] = 1, 2
    source = page(report(names, N=90, confusion=confusion))
    tree = Tree(source)
    assert tree.text.index("class 8class 22 of 5") < tree.text.index("class 4class 71 of 4")
    drawn = [each for each in tree.of("svg") if each["class"] == "map"]
    assert len(drawn) == 1 and "2 of 5: class 8 taken for class 2" in tree.text
    assert sum("fill-opacity" in each for each in tree.of("rect")) == 32
    few = Tree(page(report()))
    assert not [each for each in few.of("svg") if each["class"] == "map"]
    assert sum(each.get("class") in ("hit", "miss") for each in few.of("td")) > 3


def test_other_videos_stand_before_and_after():
    elsewhere = dict(classes=20, clips=55, same=0.8, before=0.61, after=0.58)
    said = Tree(page(report(elsewhere=elsewhere))).text
    assert "55 videos of 20 other classes" in said and "61.0 % right before training, 58.0 % after" in said
    assert "50.0 % of 30 held-out videos have the same first label" in Tree(page(report())).text


def test_clips_of_one_file_are_not_taken_for_independent():
    clips = [dict(each, video="one.mp4", start=n, end=n + 1) for n, each in enumerate(report()["clips"])]
    said = Tree(page(report(clips=clips))).text
    assert "The 30 clips come from 1 file" in said and "of 30 held-out clips are told right" in said
    assert "resemble each other" not in Tree(page(report())).text


def test_what_was_left_out_and_the_settings_are_listed():
    left_out = [f"<b>{n}.mp4 cannot be opened" for n in range(12)]
    tree = Tree(page(report(left_out=left_out)))
    assert all(each in tree.text for each in left_out) and "temporal.depth2" in tree.text and "0123abcd" in tree.text
    assert "Nothing: every video was used" in Tree(page(report())).text


def test_headings_pictures_and_heads_of_tables_are_named():
    tree = Tree(page(report()))
    tags = [tag for tag, _ in tree.elements]
    assert tags.count("h1") == 1 and tags.count("h2") > 6
    assert all("aria-hidden" in each or each["role"] == "img" and each["aria-label"] for each in tree.of("svg"))
    assert all(each["scope"] in ("row", "col") for each in tree.of("th"))


def test_a_strip_shows_the_frames_in_the_middle_of_equal_parts(tmp_path):
    video = write_video(tmp_path / "رقص 1.mp4", range(0, 240, 20))
    found = strip(clip_of(video), frames=6)
    assert found.frame_numbers == (1, 3, 5, 7, 9, 11)
    reader = VideoReader(video)
    for number, uri in zip(found.frame_numbers, found.images):
        assert decoded(uri).shape == (48, 64, 3)
        assert np.abs(decoded(uri).astype(int) - reader.frames([number])[0]).max() < 4
    reader.close()


def test_a_strip_stays_within_its_clip(tmp_path):
    video = write_video(tmp_path / "a.mp4", range(0, 240, 20))
    assert strip(clip_of(video, 0.5, 0.8)).frame_numbers == (5, 6, 7)
    source = page(report(), [strip(clip_of(video, 0.5, 0.8))])
    assert "from 0.5 s to 0.8 s" in Tree(source).text


@pytest.mark.parametrize("first, stop, count", [(0, 16, 6), (3, 4, 6), (10, 1000, 6), (0, 7, 6), (5, 11, 6)])
def test_frames_of_a_strip_differ_and_lie_inside(first, stop, count):
    found = spread(first, stop, count)
    assert len(found) == min(count, stop - first) == len(set(found))
    assert found == sorted(found) and first <= found[0] and found[-1] < stop


@pytest.mark.parametrize("size", [(1080, 1920), (1920, 1080), (2000, 1)])
def test_large_frames_are_made_small(size):
    H, W = decoded(data_uri(np.zeros((*size, 3), np.uint8))).shape[:2]
    assert max(H, W) == LONG_SIDE and min(H, W) == max(1, round(LONG_SIDE * min(size) / max(size)))


def test_a_video_that_cannot_be_read_is_said_and_the_others_are_shown(tmp_path):
    good, damaged = write_video(tmp_path / "good.mp4", [0, 50]), tmp_path / "<i>damaged.mp4"
    damaged.write_bytes(b"no video at all")
    clips = [clip_of(str(damaged)), clip_of(str(tmp_path / "gone.mp4")), clip_of(good, 99.0), clip_of(good)]
    strips = worst_strips(clips, count=4)
    tree = Tree(page(report(), strips))
    assert tree.text.count("Cannot be shown") == 3 and "<i>damaged.mp4 cannot be opened" in tree.text
    assert "the stretch from 99 s on is not in it" in tree.text and len(tree.of("img")) == 2
    assert "is walking (probability 12.5 %), was said running (75.0 %)" in tree.text
    assert len(worst_strips(clips, count=2)) == 2


def test_a_report_is_written_as_page_and_as_json(tmp_path):
    made = report(losses=[1.0, float("nan")], left_out=["odd \udcff name.mp4"], clips=[])
    made["classes"][0]["name"] = "رقص"
    write_report(tmp_path / "new", SimpleNamespace(report=made, root="", recognizer="a <tower>: kmt over 8 frames"))
    raw = (tmp_path / "new" / "report.json").read_text(encoding="utf-8")
    read = json.loads(raw, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert read["losses"] == [1.0, None] and read["left_out"] == made["left_out"] and "رقص" in raw
    assert read["recognizer"] == "a <tower>: kmt over 8 frames" and re.fullmatch(r"\d{4}-\d\d-\d\d", read["date"])
    assert read["confusion"] == made["confusion"] and read["accuracy"] == made["accuracy"]
    said = Tree((tmp_path / "new" / "report.html").read_text(encoding="utf-8")).text
    assert "a <tower>: kmt over 8 frames" in said and read["date"] in said and r"odd \udcff name.mp4" in said


def test_a_page_can_be_made_again_from_the_json():
    made = report(ODD_NAMES)
    assert page(json.loads(as_json(made))) == page(made)


def test_numbers_are_written_for_people():
    assert percent(0.96) == "96.0\u00a0%" and percent(None) == percent(float("nan")) == "–"
    assert [epoch_step(epochs) for epochs in (1, 7, 8, 30, 300)] == [1, 1, 2, 5, 50]
