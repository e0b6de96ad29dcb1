"""Facts about the motion videos: reversal pairs, stable seeds, whole files, resumption."""

import hashlib
import json
from pathlib import Path

import decord
import numpy as np
import pytest

from claver_mm.video import motion_files
from claver_mm.video.motion import (
    MOTION_CLASSES,
    MOTION_PAIRS,
    RENDERING_VERSION,
    render_clip,
    render_coverage,
    reversed_class,
)
from claver_mm.video.motion_files import make_motion_videos


def small_set(root: Path, **changes) -> Path:
    make_motion_videos(root, **{"num_train": 16, "num_val": 8, "progress": False} | changes)
    return root


def modified(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(root.rglob("*")) if path.is_file()}


def object_mask(frames: np.ndarray) -> np.ndarray:
    """The object is bright and the background dark, (T, h, w)."""
    return frames.min(-1) > 130


@pytest.mark.parametrize("class_name", MOTION_CLASSES)
def test_the_partner_is_the_same_clip_backwards(class_name):
    for seed in range(10):
        clip = render_clip(class_name, seed)
        np.testing.assert_array_equal(clip, render_clip(reversed_class(class_name), seed)[::-1])
        assert (clip != clip[::-1]).any()


def test_partners_have_the_same_frames_and_the_same_mean():
    """So nothing that ignores the order of the frames can do better than a coin within a pair."""
    for first, second in MOTION_PAIRS:
        one, other = ([render_clip(name, [7, i]) for i in range(20)] for name in (first, second))
        for a, b in zip(one, other):
            assert sorted(frame.tobytes() for frame in a) == sorted(frame.tobytes() for frame in b)
        np.testing.assert_array_equal(
            np.sum(one, (0, 1), dtype=np.int64), np.sum(other, (0, 1), dtype=np.int64)
        )


def test_a_class_is_the_reversal_of_its_reversal():
    assert [reversed_class(reversed_class(name)) for name in MOTION_CLASSES] == list(MOTION_CLASSES)
    assert all(reversed_class(name) != name for name in MOTION_CLASSES)


@pytest.mark.parametrize("name", MOTION_CLASSES)
def test_coverage_is_where_a_clip_is_brighter_than_its_background(name):
    clip, cover = (render(name, (3, 1)).astype(int) for render in (render_clip, render_coverage))
    assert cover.shape == clip.shape and (cover[..., 0] == cover[..., 2]).all()
    inside, outside = cover[..., 0] == 255, cover[..., 0] == 0
    assert inside.any(axis=(1, 2)).all()
    assert clip[inside].min() >= 168 and clip[outside].max() <= 96
    assert (render_coverage(reversed_class(name), (3, 1))[::-1] == cover).all()


def test_motions_go_where_their_names_say():
    """Of each pair the first class; the second one follows by reversal. The image's y points downwards."""
    for seed in range(20):
        y, x = np.mgrid[:32, :40]

        def centre(mask, y=y, x=x):
            return np.array([x[mask].mean(), y[mask].mean()])

        left, up, grow, turn = (object_mask(render_clip(first, seed)) for first, _ in MOTION_PAIRS)
        assert centre(left[0])[0] > centre(left[-1])[0] + 5
        assert centre(up[0])[1] > centre(up[-1])[1] + 5
        assert grow[-1].sum() > 2 * grow[0].sum()
        first, middle, last = (centre(turn[t]) for t in (0, 7, 15))
        (ax, ay), (bx, by) = middle - first, last - middle
        assert ax * by - ay * bx > 0, "clockwise on the screen, where y points downwards"


def test_the_background_is_still():
    for seed in range(10):
        clip = render_clip("moving left", seed).astype(int)
        never = ~object_mask(clip).any(0) & (np.ptp(clip, axis=0).max(-1) < 8)
        assert never.mean() > 0.2 and (np.ptp(clip, axis=0)[never] == 0).mean() > 0.95


@pytest.mark.parametrize("offset", (0, 4, 8))
def test_every_test_crop_sees_the_object(offset):
    """Left, centre and right square of the default frame: some part of the object in every frame."""
    for index in range(80):
        mask = object_mask(render_clip(MOTION_CLASSES[index % 8], [3, index]))
        assert (mask[..., offset : offset + 32].sum((1, 2)) >= 5).all()


def test_seeds_give_the_same_pixels_everywhere():
    """A change of these values calls for a higher RENDERING_VERSION."""
    clips = np.stack([render_clip(name, [0, 0, i]) for i, name in enumerate(MOTION_CLASSES * 3)])
    assert clips.shape == (24, 16, 32, 40, 3) and clips.dtype == np.uint8
    assert RENDERING_VERSION == 1
    assert hashlib.sha256(clips.tobytes()).hexdigest() == (
        "32fc3f236bfbf608c8ac7c688a89978cab2746f7ec1de1bbfd9816fc9746db89"
    )


def test_seeds_differ_from_one_another():
    assert len({render_clip("rising", seed).tobytes() for seed in (0, 1, [0, 1], [1, 1], [0, 0, 1])}) == 5


