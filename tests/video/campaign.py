"""Encodes of many kinds, made with the ffmpeg program, and what that program shows of them.

A kind is a codec in a container, with a change: how it is encoded, cut, joined, turned or put beside another stream.
"""
from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

SOURCE = "testsrc2=size={size}:rate=25:duration=2"
X265 = "-c:v libx265 -x265-params log-level=none:pools=1:keyint=12"
CODECS = {  # how it is encoded, and the containers that it is put into
    "h264": ("-c:v libx264 -g 12 -bf 2", "mp4 mov mkv avi ts flv"),
    "h264-pyramid": ("-c:v libx264 -g 30 -bf 5 -b_strategy 0", "mp4 mkv avi ts flv"),
    "h264-open": ("-c:v libx264 -x264-params open-gop=1:scenecut=0:keyint=12", "mp4 mkv avi ts"),
    "h264-refresh": ("-c:v libx264 -x264-params intra-refresh=1:keyint=12:bframes=0", "mp4 ts"),
    "h264-no-b": ("-c:v libx264 -g 12 -bf 0", "mp4 avi ts"),
    "h264-interlaced": ("-c:v libx264 -flags +ildct+ilme -x264-params tff=1:keyint=12", "mp4 mkv avi ts"),
    "h264-10": ("-c:v libx264 -g 12 -pix_fmt yuv420p10le", "mp4 mkv ts"),
    "h264-444": ("-c:v libx264 -g 12 -pix_fmt yuv444p", "mp4"),
    "hevc": (f"{X265}:open-gop=0:bframes=3", "mp4 mov mkv ts"),
    "hevc-open": (f"{X265}:open-gop=1:bframes=4", "mp4 mkv ts"),
    "hevc-10": (f"{X265}:open-gop=0 -pix_fmt yuv420p10le", "mp4 mkv ts"),
    "mpeg4": ("-c:v mpeg4 -q:v 4 -g 12 -bf 0", "mp4 mkv avi ts"),
    "mpeg4-b": ("-c:v mpeg4 -q:v 4 -g 12 -bf 2", "mp4 mov mkv avi ts"),
    "xvid": ("-c:v libxvid -q:v 4 -g 12 -bf 1", "avi mkv"),
    "mpeg1": ("-c:v mpeg1video -q:v 4 -g 12 -bf 2", "mpg ts avi"),
    "mpeg2": ("-c:v mpeg2video -q:v 4 -g 12 -bf 2", "mpg ts mkv mp4 avi"),
    "mpeg2-interlaced": ("-c:v mpeg2video -q:v 4 -g 12 -bf 2 -flags +ildct+ilme -top 1", "mpg ts mkv"),
    "vp8": ("-c:v libvpx -b:v 200k -g 12", "webm mkv avi"),
    "vp8-hidden": ("-c:v libvpx -b:v 100k -auto-alt-ref 1 -lag-in-frames 16 -arnr-maxframes 7 -g 50", "webm mkv"),
    "vp9": ("-c:v libvpx-vp9 -b:v 200k -g 12 -cpu-used 5", "webm mkv mp4"),
    "vp9-10": ("-c:v libvpx-vp9 -b:v 200k -g 12 -cpu-used 5 -pix_fmt yuv420p10le", "webm mp4"),
    "av1": ("-c:v libsvtav1 -preset 10 -g 12", "mp4 mkv webm"),
    "mjpeg": ("-c:v mjpeg -q:v 4 -pix_fmt yuvj420p", "avi mov mkv"),
    "prores": ("-c:v prores_ks -pix_fmt yuv422p10le", "mov mkv"),
    "flv1": ("-c:v flv -q:v 4 -g 12", "flv avi"),
    "msmpeg4": ("-c:v msmpeg4 -q:v 4 -g 12", "avi mkv"),
    "wmv2": ("-c:v wmv2 -q:v 4 -g 12", "avi mkv"),
    "ffv1": ("-c:v ffv1", "mkv avi"),
    "png": ("-c:v png -pix_fmt rgb24", "mov avi"),
}
CUTS = {"cut": "-ss 0.72 -i {} -c copy", "cut-anywhere": "-ss 0.3 -i {} -copyinkf -c copy"}
REMUXES = {"as-mp4": "mp4", "as-mkv": "mkv"}  # AVI and raw streams keep no time of display
TURNS = {"turned": (0, 1 << 16, -1 << 16, 0), "upside-down": (-1 << 16, 0, 0, -1 << 16),
         "mirrored": (-1 << 16, 0, 0, 1 << 16), "turned-mirrored": (0, 1 << 16, 1 << 16, 0)}


