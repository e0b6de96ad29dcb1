"""Files of the real world: frame ``n`` is the ``n``-th picture, or the video is refused; never a neighbour, never grey.

The truth is the whole video, decoded from the start and counted.
"""
import itertools
import struct
from fractions import Fraction

import numpy as np
import pytest
from av.video.frame import PictureType
from videos import KINDS, all_frames, av, write_video

from claver_mm.video import packets, pyav_reader
from claver_mm.video.decode import VideoReader
from claver_mm.video.headers import kinds_reader
from claver_mm.video.pyav_reader import PyAVReader
from claver_mm.video.shards import UnreadableVideo


def frames_of(path, indices, **options):
    return VideoReader(path, decoders=["pyav"], **options).frames(indices)


def is_exact(path, truth):
    """Whether some frames, alone and together, are those of ``truth``, one reader after the other."""
    count = len(truth)
    reader = PyAVReader(str(path))
    assert len(reader) == count
    draws = [[count - 1], [count // 2, count // 2 + 1], list(range(0, count, 3)), *([n] for n in range(0, count, 4))]
    return all(np.array_equal(frames_of(path, draw), truth[draw]) and np.array_equal(reader.frames(draw), truth[draw])
               for draw in draws)


def put_again(source, path, change, start=0):
    """The packets of a video in another container, each after ``change(place, packet)``."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for place, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            if place >= start:
                packet.stream = stream
                change(place, packet)
                new.mux(packet)
    return path


def as_coded(place, packet):
    packet.time_base, packet.pts, packet.dts = Fraction(1, 25), place, place


@pytest.mark.parametrize("codec, options", [("libx264", {"g": "10"}), ("mpeg4", {"g": "12", "bf": "2"}),
                                            ("mpeg2video", {"g": "12", "bf": "2"})])
@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_time_stamps_in_the_order_of_coding_are_not_believed(tmp_path, codec, options, kind):
    """AVI or raw streams with B-frames that were put into MP4 or MKV: 60 of 60 clips had other pictures."""
    source = write_video(tmp_path / "a.mkv", codec=codec, options=options)
    path = put_again(source, tmp_path / f"b.{kind}", as_coded)
    assert PyAVReader(str(path)).forward
    assert is_exact(path, all_frames(source))


@pytest.mark.parametrize("codec, options", [("libx264", {"g": "10"}), ("mpeg2video", {"g": "12", "bf": "2"})])
def test_joined_recordings_are_counted_through(tmp_path, codec, options):
    """Time stamps start again; the video was left to decord, which gave pictures of the wrong part."""
    one, two = (write_video(tmp_path / f"{n}.ts", codec=codec, options=options, seed=n).read_bytes() for n in (0, 1))
    (tmp_path / "joined.ts").write_bytes(one + two)
    truth = np.concatenate([all_frames(tmp_path / "0.ts"), all_frames(tmp_path / "1.ts")])
    assert is_exact(tmp_path / "joined.ts", truth)


@pytest.mark.parametrize("codec, options", [
    ("libx264", {"g": "10"}), ("libx264", {"g": "10", "x264-params": "open-gop=1:scenecut=0"}),
    ("mpeg2video", {"g": "10", "bf": "2"}), ("vp9", {"g": "10"}),
    ("libx265", {"x265-params": "keyint=10:open-gop=1:bframes=4:log-level=none"})])
@pytest.mark.parametrize("start", [3, 10])
def test_recordings_that_begin_anywhere_hold_what_can_be_decoded(tmp_path, codec, options, start):
    """Packets before the first keyframe, and pictures that lean on what was cut away, were counted as frames."""
    source = write_video(tmp_path / "a.mkv", codec=codec.replace("vp9", "libvpx-vp9"), options=options)
    path = put_again(source, tmp_path / "b.mkv", lambda *_: None, start)
    reader, whole = PyAVReader(str(path)), all_frames(source)
    got = reader.frames(range(len(reader)))
    assert 30 - start - 10 <= len(reader) <= 30 - start
    assert np.array_equal(got, whole[-len(reader):]), "the last of the pictures, and no smear"
    assert is_exact(path, got)


@pytest.mark.parametrize("codec, options", [("mpeg4", {"g": "10"}), ("libx264", {"g": "10"}),
                                            ("mpeg2video", {"g": "10"}), ("libvpx-vp9", {"g": "10"})])
def test_marks_of_keyframes_that_lie_are_found_out(tmp_path, codec, options):
    """A table of keyframes that is missing makes all of them one: smears on grey, without a word."""
    source = write_video(tmp_path / "a.mkv", codec=codec, options=options)

    def mark(place, packet):
        packet.is_keyframe = True

    path = put_again(source, tmp_path / "b.mkv", mark)
    assert is_exact(path, all_frames(source))


def test_hidden_reference_frames_are_no_frames(tmp_path):
    """VP8 has them in packets of their own; six pictures too many were counted, and all after the first were others."""
    source = write_video(tmp_path / "a.webm", 40, codec="libvpx", options={
        "auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "7", "b": "100k", "g": "50"})
    kinds = packets.Packets(packets.open_container(str(source)), str(source)).kinds
    assert kinds.count("P") + kinds.count("I") == 40
    assert is_exact(source, all_frames(source))


def test_frames_that_are_not_coded_are_no_frames(tmp_path):
    """XviD writes such for stills; what they were counted as depended on which other frames were asked for."""
    source = write_video(tmp_path / "a.mp4", codec="mpeg4", options={"g": "30"})
    with av.open(str(source)) as old, av.open(str(tmp_path / "b.mp4"), "w") as new:
        stream, time = new.add_stream_from_template(old.streams.video[0]), 0
        for place, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            still = b"\0\0\1\xb6" + int(f"0101{(time + 1) % 25:05b}10".ljust(16, "1"), 2).to_bytes(2)
            for data in [bytes(packet)] + [still] * (place in (10, 11)):
                put = av.Packet(data)
                put.stream, put.time_base, put.pts, put.dts = stream, Fraction(1, 25), time, time
                put.is_keyframe, time = data != still and packet.is_keyframe, time + 1
                new.mux(put)
    assert is_exact(tmp_path / "b.mp4", all_frames(source))


def test_the_main_video_is_the_one_that_ffmpeg_takes(tmp_path):
    """A preview track that lies before the video was taken for it."""
    video = write_video(tmp_path / "a.mp4", size=(96, 128))
    preview = write_video(tmp_path / "p.mp4", 4, codec="mpeg4")
    with av.open(str(video)) as one, av.open(str(preview)) as two, av.open(str(tmp_path / "b.mkv"), "w") as new:
        streams = [(two, new.add_stream_from_template(two.streams.video[0])),
                   (one, new.add_stream_from_template(one.streams.video[0]))]
        for old, stream in streams:
            for packet in old.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    new.mux(packet)
    assert is_exact(tmp_path / "b.mkv", all_frames(video))


ONE = 1 << 16
TURNS = {  # a, b, c, d of the display matrix: (x, y) is shown at (a x + c y, b x + d y)
    (ONE, 0, 0, ONE): lambda image: image, (-ONE, 0, 0, ONE): np.fliplr, (ONE, 0, 0, -ONE): np.flipud,
    (-ONE, 0, 0, -ONE): lambda image: np.rot90(image, 2), (0, ONE, -ONE, 0): lambda image: np.rot90(image, -1),
    (0, -ONE, ONE, 0): np.rot90, (0, ONE, ONE, 0): lambda image: image.transpose(1, 0, 2),
    (0, -ONE, -ONE, 0): lambda image: np.rot90(image, 2).transpose(1, 0, 2)}


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_frames_stand_upright_turned_and_mirrored(tmp_path, turn):
    """A matrix that mirrors, as front cameras write it, came out turned by 180 degrees."""
    path = write_video(tmp_path / "a.mp4", 8)
    plain = all_frames(path)[5]
    a, b, c, d = turn
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start:start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    assert np.array_equal(frames_of(path, [5])[0], TURNS[turn](plain))


def test_a_video_that_is_turned_by_half_a_quarter_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", 8)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start:start + 36] = struct.pack(">9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    with pytest.raises(UnreadableVideo, match="only quarters can be turned"):
        frames_of(path, [5])


@pytest.mark.parametrize("kind", ["h264.mp4", "h264.mkv", "vp9.webm", "mpeg4.avi", "h264.mov", "fragments.mp4"])
@pytest.mark.parametrize("share", [0.6, 0.95])
def test_a_download_that_broke_off_is_refused(tmp_path, kind, share):
    """61 of 100 frames passed for the whole video, in training and in the check."""
    codec, options = KINDS.get(kind, ("libx264", {}))
    path = write_video(tmp_path / kind, codec=codec, options=options)
    if kind != "h264.mkv":  # the index in front
        flags = "empty_moov+frag_keyframe" if kind == "fragments.mp4" else "faststart"
        with av.open(str(path)) as old, av.open(str(tmp_path / f"f_{kind}"), "w", options=dict(
                movflags=flags) if path.suffix in (".mp4", ".mov") else {}) as new:
            stream = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    new.mux(packet)
        path = tmp_path / f"f_{kind}"
    data = path.read_bytes()
    assert len(VideoReader(data)) == 30
    with pytest.raises(UnreadableVideo, match=r"cut off: \d+ of at least \d+ bytes"):
        VideoReader(data[:int(len(data) * share)], "part.mp4")


@pytest.mark.parametrize("kind", ["pyramid.mp4", "h264.mkv", "mpeg4.avi", "open_gop_hevc.mp4", "mpeg1.mpg"])
def test_packets_that_are_not_held_are_read_again(tmp_path, kind, monkeypatch):
    """An hour of video held 1.2 GB of packets once it was open."""
    path = write_video(tmp_path / kind, codec=KINDS[kind][0], options=KINDS[kind][1])
    monkeypatch.setattr(packets, "HELD", 0)
    assert is_exact(path, all_frames(path))
    assert PyAVReader(str(path))._packets._held is None


def test_frames_beyond_the_bound_are_refused(tmp_path, monkeypatch):
    """A file of 105 KB asked for 4 to 9 GB."""
    path = write_video(tmp_path / "a.mp4", 20)
    assert pyav_reader.MAX_PIXELS < 8192 * 4320
    with pytest.raises(UnreadableVideo, match="64 x 48, 3071 pixels may be; raise max_pixels"):
        frames_of(path, [0], max_pixels=64 * 48 - 1)
    assert frames_of(path, [0], max_pixels=64 * 48).shape == (1, 48, 64, 3)
    monkeypatch.setattr(pyav_reader, "FRAMES_AT_ONCE", 4)
    with pytest.raises(UnreadableVideo, match="5 frames of 64 x 48 are more than 12288 pixels at once"):
        frames_of(path, range(5), max_pixels=64 * 48)


def test_a_video_in_memory_does_not_stand_in_its_error():
    with pytest.raises(UnreadableVideo, match="^a video of 100000 bytes cannot be opened") as error:
        VideoReader(b"no video  " * 10000)
    assert len(str(error.value)) < 500


def test_frames_of_several_sizes_are_never_mixed(tmp_path):
    """Parts of a joined recording may differ in size; numpy's word of it was all that was said."""
    small, large = write_video(tmp_path / "a.ts"), write_video(tmp_path / "b.ts", size=(96, 128))
    path = tmp_path / "c.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    assert np.array_equal(frames_of(path, [3, 9]), all_frames(small)[[3, 9]])
    assert np.array_equal(frames_of(path, [33, 39]), all_frames(large)[[3, 9]])
    with pytest.raises(UnreadableVideo, match="c.ts .*frame 33 is 128 x 96, others 64 x 48"):
        frames_of(path, [3, 33])


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"open_gop_hevc.mp4", "av1.mp4"}))
def test_headers_say_what_the_decoder_says(tmp_path, kind):
    """I, P and B of each picture, read from the packet alone."""
    path = write_video(tmp_path / kind, codec=KINDS[kind][0], options=KINDS[kind][1])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec, read = stream.codec_context, kinds_reader(stream.codec_context.codec.canonical_name)
        said, shown = {}, {}
        for place, packet in enumerate(container.demux(stream)):
            if packet.size:
                said[place] = read(bytes(packet), codec.extradata)
                packet.pts = place
            shown |= {frame.pts: PictureType(frame.pict_type).name
                      for frame in codec.decode(packet if packet.size else None)}
    told = {place: kinds for place, kinds in said.items() if kinds is not None}
    assert len(told) > 20 and {place: kinds.upper() for place, kinds in told.items()} == {
        place: shown[place] for place in told}


