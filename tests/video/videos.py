"""Small videos of any codec, written with PyAV."""
from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV writes the videos: pip install av")

KINDS = {
    "h264.mp4": ("libx264", {}),
    "pyramid.mp4": ("libx264", {"g": "20", "bf": "6"}),
    "open_gop.mp4": ("libx264", {"g": "10", "x264-params": "open-gop=1:scenecut=0"}),
    "no_b_frames.mp4": ("libx264", {"g": "10", "bf": "0"}),
    "h264.mkv": ("libx264", {"g": "10"}),
    "vp9.webm": ("libvpx-vp9", {"g": "10"}),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "h264.avi": ("libx264", {"g": "10"}),
    "mpeg1.mpg": ("mpeg1video", {}),
    "intra_refresh.mp4": ("libx264", {"x264-params": "intra-refresh=1:keyint=10:bframes=0"}),
    "interlaced.mp4": ("libx264", {"x264-params": "tff=1:keyint=12"}),
    "open_gop_hevc.mp4": ("libx265", {"x265-params": "keyint=10:open-gop=1:bframes=4:log-level=none"}),
    "av1.mp4": ("libsvtav1", {"g": "10"}),
}
DECORD_MISSES = {"open_gop.mp4", "mpeg4.avi", "h264.avi", "mpeg1.mpg", "intra_refresh.mp4", "interlaced.mp4",
                 "open_gop_hevc.mp4", "av1.mp4"}
"""Kinds where decord may give neighbours of the frames that it is asked for, once it has jumped; AV1 it cannot read."""


def write_video(path: Path, num_frames: int = 30, size: tuple[int, int] = (48, 64), codec: str = "libx264",
                options: dict | None = None, seed: int = 0) -> Path:
    """A patchwork with a bar that wanders, ``size`` as (h, w); every frame differs from the others.

    An encoder that cannot be had costs its test alone: libvpx refuses in some processes that hold another copy of it.
    """
    try:
        return _write(path, num_frames, size, codec, dict(options or {}, threads="1"), seed)
    except (av.error.ArgumentError, av.codec.codec.UnknownCodecError) as error:
        pytest.skip(f"the encoder {codec} cannot be opened here: {error}")


def _write(path: Path, num_frames: int, size: tuple[int, int], codec: str, options: dict, seed: int) -> Path:
    rng, (h, w) = np.random.default_rng(seed), size
    patches = cv2.resize(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8), (w, h), interpolation=cv2.INTER_NEAREST)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        for t in range(num_frames):
            frame = patches.copy()
            frame[:, (2 * t) % w:(2 * t) % w + 8] = (8 * t % 256, 255 - 8 * t % 256, 128)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def all_frames(path: Path) -> np.ndarray:
    """The slow and obvious way: every frame as it comes out of the decoder."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def packet_places(path: Path) -> list[tuple[int, int]]:
    """Where in the file each frame begins, and its bytes, in the order of decoding."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def turn_clockwise(path: Path, turned: Path) -> Path:
    """The same .mp4 with a display matrix that turns it by a quarter, as telephones write it."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start:start + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    turned.write_bytes(data)
    return turned
