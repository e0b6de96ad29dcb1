"""Frames by number, against decoding the whole video."""
import io

import numpy as np
import pytest
from videos import DECORD_MISSES, KINDS, all_frames, av, turn_clockwise, write_video

from claver_mm.datasets import decode
from claver_mm.datasets.decode import DecordReader, PyAVReader, check_decoders, open_video
from claver_mm.datasets.shards import UnreadableVideo

DRAWS = [[0], [29], [7, 3, 3, 20, 1, 29], list(range(0, 30, 4)), [11, 12], list(range(30))]


class Videos(dict):
    """Videos of each kind, written when they are first asked for, so that an encoder that cannot be opened costs the
    tests of its kind alone: libvpx refuses in some processes that hold another copy of it."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __missing__(self, kind: str):
        codec, options = KINDS[kind]
        try:
            self[kind] = write_video(self.folder / kind, codec=codec, options=options)
        except av.error.ArgumentError as error:
            pytest.skip(f"the encoder of {kind} cannot be opened here: {error}")
        return self[kind]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return Videos(tmp_path_factory.mktemp("videos"))


@pytest.mark.parametrize("indices", DRAWS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_pyav_gives_the_frames_of_the_whole_video_bit_by_bit(videos, kind, indices):
    reader = PyAVReader(str(videos[kind]))
    assert len(reader) == 30 and reader.fps == pytest.approx(25)
    assert np.array_equal(reader.frames(np.array(indices)), all_frames(videos[kind])[indices])


@pytest.mark.parametrize("kind", set(KINDS) - DECORD_MISSES)
def test_decord_and_pyav_agree_bit_by_bit(videos, kind):
    for indices in DRAWS:
        assert np.array_equal(DecordReader(str(videos[kind])).frames(indices),
                              PyAVReader(str(videos[kind])).frames(indices))


@pytest.mark.parametrize("name", ["arm_wrestling.mp4", "test.mp4", "test.avi"])
def test_real_videos_are_the_same_from_both(clips, name):
    indices = [0, 40, 10, 150, 163]
    decord, pyav = (open_video(clips / name, decoders=[decoder]) for decoder in ("decord", "pyav"))
    assert len(decord) == len(pyav) and decord.fps == pytest.approx(pyav.fps)
    expected = all_frames(clips / name)[indices]
    assert np.array_equal(pyav.frames(indices), expected)
    if not name.endswith(".avi"):  # there decord gives a neighbour at times
        assert np.array_equal(decord.frames(indices), expected)


def test_a_reader_can_be_asked_twice_and_takes_bytes(videos):
    reader = PyAVReader(videos["pyramid.mp4"].read_bytes())
    first = reader.frames([22, 5])
    reader.frames([29])
    assert np.array_equal(reader.frames([22, 5]), first)
    assert np.array_equal(DecordReader(videos["pyramid.mp4"].read_bytes()).frames([22, 5]), first)


def test_frames_that_no_other_refers_to_are_not_decoded_unless_asked_for(videos):
    reader = PyAVReader(str(videos["h264.mp4"]))
    came_out = []
    codec = reader._codec

    class Counted:
        def __getattr__(self, name):
            return getattr(codec, name)

        def __setattr__(self, name, value):
            setattr(codec, name, value)

        def decode(self, packet):
            came_out.extend(frames := codec.decode(packet))
            return frames

    reader._codec = Counted()
    reader.frames([29])
    assert len(came_out) < 20


def test_a_video_from_a_telephone_stands_upright(videos, tmp_path):
    turned = turn_clockwise(videos["h264.mp4"], tmp_path / "turned.mp4")
    upright = np.rot90(all_frames(videos["h264.mp4"])[[4, 9]], -1, axes=(1, 2))
    assert np.array_equal(PyAVReader(str(turned)).frames([4, 9]), upright)


def test_without_the_loop_filter_frames_are_a_few_grey_levels_off(videos):
    path = videos["h264.mp4"]
    rough = open_video(path, decoders=["pyav"], loop_filter=False).frames([3, 29]).astype(int)
    assert 0 < np.abs(rough - all_frames(path)[[3, 29]]).mean() < 4


def test_frames_that_are_not_there_are_named(videos):
    reader = PyAVReader(str(videos["h264.mp4"]))
    for index in (30, -1):
        with pytest.raises(ValueError, match=f"no frame {index} among 30"):
            reader.frames([0, index])


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_a_damaged_video_is_no_picture(clips, decoder):
    with pytest.raises(Exception, match="(?i)invalid data|send_packet"):
        reader = open_video(clips / "corrupted.mp4", decoders=[decoder])
        reader.frames(range(len(reader)))


def test_where_the_first_decoder_cannot_open_the_next_does_and_says_so(videos, monkeypatch):
    path, said = videos["h264.mp4"], []

    def refuse(source):
        raise RuntimeError("no such codec")

    monkeypatch.setattr(decode, "DecordReader", refuse)
    reader = open_video(path, warn=said.append)
    assert isinstance(reader, PyAVReader) and said == [f"{path} is decoded by pyav; decord: no such codec"]
    with pytest.raises(UnreadableVideo, match="h264.mp4 cannot be opened as a video: decord: no such codec$"):
        open_video(path, decoders=["decord"])


def test_a_video_that_nobody_can_open_is_named_with_what_each_said(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(UnreadableVideo, match="text.mp4 cannot be opened as a video: decord: .*; pyav: .*Invalid data"):
        open_video(tmp_path / "text.mp4")
    with pytest.raises(UnreadableVideo, match="pyav: no video stream"):
        open_video(sound(), "sound.wav", ["pyav"])


def sound() -> bytes:
    import wave
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(8000)
        wav.writeframes(bytes(1600))
    return file.getvalue()


@pytest.mark.parametrize("decoders, loop_filter, says", [
    (["ffmpeg"], True, "out of decord, pyav, each once; got"), ([], True, "each once"), ("pyav", True, "each once"),
    (["pyav", "pyav"], True, "each once"), (["decord", "pyav"], False, "loop_filter=False needs 'pyav' as the first"),
])
def test_decoders_that_cannot_be_had_are_refused(decoders, loop_filter, says):
    with pytest.raises(ValueError, match=says):
        check_decoders(decoders, loop_filter)


def test_a_first_decoder_that_is_not_installed_is_refused_and_a_second_one_is_not(monkeypatch):
    monkeypatch.setattr(decode, "find_spec", lambda module: None if module == "av" else object())
    assert check_decoders(["decord", "pyav"]) == ("decord", "pyav")
    with pytest.raises(ImportError, match="'pyav' is not installed: pip install av"):
        check_decoders(["pyav", "decord"])
