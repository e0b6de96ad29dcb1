"""Frames of a video by number, through PyAV. Pure: imports nothing of ``mm*``.

Frame ``n`` is the ``n``-th picture that ffmpeg shows of the main video, upright, whatever else is asked for. Where the
packets tell which of them holds it (``packets.py``), decoding begins at the last keyframe before it, and frames that no
other refers to are left out on the way (``AVDISCARD_NONREF``, most B-frames), which changes nothing in the others. The
decoder has to confirm both: what it begins with is a keyframe to it, and pictures come out in the order that their time
stamps say. Where the packets do not tell, all is decoded from the start, and counted.
"""
from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .containers import check_whole
from .packets import Packets, open_container

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter

MAX_PIXELS = 4096 * 4096
"""Pixels of a frame unless told: above any 4K and 5.3K camera, 50 MB in RGB. A file of 100 KB can ask for more."""
FRAMES_AT_ONCE = 64
"""Frames of ``max_pixels`` that one call may hold, and as many more as they are smaller."""


class Refused(ValueError):
    """A video that opens, and whose frames cannot be had by number; no other decoder may guess at them."""


class _NotConfirmed(Exception):
    """What a decoder began with is no keyframe to it."""


class PyAVReader:
    """An open video, decoded by PyAV on one thread; see the head of the file.

    The compressed stream is held in memory up to ``packets.HELD`` bytes, and read again beyond.

    Args:
        source: Path, or the bytes of the file.
        loop_filter: Whether H.264 and its kin smooth the edges of their blocks. Without, decoding takes a fifth less,
            and frames are off by 1 to 3 grey levels in the mean, the more the farther from the last keyframe.
        max_pixels: A video of larger frames is refused, and so are more frames at once than would take the memory of
            ``FRAMES_AT_ONCE`` of that size.

    Attributes:
        fps: Frames a second on average.
        forward: Why all frames before the wanted ones have to be decoded, which costs time; empty where they need not.

    Raises:
        Refused: A file without a video, one that is cut off, or frames that are too large; where all has to be decoded
            to count the frames, a damaged one.
        av.error.FFmpegError: Not a video.
    """

    def __init__(self, source: str | bytes, loop_filter: bool = True, max_pixels: int = MAX_PIXELS) -> None:
        container = open_container(source)
        try:
            check_whole(source)
            self._begin(Packets(container, source), loop_filter, max_pixels)
        except ValueError as error:  # FFmpeg's own are, too
            container.close()
            raise Refused(str(error)) from error

    def _begin(self, packets: Packets, loop_filter: bool, max_pixels: int) -> None:
        self._packets, self._max_pixels = packets, max_pixels
        self._codec, self.fps, self.forward = self._packets.codec, self._packets.fps, self._packets.why
        if self._codec.width * self._codec.height > max_pixels:
            raise ValueError(f"its frames are {self._codec.width} x {self._codec.height}, {max_pixels} pixels may be; "
                             "raise max_pixels")
        self._codec.thread_count, self._codec.thread_type = 1, "NONE"
        options = {"max_pixels": str(2 * max_pixels)}  # in the middle too; decoders pad, so twice as many
        self._codec.options = options if loop_filter else options | {"skip_loop_filter": "all"}
        self._codec.open()  # before skip_frame is set: libdav1d (AV1) reads it here, for good
        self._count = self._packets.count
        if self._count is None:
            self._count = sum(1 for _ in self._all())

    def __len__(self) -> int:
        return self._count

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """RGB frames in the order of ``indices``, which may repeat, uint8 ``(len(indices), h, w, 3)``.

        Raises:
            ValueError: A frame that the decoder kept to itself or that is damaged, frames of several sizes, pictures in
                another order than their time stamps say, or more frames than memory is meant for.
            av.error.FFmpegError: A damaged packet.
        """
        pictures = _Pictures(indices, self._max_pixels)
        for index, frame in self._shown(set(pictures.wanted)):
            pictures.put(index, frame)
        return pictures.array()

    def each(self, indices: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Numbers and frames ``(h, w, 3)`` one by one, as they are shown: forward through the video, one at a time in
        memory. Errors are those of ``frames``."""
        from av.video.reformatter import VideoReformatter
        reformatter, wanted = VideoReformatter(), {int(index) for index in indices}
        for index, frame in self._shown(set(wanted)):
            if index in wanted:  # not given before the keyframes turned out to be none
                wanted.discard(index)
                yield index, upright(frame, reformatter)

    def _shown(self, wanted: set[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Numbers and pictures that are wanted, as they are shown; from the first again where marks turn out to lie."""
        if self._packets.shown is None:
            yield from self._by_count(wanted)
        elif self.forward:
            yield from self._by_place(wanted, whole=True)
        else:
            try:
                yield from self._by_place(wanted)
            except _NotConfirmed:  # marks that lie, or H.264 with intra refresh, which has no keyframes
                self.forward = "its keyframes are none to the decoder"
                yield from self._by_place(wanted, whole=True)

    def _by_place(self, indices: set[int], whole: bool = False) -> Iterator[tuple[int, av.VideoFrame]]:
        wanted = {int(self._packets.shown[index]): index for index in indices}
        missing = set(indices)
        steps = [(0, len(self._packets))] if whole else self._stretches(wanted)
        for start, stop in steps:
            self._codec.flush_buffers()  # of what came before
            confirmed, damaged, last = whole or not start, False, -1
            for frame in self._decode(start, stop, frozenset(wanted) if not whole else None):
                place = frame.pts
                if place is None or not 0 <= place < len(self._packets):
                    raise ValueError("a picture that belongs to no packet")
                if place == start and not confirmed:
                    if not _is_key(frame):
                        raise _NotConfirmed
                    confirmed = True
                damaged = frame.is_corrupt or damaged and not _is_key(frame)
                rank = int(self._packets.rank[place])
                if rank <= last:
                    raise ValueError("its pictures come in another order than their time stamps say")
                last = rank
                if place in wanted:
                    if not confirmed:
                        raise _NotConfirmed
                    if damaged:
                        raise ValueError(f"frame {wanted[place]} is damaged")
                    missing.discard(wanted[place])
                    yield wanted[place], frame
            if not confirmed:
                raise _NotConfirmed
        if missing and not whole:
            raise _NotConfirmed
        if missing:
            raise ValueError(f"the decoder gave no frame {min(missing)}")

    def _stretches(self, places: Iterator[int]) -> list[tuple[int, int]]:
        """Stretches of packets, as few as hold the wanted ones: from a keyframe to the last that is wanted behind."""
        rank, keys, stretches = self._packets.rank, self._packets.keys, []
        for place in sorted(places, key=rank.__getitem__):
            before = keys[:np.searchsorted(keys, place, side="right")]
            start = int(before[np.flatnonzero(rank[before] <= rank[place])[-1]])
            if stretches and start < stretches[-1][1]:
                start, stop = stretches.pop()
                stretches.append((start, max(stop, place + 1)))
            else:
                stretches.append((start, place + 1))
        return stretches

    def _decode(self, start: int, stop: int, wanted: frozenset[int] | None) -> Iterator[av.VideoFrame]:
        """Pictures of a stretch of packets; where ``wanted`` is None all of them, else what it needs."""
        skipped = None
        for packet in self._packets.between(start, stop):
            skip = wanted is not None and packet.pts not in wanted and not self._is_known_reference(packet.pts)
            if skip is not skipped:
                self._codec.skip_frame, skipped = "NONREF" if skip else "DEFAULT", skip
            yield from self._codec.decode(packet)
        yield from self._codec.decode(None)

    def _is_known_reference(self, place: int) -> bool:
        """Whether it can be told without decoding that others may refer to the frame of a packet: of H.264 alone.

        Where FFmpeg may leave frames out, it says nothing of H.264 frames that are damaged
        (``libavcodec/h264dec.c``, "no frame!"), and those that refer to them are wrong.
        """
        return self._codec.name == "h264" and self._packets.kinds[place].isupper()

    def _by_count(self, wanted: set[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        last, damaged, missing = max(wanted, default=-1), False, set(wanted)
        for index, frame in enumerate(self._all()):
            damaged = frame.is_corrupt or damaged and not _is_key(frame)
            if index in wanted:
                if damaged:
                    raise ValueError(f"frame {index} is damaged")
                missing.discard(index)
                yield index, frame
            if index == last:
                break
        if missing:
            raise ValueError(f"the decoder gave no frame {min(missing)}")

    def _all(self) -> Iterator[av.VideoFrame]:
        """All pictures from the start. Packets before the first picture that cannot be decoded hold none: a recording
        may begin between keyframes."""
        from av.error import InvalidDataError
        self._codec.flush_buffers()
        self._codec.skip_frame = "DEFAULT"
        begun = False
        for packet in self._packets.between(0, len(self._packets)):
            try:
                frames = self._codec.decode(packet)
            except InvalidDataError:
                if begun:
                    raise
                continue
            begun = begun or bool(frames)
            yield from frames
        yield from self._codec.decode(None)

    def close(self) -> None:
        """Give file and memory back."""
        self._packets.close()


def _is_key(frame: av.VideoFrame) -> bool:
    """Whether a picture, as it was decoded, refers to no other, nor does any that is shown after it to one before."""
    from av.video.frame import PictureType
    return frame.key_frame and frame.pict_type == PictureType.I


class _Pictures:
    """Frames of a call, each written once into one array."""

    def __init__(self, indices: Sequence[int], max_pixels: int) -> None:
        from av.video.reformatter import VideoReformatter
        self.wanted: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            self.wanted.setdefault(int(index), []).append(place)
        self._limit, self._count, self._array = FRAMES_AT_ONCE * max_pixels, len(indices), None
        self._reformatter = VideoReformatter()  # one for all, which costs a third less than one for each

    def put(self, index: int, frame: av.VideoFrame) -> None:
        image = upright(frame, self._reformatter)
        if self._array is None:
            h, w, _ = image.shape
            if self._count * h * w > self._limit:
                raise ValueError(f"{self._count} frames of {w} x {h} are more than {self._limit} pixels at once; "
                                 "ask for fewer, or raise max_pixels")
            self._array = np.empty((self._count, h, w, 3), np.uint8)
        if image.shape != self._array.shape[1:]:
            raise ValueError(f"frame {index} is {image.shape[1]} x {image.shape[0]}, others {self._array.shape[2]} x "
                             f"{self._array.shape[1]}")
        for place in self.wanted[index]:
            self._array[place] = image

    def array(self) -> np.ndarray:
        return np.empty((0, 0, 0, 3), np.uint8) if self._array is None else self._array


def upright(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """A frame of PyAV as it is meant to be seen, turned and mirrored, RGB, uint8 ``(h, w, 3)``.

    Raises:
        ValueError: A display matrix that turns by another angle than quarters.
    """
    from av.sidedata.sidedata import Type
    image = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return image
    # stored (x, y) is shown at (a x + c y, b x + d y); libavutil/display.h
    a, b, _, c, d = struct.unpack("=9i", bytes(matrix))[:5]
    if max(abs(b), abs(c)) * 50 <= min(abs(a), abs(d)):
        across, down = a, d
    elif max(abs(a), abs(d)) * 50 <= min(abs(b), abs(c)):
        image, across, down = image.transpose(1, 0, 2), c, b
    elif a == b == c == d == 0:
        return image
    else:
        raise ValueError(f"its display matrix turns it by {frame.rotation} degrees; only quarters can be turned")
    return image[::-1 if down < 0 else 1, ::-1 if across < 0 else 1]
