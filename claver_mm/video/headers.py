"""What the headers of compressed pictures say before anything is decoded. Pure: imports nothing of ``mm*``.

Letters stand for the pictures that a packet shows, in the order of coding: ``I`` refers to no other, ``P`` to others,
``B`` may be shown before one that was coded earlier. A hidden picture has no letter. Of H.264 a small letter says that
no other picture refers to this one.
"""
from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

ReadKinds = Callable[[bytes, bytes | None], str | None]


def nal_units(data: bytes, extradata: bytes | None, hevc: bool = False) -> Iterator[int]:
    """Where each unit of an H.264 or HEVC packet begins.

    Units stand behind their length, in as many bytes as ``extradata`` says (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1), or
    behind start codes.
    """
    if extradata and extradata[0] == 1 and len(extradata) > (21 if hevc else 4):
        width, place = (extradata[21 if hevc else 4] & 3) + 1, 0
        while place + width < len(data):
            yield place + width
            place += width + int.from_bytes(data[place:place + width])
    else:
        place = data.find(b"\0\0\1") + 3
        while 3 <= place < len(data):
            yield place
            place = data.find(b"\0\0\1", place) + 3


def kinds_reader(codec: str) -> ReadKinds | None:
    """For a codec by FFmpeg's name: the function from a packet and the codec's ``extradata`` to its letters.

    The function returns None where it cannot tell; there is None for codecs whose packets it cannot be told of.
    """
    return _READERS.get(codec)


def _h264(data: bytes, extradata: bytes | None) -> str:
    """ITU-T H.264, 7.4.1 and 7.4.3, by the first slice; ``nal_ref_idc`` of 0 is that of all slices of a picture."""
    for place in nal_units(data, extradata):
        kind = data[place] & 31
        if kind == 5:
            return "I"
        if 1 <= kind <= 2:
            kinds = "PBIPI" if data[place] >> 5 & 3 else "pbipi"
            head = data[place + 1] if place + 1 < len(data) else 0
            return kinds[(_SLICE_TYPES[head - 128] if head >= 128 else _slice_type(data[place + 1:place + 13])) % 5]
    return ""


def _slice_type(header: bytes) -> int:
    """The second of two Exp-Golomb codes (ITU-T H.264, 7.3.3 and 9.1)."""
    bits, left = int.from_bytes(header), 8 * len(header)
    for _ in range(2):
        zeros = left - bits.bit_length()
        left = max(0, left - 2 * zeros - 1)
        value, bits = (bits >> left) - 1, bits & (1 << left) - 1
    return value


_SLICE_TYPES = [_slice_type(bytes([head, 0, 0])) for head in range(128, 256)]
"""By the first byte of slices that begin with the first macroblock, which is nearly all."""


def _hevc(data: bytes, extradata: bytes | None) -> str:
    """``I`` for random access points; what is a B picture its slices do not say (ITU-T H.265, 7.4.2.2)."""
    for place in nal_units(data, extradata, hevc=True):
        kind = data[place] >> 1 & 63
        if kind < 32:
            return "I" if 16 <= kind <= 23 else "P"
    return ""


def _mpeg4(data: bytes, extradata: bytes | None) -> str | None:
    """ISO/IEC 14496-2, 6.2.5. A picture that is "not coded" is not shown; it can only be as short as a few bytes."""
    kinds = ""
    for picture in data.split(b"\0\0\1\xb6")[1:]:
        coded = len(picture) >= 8 or _is_coded(picture, _time_bits(extradata or b""))
        if coded is None:
            return None
        kinds += "IPBP"[picture[0] >> 6] if coded else ""
    return kinds


@functools.lru_cache(256)  # a packed AVI file has one behind every other picture, and few that differ
def _is_coded(picture: bytes, time_bits: int | None) -> bool | None:
    """``vop_coded``, behind type, whole seconds (ones up to a zero), a marker, the time within a second, a marker."""
    bits = f"{int.from_bytes(picture):0{8 * len(picture)}b}" if picture else ""
    place = None if time_bits is None else bits.find("0", 2) + 3 + time_bits
    return None if place is None or place >= len(bits) else bits[place] == "1"


@functools.lru_cache(64)
def _time_bits(extradata: bytes) -> int | None:
    """Bits of the time within a second, from the header of the layer (6.2.3); None where it is not there."""
    start = re.search(rb"\x00\x00\x01[\x20-\x2f]", extradata)
    if not start:
        return None
    bits = "".join(f"{byte:08b}" for byte in extradata[start.end():start.end() + 32]).ljust(256, "0")
    place = 9 + (8 if bits[9] == "1" else 1)  # what kind of object, and which version
    place += 20 if bits[place:place + 4] == "1111" else 4  # shape of pixels
    if bits[place] == "1":
        place += 3 + (80 if bits[place + 4] == "1" else 1)  # control parameters, and those of a buffer
    place += 1
    if bits[place:place + 2] != "00":  # not rectangular
        return None
    return max(1, (int(bits[place + 3:place + 19], 2) - 1).bit_length())


def _mpeg2(data: bytes, extradata: bytes | None) -> str | None:
    """ISO/IEC 13818-2, 6.2.3, and MPEG-1 alike. Pictures of one field each come as two letters."""
    pictures = data.split(b"\0\0\1\0")[1:]
    if any(len(picture) < 2 for picture in pictures):
        return None
    return "".join({1: "I", 2: "P", 3: "B"}.get(picture[1] >> 3 & 7, "P") for picture in pictures)


def _vp8(data: bytes, extradata: bytes | None) -> str:
    """RFC 6386, 9.1."""
    return "" if not data[0] >> 4 & 1 else "P" if data[0] & 1 else "I"


def _vp9(data: bytes, extradata: bytes | None) -> str:
    """VP9 bitstream specification, 6.2; a superframe (annex B) shows one picture."""
    flags = data[0] << 1 if data[0] & 0x30 == 0x30 else data[0]  # profile 3 has a bit more
    shown = flags & 2 or flags & 8 or data[-1] >> 5 == 6
    return "" if not shown else "P" if flags & 12 else "I"


def _one_picture(data: bytes, extradata: bytes | None) -> str:
    return "P"


_READERS: dict[str, ReadKinds] = {
    "h264": _h264, "hevc": _hevc, "mpeg4": _mpeg4, "mpeg1video": _mpeg2, "mpeg2video": _mpeg2, "vp8": _vp8,
    "vp9": _vp9, "av1": _one_picture, "flv1": _one_picture, "msmpeg4v3": _one_picture, "ffv1": _one_picture,
    "png": _one_picture}
