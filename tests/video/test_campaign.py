"""Frame ``n`` is the ``n``-th picture that the ffmpeg program shows, over codecs, containers and what is done to files.

A few kinds are tested here; all of ``campaign.py``, in some ten minutes on an idle machine, with

    CLAVER_TEST_CAMPAIGN=1 python -m pytest tests/video/test_campaign.py -n 2

Planes are compared bit by bit, as they are decoded. RGB tells which way is up, and no more: versions of the program
place colours that are kept at half the size differently. Interlaced pictures are converted by fields, bit by bit as
``scale=interl=-1`` does it in 8 bits; of itself ffmpeg 5.1 takes them for not interlaced, 4 to 6 grey levels off.
"""
import hashlib
import os
import shutil

import numpy as np
import pytest
from campaign import CUTS, Kind, all_kinds, make, picture_shown, planes_shown

from claver_mm.video import pyav_reader
from claver_mm.video.decode import VideoReader

FEW = [Kind(*words.split()) for words in (
    "h264 mp4 uneven", "h264-pyramid ts cut", "h264-open mkv cut-anywhere", "h264 avi as-mp4", "h264-interlaced mp4",
    "h264 mp4 turned-mirrored", "h264-10 mkv", "mpeg4-b avi odd", "mpeg4-b mp4 cover", "mpeg2 ts joined",
    "mpeg2-interlaced mpg", "vp8-hidden webm", "vp9 webm odd", "mjpeg avi", "flv1 flv cut", "hevc-open mkv cut")]
KINDS = all_kinds() if os.environ.get("CLAVER_TEST_CAMPAIGN") else FEW


def planes(frame) -> bytes:
    """MD5 of the planes without the padding of their lines."""
    md5 = hashlib.md5()
    for plane in frame.planes:
        width = plane.width * (frame.format.padded_bits_per_pixel // 8 if len(frame.planes) == 1 else
                               (frame.format.components[0].bits + 7) // 8)
        md5.update(np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:plane.height, :width].tobytes())
    return md5.digest()


@pytest.fixture
def digests(monkeypatch):
    """In place of pictures a reader gives what ``planes`` says of them."""
    def digest(frame, reformatter):
        return np.broadcast_to(np.frombuffer(planes(frame), np.uint8)[None, :, None], (1, 16, 3))

    with monkeypatch.context() as patch:
        patch.setattr(pyav_reader, "upright", digest)
        yield patch


def said(frames: np.ndarray) -> list[str]:
    return [bytes(frame[0, :, 0]).hex() for frame in frames]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is the judge, and it is not installed")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_frames_are_the_pictures_that_ffmpeg_shows(tmp_path, kind, digests):
    try:
        path = make(kind, tmp_path)
    except RuntimeError as error:
        pytest.skip(f"ffmpeg cannot make it: {error}")
    shown = planes_shown(path)
    assert shown, "ffmpeg shows nothing of it"
    reader = VideoReader(path, decoders=["pyav"])
    count = len(reader)
    skipped = 0
    if kind.codec.startswith(("hevc", "av1")) and kind.change in CUTS:
        # ffmpeg 5.1 shows HEVC pictures whose references were cut away, unmarked, and of AV1 what an edit list hides
        skipped = len(shown) - count
        assert 0 <= skipped < 12, "all from the first keyframe on"
        shown = shown[skipped:]
    assert count == len(shown)
    for draw in [range(count), [count - 1, *range(0, count, 5)], [count // 3], [count // 2], [count - 2, count - 1]]:
        expected = [shown[place] for place in draw]
        assert said(VideoReader(path, decoders=["pyav"]).frames(draw)) == expected
        assert said(reader.frames(draw)) == expected, "after other calls"
    digests.undo()
    h, w, pixels = picture_shown(path, skipped + count // 2)
    picture, = VideoReader(path, decoders=["pyav"]).frames([count // 2])
    assert picture.shape == (h, w, 3)
    assert np.abs(picture.astype(int) - np.frombuffer(pixels, np.uint8).reshape(h, w, 3)).mean() < 8
