"""Pipeline steps beside the host's."""
import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose

from claver_mm.datasets.transforms import ClipGrayscale, UnreadableVideo

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
