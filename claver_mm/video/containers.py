"""Whether a file is as long as its own head says. Pure: imports nothing of ``mm*``.

A download that broke off ends within the part that holds the frames: ``mdat`` of MP4 and MOV (ISO/IEC 14496-12, 8.1.1),
``movi`` of AVI, a segment of Matroska and WebM (RFC 9559). Streams without such a head (MPEG-TS, MPEG-PS, raw ones)
can be cut anywhere, and nothing tells.
"""
from __future__ import annotations

import io
import os
from typing import BinaryIO


def check_whole(source: str | bytes) -> None:
    """Raises ``ValueError`` for a file that ends before it should, with the bytes that are there and those promised."""
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb", buffering=0) as file:
        there = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(12)
        file.seek(0)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            promised = _end_of_boxes(file, there)
        elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            promised = _end_of_riff(file, there)
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            promised = _end_of_segment(file)
        else:
            return
    if promised > there:
        raise ValueError(f"the file is cut off: {there} of at least {promised} bytes are there")


def _end_of_boxes(file: BinaryIO, there: int) -> int:
    place = end = 0
    while place + 8 <= there:
        file.seek(place)
        head = file.read(16)
        size, kind = int.from_bytes(head[:4]), head[4:8]
        size = int.from_bytes(head[8:]) if size == 1 else size
        if size < 8:  # 0: to the end of the file
            break
        place += size
        if kind == b"mdat":
            end = place
    return end


def _end_of_riff(file: BinaryIO, there: int) -> int:
    place = 12
    while place + 12 <= there:
        file.seek(place)
        head = file.read(12)
        size = int.from_bytes(head[4:8], "little")
        if head[8:12] == b"movi":
            return 0 if size in (0, 0xFFFFFFFF) else place + 8 + size  # a recording that was never finished
        place += 8 + size + size % 2
    return 0


def _end_of_segment(file: BinaryIO) -> int:
    """End of the first segment; 0 where its size is unknown, as in live recordings."""
    file.seek(4)
    file.seek(_ebml_size(file) or 0, os.SEEK_CUR)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    size = _ebml_size(file)
    return 0 if size is None else file.tell() + size


def _ebml_size(file: BinaryIO) -> int | None:
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1)) & (1 << 7 * length) - 1
    return None if value == (1 << 7 * length) - 1 else value
