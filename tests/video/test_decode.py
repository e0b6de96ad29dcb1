"""Frames by number, against decoding the whole video."""
import io

import numpy as np
import pytest
from videos import DECORD_MISSES, KINDS, all_frames, av, packet_places, turn_clockwise, write_video

from claver_mm.video import decode
from claver_mm.video.decode import DecordReader, PyAVReader, VideoReader, check_decoders
from claver_mm.video.shards import UnreadableVideo

DRAWS = [[0], [29], [7, 3, 3, 20, 1, 29], list(range(0, 30, 4)), [11, 12], list(range(30))]


class Videos(dict):
    """Videos of each kind, written when they are first asked for."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __missing__(self, kind: str):
        codec, options = KINDS[kind]
        self[kind] = write_video(self.folder / kind, codec=codec, options=options)
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


@pytest.mark.parametrize("kind", sorted(set(KINDS) - DECORD_MISSES))
def test_decord_and_pyav_agree_bit_by_bit(videos, kind):
    for indices in DRAWS:
        assert np.array_equal(DecordReader(str(videos[kind])).frames(indices),
                              PyAVReader(str(videos[kind])).frames(indices))


@pytest.mark.parametrize("name", ["arm_wrestling.mp4", "test.mp4", "test.avi"])
def test_real_videos_are_the_same_from_both(clips, name):
    indices = [0, 40, 10, 150, 163]
    decord, pyav = (VideoReader(clips / name, decoders=[decoder]) for decoder in ("decord", "pyav"))
    assert len(decord) == len(pyav) and decord.fps == pytest.approx(pyav.fps)
    expected = all_frames(clips / name)[indices]
    assert np.array_equal(pyav.frames(indices), expected)
    if not name.endswith(".avi"):  # there decord gives a neighbour at times
        assert np.array_equal(decord.frames(indices), expected)


@pytest.mark.parametrize("kind", ["intra_refresh.mp4", "av1.mp4"])
def test_frames_that_a_jump_or_leaving_out_would_lose_are_decoded_all_the_same(videos, kind):
    """"The decoder gave no frame 11": H.264 with intra refresh gives nothing for some frames after a jump, and libdav1d
    takes what the first packet may leave out for all."""
    reader = PyAVReader(str(videos[kind]))
    assert np.array_equal(reader.frames([11, 12, 21, 7]), all_frames(videos[kind])[[11, 12, 21, 7]])


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
    rough = VideoReader(path, decoders=["pyav"], loop_filter=False).frames([3, 29]).astype(int)
    assert 0 < np.abs(rough - all_frames(path)[[3, 29]]).mean() < 4


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_frames_that_are_not_there_are_no_fault_of_the_video(videos, decoder):
    """A step that samples amiss would pass for an unreadable video, and others would take its place."""
    reader = VideoReader(videos["h264.mp4"], decoders=[decoder])
    for index in (30, -1):
        with pytest.raises(IndexError, match=f"h264.mp4 has no frame {index} among 30"):
            reader.frames([0, index])


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_a_damaged_video_is_no_picture(clips, decoder):
    with pytest.raises(UnreadableVideo, match="(?i)corrupted.mp4 cannot be .*(invalid data|send_packet)"):
        reader = VideoReader(clips / "corrupted.mp4", decoders=[decoder])
        reader.frames(range(len(reader)))


def test_where_the_first_decoder_cannot_open_the_next_does_and_says_so(videos, monkeypatch):
    path, said = videos["h264.mp4"], []

    def refuse(source):
        raise RuntimeError("no such codec")

    monkeypatch.setattr(decode, "DecordReader", refuse)
    reader = VideoReader(path, decoders=["decord", "pyav"], warn=said.append)
    assert np.array_equal(reader.frames([7]), all_frames(path)[[7]])
    assert said == [f"{path} is left to pyav; decord: no such codec"]
    with pytest.raises(UnreadableVideo, match="h264.mp4 cannot be opened as a video: decord: no such codec$"):
        VideoReader(path, decoders=["decord"])


@pytest.fixture
def damaged(videos, tmp_path):
    """Writes a video with zeros in place of some of its first 13 frames, by whether others refer to them; the length
    and the header of a frame stay."""
    def damage(referred_to: bool, among: slice = slice(1, 13)):
        data = bytearray(videos["h264.mp4"].read_bytes())
        for start, size in packet_places(videos["h264.mp4"])[among]:
            if bool(data[start + 4] >> 5) == referred_to:  # nal_ref_idc
                data[start + 5:start + size] = bytes(size - 5)
        path = tmp_path / "damaged.mp4"
        path.write_bytes(data)
        return path
    return damage


def test_where_the_first_decoder_stumbles_in_the_middle_the_next_goes_on_and_says_so(videos, damaged):
    """Once open, a video was left to its decoder, whatever that said of the frames. decord decodes frames that no
    other refers to on its way, PyAV leaves them out."""
    said, path = [], damaged(referred_to=False)
    reader = VideoReader(path, decoders=["decord", "pyav"], warn=said.append)
    assert said == []
    assert np.array_equal(reader.frames([29, 25]), all_frames(videos["h264.mp4"])[[29, 25]])
    assert len(said) == 1 and said[0].startswith(f"{path} is left to pyav; decord: ")
    assert len(reader) == 30


@pytest.mark.parametrize("frame", [1, 5, 8, 10])
def test_a_damaged_frame_that_others_refer_to_is_no_picture(damaged, frame):
    """While FFmpeg may leave frames out it says nothing of such a frame, and the pictures after it were wrong."""
    reader = PyAVReader(str(damaged(referred_to=True, among=slice(frame, frame + 1))))
    with pytest.raises(av.error.FFmpegError):
        reader.frames([25, 29])


@pytest.mark.parametrize("decoders", [["pyav", "decord"], ["decord", "pyav"], ["pyav"]], ids="-".join)
def test_frames_that_nobody_can_decode_are_an_error_with_what_each_said(damaged, decoders):
    said, path = [], damaged(referred_to=True)
    reader = VideoReader(path, decoders=decoders, warn=said.append)
    decoders = decoders[:decoders.index("pyav") + 1]  # what PyAV has opened is left to no other
    each = "; ".join(f"{decoder}: .*" for decoder in decoders)
    with pytest.raises(UnreadableVideo, match=rf"damaged.mp4 cannot be decoded, frames 0, 29 of 30: {each}"):
        reader.frames(np.array([0, 29]))
    assert len(said) == len(decoders) - 1


def test_a_decoder_that_counts_other_frames_does_not_stand_in(videos, monkeypatch):
    """Its frame 20 would be another one than that which was asked for."""
    class Short(DecordReader):
        def __len__(self):
            return 29

        def frames(self, indices):
            raise RuntimeError("no frame")

    monkeypatch.setattr(decode, "DecordReader", Short)
    with pytest.raises(UnreadableVideo, match="decord: no frame; pyav: it counts 30 frames, 29 were counted before"):
        VideoReader(videos["h264.mp4"], decoders=["decord", "pyav"]).frames([20])


def test_what_pyav_has_opened_or_refused_is_never_left_to_decord(videos, monkeypatch):
    """decord gave another picture under the same number, in silence but for a line in the log."""
    monkeypatch.setattr(PyAVReader, "frames", lambda self, indices: 1 / 0)
    with pytest.raises(UnreadableVideo, match="frames 20 of 30: pyav: division by zero$"):
        VideoReader(videos["h264.mp4"]).frames([20])
    with pytest.raises(UnreadableVideo, match="pyav: its frames are 64 x 48, 100 pixels may be; raise max_pixels$"):
        VideoReader(videos["h264.mp4"], max_pixels=100)


def test_a_video_that_nobody_can_open_is_named_with_what_each_said(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(UnreadableVideo, match="text.mp4 cannot be opened as a video: pyav: .*Invalid data.*; decord: "):
        VideoReader(tmp_path / "text.mp4")
    with pytest.raises(UnreadableVideo, match="pyav: no video stream"):
        VideoReader(sound(), "sound.wav", ["pyav"])


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
    (["ffmpeg"], True, "out of pyav, decord, each once; got"), ([], True, "each once"), ("pyav", True, "each once"),
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
