"""Frames of a video by number: decord and PyAV behind one face. Imports nothing of ``mm*``; a decoder when asked for.

Nearly all of the time of a clip goes into decoding frames that nobody asked for, because frames are coded as
differences to others. decord decodes everything from the last keyframe to the wanted frame. Through PyAV the decoder is
told, packet by packet, to leave out frames that no other refers to (``AVDISCARD_NONREF``, most B-frames), which changes
nothing in the others: the frames are those of decord, bit by bit. Where the two differ, decord has jumped amiss and
gives a neighbour, as it may in open groups of pictures, MPEG program streams and AVI files with B-frames.
"""
from __future__ import annotations

import bisect
import io
import os
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np

from .shards import UnreadableVideo


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
        if outside := [index for index in indices if not 0 <= index < self._count]:
            raise ValueError(f"no frame {outside[0]} among {self._count}")
        images = (self._by_time if self._timed else self._by_count)({int(index) for index in indices})
        if lost := [index for index in indices if index not in images]:
            raise ValueError(f"the decoder gave no frame {lost[0]}")
        return np.stack([images[index] for index in indices])

    def _by_time(self, indices: set[int]) -> dict[int, np.ndarray]:
        order = sorted(self._place)
        wanted = {order[index]: index for index in sorted(indices)}
        images: dict[int, np.ndarray] = {}

        def keep(frames: list) -> None:
            images.update((wanted[frame.pts], _image(frame)) for frame in frames if frame.pts in wanted)

        place = 0  # of the next packet
        for stamp in wanted:
            key = bisect.bisect_right(self._keys, (stamp, len(self._packets))) - 1
            start = self._keys[key][1] if key >= 0 else 0
            if start > place:
                keep(self._codec.decode(None))
                self._codec.flush_buffers()
                place = start
            while place <= self._place[stamp]:
                packet = self._packets[place]
                self._codec.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
                keep(self._codec.decode(packet))
                place += 1
        keep(self._codec.decode(None))
        self._codec.flush_buffers()
        return images

    def _by_count(self, indices: set[int]) -> dict[int, np.ndarray]:
        images: dict[int, np.ndarray] = {}
        frames = (frame for packet in [*self._packets, None] for frame in self._codec.decode(packet))
        for index, frame in zip(range(max(indices) + 1), frames):
            if index in indices:
                images[index] = _image(frame)
        self._codec.flush_buffers()
        return images

    def close(self) -> None:
        self._packets = []
        self._container.close()


def _image(frame) -> np.ndarray:
    """A frame of PyAV as it is meant to be seen, RGB, uint8 ``(h, w, 3)``."""
    image = frame.to_ndarray(format="rgb24", threads=1)
    return np.rot90(image, frame.rotation // 90) if frame.rotation else image


DECODERS = {"decord": "decord", "pyav": "av"}  # name -> module


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


def open_video(source: str | os.PathLike | bytes, name: str | None = None,
               decoders: Sequence[str] = ("decord", "pyav"), loop_filter: bool = True,
               warn: Callable[[str], object] = warnings.warn) -> DecordReader | PyAVReader:
    """Open a video with the first of the decoders that can.

    Args:
        source: Path, or the bytes of the file.
        name: What to call it in messages; the path by default.
        decoders: Out of ``DECODERS``, in the order in which they are tried.
        loop_filter: See ``PyAVReader``. A decoder that stands in for it and has no such switch filters.
        warn: Told by name of every video that the first decoder could not open and another did.

    Raises:
        UnreadableVideo: None of them can, or it holds no frame; the message names the video and what each said.
    """
    name = name or os.fspath(source)
    if not isinstance(source, bytes):
        source = os.path.abspath(source)  # FFmpeg takes what stands before a colon for a protocol
    failures = []
    for decoder in decoders:
        try:
            reader = DecordReader(source) if decoder == "decord" else PyAVReader(source, loop_filter)
            if not len(reader):
                raise ValueError("it holds no frame")
        except Exception as error:  # decoders raise what they like; every word of it is passed on
            failures.append(f"{decoder}: {' '.join(str(error).split())}")
            continue
        if failures:
            warn(f"{name} is decoded by {decoder}; {'; '.join(failures)}")
        return reader
    raise UnreadableVideo(f"{name} cannot be opened as a video: {'; '.join(failures)}")
