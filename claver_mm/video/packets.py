"""The packets of a video file, by their place in the order of decoding. Pure: imports nothing of ``mm*``."""
from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .headers import kinds_reader

if TYPE_CHECKING:
    import av

HELD = 64 << 20
"""Bytes of packets that are kept in memory; of a video with more, the file is read again for every call."""
REORDERED = 16
"""Places by which a picture may be shown before or after its turn in the order of decoding, as H.264 and HEVC allow."""


def open_container(source: str | bytes) -> av.container.InputContainer:
    """A file by its path, or its bytes; ``av.error.FFmpegError`` for what is no video."""
    import av
    return av.open(io.BytesIO(source) if isinstance(source, bytes) else source)


class Packets:
    """The packets of the main video of a file, read once from end to end to learn when each is shown.

    The main video is the one that ffmpeg takes: the largest, one that is marked as default before others, no cover
    picture.

    Args:
        container: The file, just opened.
        source: Path, or the bytes of the file, to open it again.

    Attributes:
        codec: The decoder, not yet open.
        fps: Frames a second on average.
        shown: Places of the packets in the order in which their pictures are shown, int64; None where the packets do
            not tell.
        count: Pictures that they show; None where the packets do not tell. Those of AVI files, which keep no time of
            display, mostly do.
        why: Why ``shown`` is None.
        rank: Of each packet its place in the order of display, int64; where each holds one picture.
        keys: Places of the packets that are marked as keyframes, int64; as ``rank``.
        kinds: Letters of each packet (``headers.py``); none where every picture stands alone.

    Raises:
        ValueError: A file without a video, or one that loses packets.
        av.error.FFmpegError: A damaged file.
    """

    def __init__(self, container: av.container.InputContainer, source: str | bytes) -> None:
        self._source = source
        self._choose(container)
        self.codec = self._stream.codec_context
        if self.codec is None:
            raise ValueError("FFmpeg has no decoder for it here")
        self.fps = float(self._stream.average_rate or 0)
        self._held: list[av.Packet] | None = []
        intra, hevc = int(self.codec.codec.properties) & 1, self.codec.codec.canonical_name == "hevc"
        read, extradata = kinds_reader(self.codec.codec.canonical_name), self.codec.extradata
        self.kinds, held = [], 0
        stamps, times, sizes, keys, hidden = columns = [], [], [], [], []
        gaps = self._container.format.name == "mpegts"  # where one between parts makes a packet corrupt
        for packet in self._demux():
            if packet.is_corrupt and not gaps:
                raise ValueError(f"packet {len(sizes)} is cut short")
            stamps.append(packet.pts)
            times.append(packet.dts)
            sizes.append(packet.size)
            keys.append(packet.is_keyframe)
            hidden.append(packet.is_discard)
            if not intra:
                self.kinds.append(read(bytes(packet), extradata) if read else None)
            if self._held is not None:
                held += packet.size
                self._held.append(packet)
                if held > HELD:
                    self._held = None
        kinds = set(self.kinds)
        self._learn(*columns, irregular=any(letters is None or len(letters) != 1 for letters in kinds),
                    bidirectional=bool(self.codec.has_b_frames) if hevc else bool(kinds & {"b", "B"}))
        if self.why:
            self.count = None  # but for AVI, where no picture leans on one that was cut away
            if self._container.format.name == "avi" and self.kinds and None not in self.kinds and not hevc:
                letters = "".join([*self.kinds[:-1], self.kinds[-1][:1]]).upper()  # FFmpeg unpacks with the next one
                self.count = len(letters) if letters[:1] == "I" and letters[1:2] != "B" else None

    def __len__(self) -> int:
        return self._len

    def _learn(self, stamps: list, times: list, sizes: list, keys: list, hidden: list, irregular: bool,
               bidirectional: bool) -> None:
        self._len, self.shown, self.count, self.why = len(sizes), None, None, ""
        if self._held is None:
            self._sizes, self._times = np.array(sizes, np.int64), None if None in times else np.array(times, np.int64)
            if self._times is not None and np.any(np.diff(self._times) <= 0):
                self._times = None
        if irregular:
            self.why = "its packets may not hold one picture each"
            return
        self.keys = np.flatnonzero(keys)
        self.rank = order = places = np.arange(len(sizes))
        if timed := None not in stamps:
            stamps = np.array(stamps, np.int64)
            order = np.argsort(stamps, kind="stable")
            self.rank = np.empty_like(order)
            self.rank[order] = places
        if sizes and (not keys[0] or order[0]):
            self.why = "it does not begin with a keyframe"
        elif timed and np.any(np.diff(stamps[order]) == 0):
            self.why = "packets share their time stamps"
        elif np.any(np.abs(self.rank - places) > REORDERED):
            self.why = "its time stamps jump"
        else:
            self.count = len(sizes) - sum(hidden)
            if bidirectional and np.array_equal(order, places):
                self.why = "it has B-frames, and no time stamps, or such that follow the order of coding"
            else:
                self.shown = order[~np.array(hidden, bool)[order]]

    def between(self, start: int, stop: int) -> Iterator[av.Packet]:
        """Packets from one place up to another, each with its place as ``pts``.

        Raises:
            ValueError: The file has changed.
        """
        if self._held is not None:
            for place in range(start, stop):
                self._held[place].pts = place
                yield self._held[place]
            return
        packets, place = self._from_near(start)
        for packet in packets:
            if place >= stop:
                return
            if packet.size != self._sizes[place]:
                raise ValueError(f"packet {place} is not the one that was there when the video was opened")
            if place >= start:
                packet.pts = place
                yield packet
            place += 1

    def _from_near(self, start: int) -> tuple[Iterator[av.Packet], int]:
        """Packets from some place at or before ``start``, and that place."""
        if start and self._times is not None:
            self._container.seek(int(self._times[start]), stream=self._stream)
            packets = self._demux()
            if first := next(packets, None):
                place = int(np.searchsorted(self._times, first.dts)) if first.dts is not None else len(self)
                if place <= start and (self._times[place], self._sizes[place]) == (first.dts, first.size):
                    return _with_first(first, packets), place
        self._container.close()
        self._choose(open_container(self._source))
        return self._demux(), 0

    def _choose(self, container: av.container.InputContainer) -> None:
        self._container = container
        videos = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not videos:
            raise ValueError("no video stream")
        self._stream = max(videos, key=_weight) if len(videos) > 1 else videos[0]

    def _demux(self) -> Iterator[av.Packet]:
        return (packet for packet in self._container.demux(self._stream) if packet.size)

    def close(self) -> None:
        """Give file and memory back."""
        self._held = None
        self._container.close()


def _is_cover(stream: av.VideoStream) -> bool:
    from av.stream import Disposition
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _weight(stream: av.VideoStream) -> int:
    """By which ffmpeg chooses among the videos of a file, and takes the first of equal ones."""
    from av.stream import Disposition
    size = stream.codec_context.width * stream.codec_context.height if stream.codec_context else 0
    return size + 5_000_000 * bool(stream.disposition & Disposition.default)


def _with_first(first: av.Packet, others: Iterator[av.Packet]) -> Iterator[av.Packet]:
    yield first
    yield from others
