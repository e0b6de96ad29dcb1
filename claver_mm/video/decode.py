"""Frames of a video by number: decoders behind one face. Pure: imports nothing of ``mm*``; a decoder when asked for.

``pyav`` numbers frames as ffmpeg shows them (``pyav_reader.py``). ``decord`` does so in ordinary files alone, with the
same pixels: in open groups of pictures, interlaced video, MPEG streams and AVI files with B-frames it may jump amiss
and give a neighbour, and it counts hidden frames. So it may open what PyAV cannot, which is said, and never takes over
a video that PyAV has opened or refused.
"""
from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec

import numpy as np

from .pyav_reader import MAX_PIXELS, PyAVReader, Refused
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

    def each(self, indices: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """See ``PyAVReader.each``."""
        for index in sorted(set(indices)):
            yield index, self.frames([index])[0]

    def close(self) -> None:
        self._reader = None


def stretch(start: float | None, end: float | None, count: int, fps: float, name: str) -> tuple[int, int]:
    """First frame of a stretch of a video, and that behind its last one.

    Args:
        start, end: Seconds; None for the ends of the video. An end behind the video's is that of the video.
        count: Frames of the video.
        fps: Frames a second.
        name: Of the video, for the message.

    Raises:
        UnreadableVideo: No frame lies there, or it is not known when frames come.
    """
    if start is None and end is None:
        return 0, count
    if not fps > 0:
        raise UnreadableVideo(f"{name} does not say how many frames it has a second, so that no stretch of it can be "
                              "found by seconds")
    first = math.floor((start or 0) * fps + 1e-6)
    stop = count if end is None else min(count, max(first + 1, math.ceil(end * fps - 1e-6)))
    if first >= count:
        raise UnreadableVideo(f"{name} has {count / fps:.2f} s; the stretch from {start or 0:g} s on is not in it")
    return first, stop


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

    One that cannot open the video gives its place to the next. So does ``decord`` where frames cannot be decoded, if
    the next one counts as many; ``pyav`` does not, since no other numbers frames as exactly.

    Args:
        source: Path, or the bytes of the file.
        name: What to call it in messages; the path by default.
        decoders: Out of ``DECODERS``, in the order in which they are tried.
        loop_filter: See ``PyAVReader``. A decoder that stands in for it and has no such switch filters.
        warn: Told by name of every video that a decoder leaves to the next, and why.
        max_pixels: See ``PyAVReader``; ``decord`` knows no such bound.

    Attributes:
        fps: Frames a second.
        forward: Why all frames before the wanted ones have to be decoded, so far as is known; empty where they need
            not.

    Raises:
        UnreadableVideo: None of them can open it, or it holds no frame; the message names the video and what each said.
    """

    def __init__(self, source: str | os.PathLike | bytes, name: str | None = None,
                 decoders: Sequence[str] = tuple(DECODERS), loop_filter: bool = True,
                 warn: Callable[[str], object] = warnings.warn, max_pixels: int = MAX_PIXELS) -> None:
        self._name = name or (f"a video of {len(source)} bytes" if isinstance(source, bytes) else os.fspath(source))
        # FFmpeg takes what stands before a colon for a protocol
        self._source = source if isinstance(source, bytes) else os.path.abspath(source)
        self._loop_filter, self._warn, self._max_pixels = loop_filter, warn, max_pixels
        self._waiting = list(decoders)
        self._failures: list[str] = []
        self._count = 0  # until a decoder has counted
        self._open_next("cannot be opened as a video")
        self.fps = self._reader.fps

    def __len__(self) -> int:
        return self._count

    @property
    def forward(self) -> str:
        return getattr(self._reader, "forward", "")

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """RGB frames in the order of ``indices``, which may repeat, uint8 ``(len(indices), h, w, 3)``.

        Raises:
            IndexError: A number that is none of a frame.
            UnreadableVideo: None of the decoders gives them; the message names the video and what each said.
        """
        self._check_numbers(indices)
        while True:
            try:
                return self._reader.frames(indices)
            except Exception as error:  # decoders raise what they like; every word of it is passed on
                self._note(error)
                self._reader.close()
                if self._decoder == "pyav":
                    self._waiting.clear()
                asked = ", ".join(map(str, indices[:8])) + ", ..." * (len(indices) > 8)
                self._open_next(f"cannot be decoded, frames {asked} of {self._count}")

    def each(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Numbers and RGB frames, uint8 ``(h, w, 3)``, one by one as they are shown: any number of them in the memory
        of one. A number that stands twice is given once.

        Raises:
            IndexError: A number that is none of a frame.
            UnreadableVideo: The decoder does not give them; no other takes over in the middle.
        """
        self._check_numbers(indices)
        shown = self._reader.each(indices)
        while True:
            try:
                index, frame = next(shown)
            except StopIteration:
                return
            except Exception as error:
                self._note(error)
                self.close()
                raise UnreadableVideo(f"{self._name} cannot be decoded to its end: {'; '.join(self._failures)}"
                                      ) from error
            yield index, frame

    def _check_numbers(self, indices: Sequence[int]) -> None:
        if outside := [index for index in indices if not 0 <= index < len(self)]:
            raise IndexError(f"{self._name} has no frame {outside[0]} among {len(self)}")

    def close(self) -> None:
        """Give file and memory back."""
        self._reader.close()
        self._source = b""

    def _open_next(self, what_failed: str) -> None:
        while self._waiting:
            self._decoder = self._waiting.pop(0)
            try:
                reader = (DecordReader(self._source) if self._decoder == "decord"
                          else PyAVReader(self._source, self._loop_filter, self._max_pixels))
                self._check_count(len(reader))
            except Exception as error:  # as in frames
                self._note(error)
                if isinstance(error, Refused):
                    self._waiting.clear()
                continue
            if self._failures:
                self._warn(f"{self._name} is left to {self._decoder}; {'; '.join(self._failures)}")
            self._reader = reader
            return
        raise UnreadableVideo(f"{self._name} {what_failed}: {'; '.join(self._failures)}")

    def _check_count(self, count: int) -> None:
        """Frames are asked for by number, which a decoder that counts others would take for another frame."""
        if not count:
            raise Refused("it holds no frame")
        if self._count not in (0, count):
            raise Refused(f"it counts {count} frames, {self._count} were counted before")
        self._count = count

    def _note(self, error: Exception) -> None:
        self._failures.append(f"{self._decoder}: {' '.join(str(error).split()) or type(error).__name__}")