def test_lists_name_every_clip_with_its_class(tmp_path):
    root = small_set(tmp_path / "set")
    assert (root / "classes.txt").read_text().splitlines() == list(MOTION_CLASSES)
    for split, count in (("train", 16), ("val", 8)):
        rows = [line.rsplit(" ", 1) for line in (root / f"{split}.txt").read_text().splitlines()]
        assert {path for path, _ in rows} == {f"{split}/{path.name}" for path in (root / split).iterdir()}
        assert [int(label) for _, label in rows] == [index % 8 for index in range(count)]
        assert all(MOTION_CLASSES[int(label)].replace(" ", "_") in path for path, label in rows)


def test_files_decode_to_what_was_rendered(tmp_path):
    root = small_set(tmp_path / "set", seed=5)
    for index, line in enumerate((root / "val.txt").read_text().splitlines()):
        path, label = line.rsplit(" ", 1)
        video = decord.VideoReader(str(root / path))
        assert len(video) == 16
        decoded = video.get_batch(range(16)).asnumpy().astype(int)
        rendered = render_clip(MOTION_CLASSES[int(label)], (5, 1, index))
        assert np.abs(decoded - rendered).mean() < 6
        assert (object_mask(decoded) != object_mask(rendered)).mean() < 0.03


def test_size_frames_and_classes_can_be_chosen(tmp_path):
    classes = ["falling", "rising"]
    root = small_set(tmp_path / "set", size=(48, 64), num_frames=10, classes=classes, num_val=3)
    assert (root / "val.txt").read_text().splitlines()[1] == "val/00001_rising.mp4 1"
    assert decord.VideoReader(str(root / "val/00001_rising.mp4"))[:].shape == (10, 48, 64, 3)


def test_a_second_call_changes_nothing(tmp_path):
    root = small_set(tmp_path / "set")
    before = modified(root)
    small_set(root, workers=1)
    assert modified(root) == before


def test_an_interrupted_set_has_no_lists_and_is_completed_by_the_next_call(tmp_path, monkeypatch):
    whole = small_set(tmp_path / "whole")
    render, calls = motion_files.render_clip, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return render(*args)

    root = tmp_path / "set"
    monkeypatch.setattr(motion_files, "render_clip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small_set(root, workers=1)
    monkeypatch.undo()
    assert not list(root.glob("*.txt"))
    before = modified(root)
    assert len(before) == 1 + 5, "motion.json and five clips"

    small_set(root)
    assert before.items() <= modified(root).items(), "what was there is not written again"
    names = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
    assert len(names) == 16 + 8 + 4
    assert len(modified(root)) == len(names)
    for name in names:
        if name.suffix != ".mp4":
            assert (root / name).read_bytes() == (whole / name).read_bytes()


def test_a_clip_with_a_lost_frame_is_an_error_and_leaves_no_file(tmp_path, monkeypatch):
    whole_writer = motion_files.cv2.VideoWriter

    class LosesTheFirstFrame:
        fourcc = whole_writer.fourcc

        def __init__(self, *args):
            self.writer, self.lost = whole_writer(*args), False

        def write(self, frame):
            if self.lost:
                self.writer.write(frame)
            self.lost = True

        def release(self):
            self.writer.release()

    monkeypatch.setattr(motion_files.cv2, "VideoWriter", LosesTheFirstFrame)
    with pytest.raises(OSError, match="wrote 15 of 16 frames"):
        small_set(tmp_path / "set")
    assert [Path(path).name for path in modified(tmp_path)] == ["motion.json"]


def test_a_deleted_clip_comes_back(tmp_path):
    root = small_set(tmp_path / "set")
    clip = root / "val/00000_moving_left.mp4"
    clip.unlink()
    small_set(root)
    assert clip.exists()


def test_other_settings_are_refused_and_named(tmp_path):
    root = small_set(tmp_path / "set")
    before = modified(root)
    with pytest.raises(ValueError, match=r"seed is 0 there, but 1 was asked for.*[Dd]elete"):
        small_set(root, seed=1)
    with pytest.raises(
        ValueError, match=r"num_frames is 16 there, but 8 was asked for; num_val is 8 there, but 9"
    ):
        small_set(root, num_frames=8, num_val=9)
    assert modified(root) == before
    assert json.loads((root / "motion.json").read_text())["settings"]["seed"] == 0


def test_files_of_somebody_else_are_not_overwritten(tmp_path):
    (tmp_path / "train.txt").write_text("precious")
    with pytest.raises(ValueError, match="has train.txt but no motion.json"):
        small_set(tmp_path)
    assert (tmp_path / "train.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["rising"]}, "'rising' without its reversal 'falling'"),
        ({"classes": ["rising", "falling", "rising"]}, "each name once"),
        ({"classes": []}, "at least one pair"),
        ({"classes": ["waving"]}, "unknown motion class 'waving'; choose from moving left"),
        ({"num_train": 7}, "num_train is 7; 8 classes"),
        ({"num_val": 0}, "num_val is 0"),
        ({"size": (33, 40)}, r"\(33, 40\).*even"),
        ({"size": (32, 8)}, "at least 16 pixels"),
        ({"num_frames": 1}, "num_frames is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_settings_that_make_no_set_are_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        small_set(tmp_path / "set", **changes)
    assert not (tmp_path / "set").exists()
