"""Frames of a video by number: decord and PyAV behind one face. Imports nothing of ``mm*``; a decoder when asked for.

Nearly all of the time of a clip goes into decoding frames that nobody asked for, because frames are coded as
differences to others. decord decodes everything from the last keyframe to the wanted frame. Through PyAV the decoder is
told, packet by packet, to leave out frames that no other refers to (``AVDISCARD_NONREF``, most B-frames), which changes
nothing in the others: the frames are those of decord, bit by bit. Where the two differ, decord has jumped amiss and
gives a neighbour, as it may in open groups of pictures, interlaced video, MPEG streams and AVI files with B-frames.
``VideoReader`` tries one after the other.
"""
from __future__ import annotations

import bisect
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from .shards import UnreadableVideo

if TYPE_CHECKING:
    import av


class DecordReader:
    """An open video, decoded by decord on one thread.

    Args:
        source: Path, or the bytes of the file.

    Raises:
        RuntimeError: Not a video.
    """

    def __init__(self, source: str | bytes) -> None:
        import decord
        self._reader = decord.VideoReader(io.BytesIO(source) if isinstance(source, bytes) else source, num_threads=1)
        self.fps = float(self._reader.get_avg_fps())

    def __len__(self) -> int:
        return len(self._reader)

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """RGB frames in the order of ``indices``, which may repeat, uint8 ``(len(indices), h, w, 3)``."""
        return self._reader.get_batch(indices).asnumpy()

    def close(self) -> None:
        self._reader = None