def test_noise_in_headers_is_no_crash():
    rng = np.random.default_rng(0)
    for codec, length in itertools.product(("h264", "hevc", "mpeg4", "mpeg2video", "vp8", "vp9"), (1, 2, 5, 40)):
        for _ in range(50):
            data = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
            for extradata in (None, b"", b"\1" * 4, b"\1" * 30):
                for start in (b"", b"\0\0\1", b"\0\0\1\xb6", b"\0\0\1\0"):
                    assert set(kinds_reader(codec)(start + data, extradata) or "") <= set("IPBpbi")


def test_packed_pictures_of_an_avi_are_counted_from_their_headers(tmp_path, monkeypatch):
    """XviD's B-frames stand in one packet with the picture before, and an empty one follows."""
    source = write_video(tmp_path / "a.avi", codec="mpeg4", options={"g": "30", "bf": "1", "b_strategy": "0"})
    with av.open(str(source)) as old, av.open(str(tmp_path / "b.avi"), "w") as new:
        stream, data = new.add_stream_from_template(old.streams.video[0]), [
            bytes(packet) for packet in old.demux(video=0) if packet.size]
        head = data[0].find(b"\0\0\1\xb6")
        data[0] = data[0][:head] + b"\0\0\1\xb2DivX503b1393p" + data[0][head:]
        pairs = [data[:1], *([part for pair in zip(data[1::2], data[2::2]) for part in ([b"".join(pair)],
                                                                                        [b"\0\0\1\xb6\x50\x5f"])])]
        for place, (part,) in enumerate(pairs + [[last] for last in data[1:][len(data[1:]) // 2 * 2:]]):
            packet = av.Packet(part)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), not place
            packet.pts = packet.dts = place
            new.mux(packet)
    monkeypatch.setattr(PyAVReader, "_all", lambda self: pytest.fail("it was decoded to count"))
    count = len(PyAVReader(str(tmp_path / "b.avi")))
    monkeypatch.undo()
    truth = all_frames(source)
    assert count == len(truth) and is_exact(tmp_path / "b.avi", truth)