class Kind(NamedTuple):
    """What an encode is; ``change`` is empty where it is left as the encoder and the container make it."""
    codec: str
    container: str
    change: str = ""

    def __str__(self) -> str:
        return f"{self.codec}{self.change and '-'}{self.change}.{self.container}"


def all_kinds() -> list[Kind]:
    kinds = []
    for codec, (_, containers) in CODECS.items():
        for container in containers.split():
            changes = ["", *CUTS]
            if container in ("mp4", "mkv", "mov", "webm"):
                changes += ["uneven", "cover"] if container != "webm" else ["uneven"]
            if container in ("mp4", "mov"):
                changes += ["fragments", *(TURNS if codec in ("h264", "hevc-10", "mpeg4-b") else ())]
            if container in ("ts", "mpg"):
                changes += ["joined"]
            if container in ("avi", "ts"):
                changes += REMUXES
            if not codec.startswith(("h264", "hevc", "prores")):
                changes += ["odd"]
            kinds += [Kind(codec, container, change) for change in changes]
    return kinds


def ffmpeg(*words: str | Path) -> None:
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", "-threads", "1", *map(str, words)], capture_output=True,
                          text=True, errors="replace")
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "nothing was said").splitlines()[-1])


def make(kind: Kind, folder: Path) -> Path:
    """Write an encode; ``RuntimeError`` with ffmpeg's last word where it cannot be made."""
    path, plain = folder / f"made.{kind.container}", folder / f"plain.{kind.container}"
    options = CODECS[kind.codec][0].split()
    if "-pix_fmt" not in options:
        options += ["-pix_fmt", "yuv420p"]
    if kind.change == "uneven":  # pictures at times that are no multiple of any
        options += ["-vf", "setpts=(N+0.4*mod(N\\,3)+3*gte(N\\,20))/25/TB", "-vsync", "vfr", "-enc_time_base", "1/1000"]
    size = "97x75" if kind.change == "odd" else "128x96"
    ffmpeg("-f", "lavfi", "-i", SOURCE.format(size=size), *options, plain)
    if kind.change in CUTS:
        ffmpeg(*CUTS[kind.change].format(plain).split(), path)
    elif kind.change == "joined":
        path.write_bytes(plain.read_bytes() * 2)
    elif kind.change == "cover":
        cover = folder / "cover.png"
        ffmpeg("-f", "lavfi", "-i", "color=red:size=640x480", "-frames:v", "1", cover)
        beside = (["-attach", cover, "-metadata:s:t", "mimetype=image/png"] if kind.container == "mkv" else
                  ["-i", cover, "-map", "1", "-map", "0", "-disposition:v:0", "attached_pic"])
        ffmpeg("-i", plain, *beside, "-c", "copy", path)
    elif kind.change == "fragments":
        ffmpeg("-i", plain, "-c", "copy", "-movflags", "frag_keyframe+empty_moov", path)
    elif kind.change in TURNS:
        path.write_bytes(turned(plain.read_bytes(), TURNS[kind.change]))
    elif kind.change in REMUXES:
        path = folder / f"made.{REMUXES[kind.change]}"
        ffmpeg("-i", plain, "-c", "copy", path)
    else:
        return plain
    return path


def turned(data: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """An .mp4 with another display matrix."""
    a, b, c, d = matrix
    start = data.index(b"tkhd") + 44
    return data[:start] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[start + 36:]


def planes_shown(path: Path) -> list[str]:
    """MD5 of the planes of each picture, as they are decoded.

    The program shows smears of pictures whose references were cut away, and marks them as corrupt; those are left out.
    """
    done = subprocess.run(["ffmpeg", "-v", "quiet", "-threads", "1", "-flags", "-output_corrupt", "-noautorotate", "-i",
                           path, "-an", "-vsync", "passthrough", "-f", "framemd5", "-"], capture_output=True, text=True)
    return [line.split(",")[-1].strip() for line in done.stdout.splitlines() if not line.startswith("#")]


def picture_shown(path: Path, place: int) -> tuple[int, int, bytes]:
    """Height, width and RGB of one picture, upright."""
    done = subprocess.run(["ffmpeg", "-v", "quiet", "-threads", "1", "-flags", "-output_corrupt", "-i", path, "-an",
                           "-vf", f"select=eq(n\\,{place}),scale=interl=-1", "-vsync", "passthrough", "-frames:v",
                           "1", "-pix_fmt", "rgb24", "-f", "image2pipe", "-c:v", "ppm", "-"], capture_output=True)
    _, size, _, pixels = done.stdout.split(b"\n", 3)
    width, height = map(int, size.split())
    return height, width, pixels