class PyAVReader:
    """An open video, decoded by PyAV on one thread, without the frames that neither were asked for nor are needed.

    The compressed stream is held in memory. AVI files keep no time of display, so there every frame up to the last
    wanted one is decoded and counted.

    Args:
        source: Path, or the bytes of the file.
        loop_filter: Whether H.264 and its kin smooth the edges of their blocks. Without, decoding takes a fifth less,
            and frames are off by 1 to 3 grey levels in the mean, the more the farther from the last keyframe.

    Raises:
        ValueError: A file without a video, or without time stamps by which frames could be told.
        av.error.FFmpegError: Not a video.
    """

    def __init__(self, source: str | bytes, loop_filter: bool = True) -> None:
        import av
        self._container = av.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        if not self._container.streams.video:
            raise ValueError("no video stream")
        stream = self._container.streams.video[0]
        self.fps = float(stream.average_rate or 0)
        self._codec = stream.codec_context
        self._codec.thread_count, self._codec.thread_type = 1, "NONE"
        if not loop_filter:
            self._codec.options = {"skip_loop_filter": "all"}
        self._codec.open()  # before skip_frame is set: libdav1d (AV1) reads it here, for good
        self._packets = [packet for packet in self._container.demux(stream) if packet.size]  # in the order of decoding
        shown = [(packet.pts, place) for place, packet in enumerate(self._packets) if not packet.is_discard]
        self._place = dict(shown)  # of each frame's packet, by the time of display
        self._count = len(shown)
        self._timed = self._container.format.name != "avi"
        if self._timed and (None in self._place or len(self._place) < self._count):
            raise ValueError("packets without time stamps of their own")
        self._keys = [(stamp, place) for stamp, place in shown if self._packets[place].is_keyframe]

    def __len__(self) -> int:
        return self._count

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """RGB frames in the order of ``indices``, which may repeat, uint8 ``(len(indices), h, w, 3)``.

        Raises:
            ValueError: A frame that the decoder kept to itself, as it does with damaged ones.
            av.error.FFmpegError: A damaged packet.
        """
        self._codec.flush_buffers()  # of what an earlier call left
        wanted = {int(index) for index in indices}
        images = self._by_time(wanted) if self._timed else self._by_count(wanted)
        if self._timed and wanted - set(images):
            images = self._by_time(wanted, everything=True)  # H.264 with intra refresh gives nothing after a jump
        if lost := sorted(wanted - set(images)):
            raise ValueError(f"the decoder gave no frame {lost[0]}")
        return np.stack([images[index] for index in indices])

    def _by_time(self, indices: set[int], everything: bool = False) -> dict[int, np.ndarray]:
        order = sorted(self._place)
        wanted = {order[index]: index for index in sorted(indices)}
        images: dict[int, np.ndarray] = {}
        for packet in [*self._packets, None] if everything else self._needed(wanted):
            if packet is not None:
                whole = everything or packet.pts in wanted or self._is_known_reference(packet)
                self._codec.skip_frame = "DEFAULT" if whole else "NONREF"
            images.update((wanted[frame.pts], _image(frame)) for frame in self._codec.decode(packet)
                          if frame.pts in wanted)
            if packet is None:
                self._codec.flush_buffers()
        return images

    def _is_known_reference(self, packet: av.Packet) -> bool:
        """Whether it can be told without decoding that others may refer to the frame of a packet: of H.264 alone.

        Where FFmpeg may leave frames out, it says nothing of H.264 frames that are damaged
        (``libavcodec/h264dec.c``, "no frame!"), and those that refer to them are wrong.
        """
        if self._codec.name != "h264":
            return False
        slices = [header for header in _nal_headers(bytes(packet), self._codec.extradata) if 1 <= header & 31 <= 5]
        return not slices or any(header >> 5 & 3 for header in slices)

    def _needed(self, stamps: Iterable[int]) -> Iterator[av.Packet | None]:
        """Packets from the last keyframe before each time of display, in ascending order, to the frame's own; None
        where the decoder is to give what it has kept, before a jump and at the end."""
        place = 0  # of the next packet
        for stamp in stamps:
            key = bisect.bisect_right(self._keys, (stamp, len(self._packets))) - 1
            start = self._keys[key][1] if key >= 0 else 0
            if start > place:
                yield None
                place = start
            yield from self._packets[place:self._place[stamp] + 1]
            place = max(place, self._place[stamp] + 1)
        yield None

    def _by_count(self, indices: set[int]) -> dict[int, np.ndarray]:
        images: dict[int, np.ndarray] = {}
        frames = (frame for packet in [*self._packets, None] for frame in self._codec.decode(packet))
        for index, frame in zip(range(max(indices) + 1), frames):
            if index in indices:
                images[index] = _image(frame)
        return images

    def close(self) -> None:
        self._packets = []
        self._container.close()


def _nal_headers(data: bytes, extradata: bytes | None) -> Iterator[int]:
    """First byte of each unit of an H.264 packet (ITU-T H.264, 7.3.1): ``nal_ref_idc`` in bits 5 and 6, type below.

    Units stand behind their length, in as many bytes as ``extradata`` says (ISO/IEC 14496-15, 5.3.3.1), or behind start
    codes.
    """
    if extradata and extradata[0] == 1:
        width, place = (extradata[4] & 3) + 1, 0
        while place + width < len(data):
            yield data[place + width]
            place += width + int.from_bytes(data[place:place + width])
    else:
        place = data.find(b"\0\0\1") + 3
        while 3 <= place < len(data):
            yield data[place]
            place = data.find(b"\0\0\1", place) + 3


