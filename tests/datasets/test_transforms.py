"""Pipeline steps beside the host's."""
import itertools
import logging

import cv2
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from mmcv.transforms import Compose

from claver_mm.datasets import UnreadableVideo, transforms
from claver_mm.datasets.transforms import ClipGrayscale
from claver_mm.video import decode as decoding

DECODE = [dict(type="OpenVideo"), dict(type="UniformSample", clip_len=4, test_mode=True), dict(type="DecodeFrames")]


def decode(path):
    return Compose(DECODE)(dict(filename=str(path), start_index=0, modality="RGB"))


@pytest.mark.parametrize("name", ["arm_wrestling.mp4", "test.mp4", "test.avi"])
def test_real_videos_decode(clips, name):
    frames = decode(clips / name)["imgs"]
    assert len(frames) == 4 and frames[0].ndim == 3 and np.std(frames[0]) > 1


def test_a_damaged_video_is_named(clips):
    with pytest.raises(UnreadableVideo, match="corrupted.mp4"):
        decode(clips / "corrupted.mp4")


@pytest.mark.parametrize("name, codec", [("clip.mp4", "mp4v"), ("clip.avi", "XVID")])
def test_written_videos_decode_and_their_torsos_are_named(tmp_path, name, codec):
    path = tmp_path / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
    for value in range(0, 200, 10):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    assert [frame.shape for frame in decode(path)["imgs"]] == [(48, 64, 3)] * 4
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UnreadableVideo, match=name):
        decode(path)


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no video at .*nowhere.mp4; check data_prefix"):
        decode(tmp_path / "nowhere.mp4")


def test_a_file_that_is_no_video_is_named(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(UnreadableVideo, match="text.mp4 cannot be opened as a video"):
        decode(tmp_path / "text.mp4")


def test_grayscale_takes_the_whole_clip_or_none_of_it():
    frames = [np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8) for _ in range(3)]
    always = ClipGrayscale(1.0).transform(dict(imgs=list(frames)))["imgs"]
    assert all((frame == frame[..., :1]).all() and frame.dtype == np.uint8 for frame in always)
    assert ClipGrayscale(0.0).transform(dict(imgs=frames))["imgs"] is frames
    with pytest.raises(ValueError, match="prob must lie"):
        ClipGrayscale(1.5)


def test_a_video_that_another_decoder_opens_is_logged_by_name(clips, monkeypatch):
    pytest.importorskip("av")
    said = []
    monkeypatch.setattr(transforms, "print_log", lambda message, logger, level: said.append((message, level)))
    monkeypatch.setattr(decoding, "PyAVReader", lambda *_: 1 / 0)
    assert len(decode(clips / "test.mp4")["imgs"]) == 4
    assert said == [(f"{clips / 'test.mp4'} is left to decord; pyav: division by zero", logging.WARNING)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_clip_color_jitter_is_the_hosts_but_for_rounding(order):
    rng = np.random.default_rng(0)
    frames = [cv2.resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), (48, 40)) for _ in range(2)]
    settings = dict(brightness=0.4, contrast=0.4, saturation=0.2)
    stock, ours = (TRANSFORMS.build(dict(type=name, **settings)) for name in ("ColorJitter", "ClipColorJitter"))
    stock.fn_idx = ours.fn_idx = np.array(order)
    for seed in range(3):
        both = []
        for transform in (stock, ours):
            np.random.seed(seed)
            both.append(np.array(transform.transform(dict(imgs=list(frames)))["imgs"]).astype(int))
            drawn = np.random.rand()
        np.random.seed(seed)
        np.random.rand(4)
        assert drawn == np.random.rand(), "four numbers a clip, as the host draws"
        difference = np.abs(both[0] - both[1])
        assert (difference > 0).mean() < 1e-3 and difference.max() <= 4
        assert both[1].std() > 1


def test_clip_color_jitter_without_strength_changes_nothing():
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    step = TRANSFORMS.build(dict(type="ClipColorJitter", brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0))
    out = step.transform(dict(imgs=[frame]))["imgs"][0]
    assert np.array_equal(out, frame)


def test_frames_are_prepared_as_open_clip_prepares_them():
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image
    picture = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    for mode in ("shortest", "squash", "longest"):
        step = TRANSFORMS.build(dict(type="PrepareFrames", size=32, interpolation="bilinear", resize_mode=mode))
        results = step(dict(imgs=[picture]))
        whole = image_transform_v2(PreprocessCfg(size=32, mean=(0,) * 3, std=(1,) * 3, interpolation="bilinear",
                                                 resize_mode=mode), is_train=False)
        wanted = (whole(Image.fromarray(picture)).permute(1, 2, 0) * 255).round().numpy()
        assert np.array_equal(results["imgs"][0], wanted) and results["img_shape"] == (32, 32)


def test_a_step_that_follows_a_tower_says_so_where_there_is_none():
    with pytest.raises(ValueError, match="PrepareFrames has no size: it follows the image tower"):
        TRANSFORMS.build(dict(type="PrepareFrames"))


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    """Twenty frames at ten a second, each brighter by 12 than the one before."""
    path = tmp_path_factory.mktemp("counting") / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), 12 * number, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("start, end, first, stop", [
    (None, None, 0, 20), (0.5, None, 5, 20), (None, 0.5, 0, 5), (0.5, 1.0, 5, 10), (0.55, 0.95, 5, 10),
    (1.0, 99.0, 10, 20), (1.0, 1.0, 10, 11)])
def test_a_stretch_of_a_video_is_a_video(counting, start, end, first, stop):
    steps = [dict(type="OpenVideo"), dict(type="UniformSample", clip_len=stop - first, test_mode=True),
             dict(type="DecodeFrames")]
    found = Compose(steps)(dict(filename=str(counting), start_index=0, modality="RGB", start=start, end=end))
    assert found["total_frames"] == stop - first
    assert set(found["frame_inds"]) <= set(range(first, stop))
    whole = Compose([steps[0], dict(type="UniformSample", clip_len=20, test_mode=True), steps[2]])(
        dict(filename=str(counting), start_index=0, modality="RGB"))
    for number, img in zip(found["frame_inds"], found["imgs"]):
        assert abs(img.mean() - 12 * number) < 6, number
    assert len(whole["imgs"]) == 20


def test_a_stretch_behind_the_end_is_named(counting):
    with pytest.raises(UnreadableVideo, match="has 2.00 s; the stretch from 2.5 s on is not in it"):
        Compose(DECODE)(dict(filename=str(counting), start_index=0, modality="RGB", start=2.5, end=3.0))


def test_a_zoom_shows_a_part_at_the_size_of_the_whole():
    rows, columns = np.mgrid[:40, :60]
    img = np.stack([rows * 6, columns * 4, np.zeros_like(rows)], axis=2).astype(np.uint8)
    np.random.seed(0)
    zoom = TRANSFORMS.build(dict(type="RandomZoom", area=(0.25, 0.25)))
    one, two = zoom(dict(imgs=[img, img]))["imgs"]
    assert one.shape == img.shape and np.array_equal(one, two)  # all frames of a clip alike
    spans = [np.ptp(one[..., channel].astype(int)) / np.ptp(img[..., channel].astype(int)) for channel in (0, 1)]
    assert spans == pytest.approx([0.5, 0.5], abs=0.05)
    assert np.array_equal(TRANSFORMS.build(dict(type="RandomZoom", area=(1.0, 1.0)))(dict(imgs=[img]))["imgs"][0], img)
    with pytest.raises(ValueError, match="two shares in"):
        TRANSFORMS.build(dict(type="RandomZoom", area=(0.0, 1.0)))