def _image(frame) -> np.ndarray:
    """A frame of PyAV as it is meant to be seen, RGB, uint8 ``(h, w, 3)``."""
    image = frame.to_ndarray(format="rgb24", threads=1)
    return np.rot90(image, frame.rotation // 90) if frame.rotation else image


DECODERS = {"pyav": "av", "decord": "decord"}  # name -> module, in the order in which they are tried unless told


def check_decoders(decoders: Sequence[str], loop_filter: bool = True) -> tuple[str, ...]:
    """The names, once they can be honoured.

    Raises:
        ValueError: An unknown name, none or one that stands twice; no loop filter with a decoder that insists on it.
        ImportError: The first is not installed. Those that only stand in for it may be missing.
    """
    names = tuple(decoders)
    if isinstance(decoders, str) or not names or len(set(names)) < len(names) or not set(names) <= set(DECODERS):
        raise ValueError(f"decoders must be a list out of {', '.join(DECODERS)}, each once; got {decoders!r}")
    if not loop_filter and names[0] != "pyav":
        raise ValueError(f"loop_filter=False needs 'pyav' as the first decoder; got {list(names)}")
    if find_spec(DECODERS[names[0]]) is None:
        raise ImportError(f"the decoder {names[0]!r} is not installed: pip install {DECODERS[names[0]]}, or drop it")
    return names


class VideoReader:
    """An open video, decoded by the first of several decoders that can.

    One that fails gives its place to the next, when the video is opened and when frames are asked for.

    Args:
        source: Path, or the bytes of the file.
        name: What to call it in messages; the path by default.
        decoders: Out of ``DECODERS``, in the order in which they are tried.
        loop_filter: See ``PyAVReader``. A decoder that stands in for it and has no such switch filters.
        warn: Told by name of every video that a decoder leaves to the next, and why.

    Attributes:
        fps: Frames a second.

    Raises:
        UnreadableVideo: None of them can open it, or it holds no frame; the message names the video and what each said.
    """

    def __init__(self, source: str | os.PathLike | bytes, name: str | None = None,
                 decoders: Sequence[str] = tuple(DECODERS), loop_filter: bool = True,
                 warn: Callable[[str], object] = warnings.warn) -> None:
        self._name = name or os.fspath(source)
        # FFmpeg takes what stands before a colon for a protocol
        self._source = source if isinstance(source, bytes) else os.path.abspath(source)
        self._loop_filter, self._warn = loop_filter, warn
        self._waiting, self._failures = list(decoders), []
        self._count: int | None = None
        self._open_next("cannot be opened as a video")
        self.fps = self._reader.fps

    def __len__(self) -> int:
        return self._count

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """RGB frames in the order of ``indices``, which may repeat, uint8 ``(len(indices), h, w, 3)``.

        Raises:
            IndexError: A number that is none of a frame.
            UnreadableVideo: None of the decoders gives them; the message names the video and what each said.
        """
        if outside := [index for index in indices if not 0 <= index < len(self)]:
            raise IndexError(f"{self._name} has no frame {outside[0]} among {len(self)}")
        while True:
            try:
                return self._reader.frames(indices)
            except Exception as error:  # decoders raise what they like; every word of it is passed on
                self._note(error)
                self._reader.close()
                asked = ", ".join(map(str, indices[:8])) + ", ..." * (len(indices) > 8)
                self._open_next(f"cannot be decoded, frames {asked} of {self._count}")

    def close(self) -> None:
        """Give file and memory back."""
        self._reader.close()
        self._source = b""

    def _open_next(self, what_failed: str) -> None:
        while self._waiting:
            self._decoder = self._waiting.pop(0)
            try:
                reader = (DecordReader(self._source) if self._decoder == "decord"
                          else PyAVReader(self._source, self._loop_filter))
                self._check_count(len(reader))
            except Exception as error:  # as in frames
                self._note(error)
                continue
            if self._failures:
                self._warn(f"{self._name} is left to {self._decoder}; {'; '.join(self._failures)}")
            self._reader = reader
            return
        raise UnreadableVideo(f"{self._name} {what_failed}: {'; '.join(self._failures)}")

    def _check_count(self, count: int) -> None:
        """Frames are asked for by number, which a decoder that counts others would take for another frame."""
        if not count:
            raise ValueError("it holds no frame")
        if self._count not in (None, count):
            raise ValueError(f"it counts {count} frames, {self._count} were counted before")
        self._count = count

    def _note(self, error: Exception) -> None:
        self._failures.append(f"{self._decoder}: {' '.join(str(error).split()) or type(error).__name__}")
