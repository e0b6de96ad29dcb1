"""Videos in folders and in tar shards: a path may go on inside an archive, ``train/0007.tar/juggling/a.mp4``.

Imports nothing of ``mm*``. A shard is read once from header to header, without its contents, to learn where each member
begins; after that a member costs one seek. What was learnt is kept for the process, and beside the shard
(``0007.tar.index.json``) where that folder may be written to.
"""
from __future__ import annotations

import functools
import json
import os
import tarfile
import warnings
from pathlib import Path

from ..files import write_text


class UnreadableVideo(RuntimeError):
    """A video that cannot be decoded; the message names its path."""


def split_path(path: str | os.PathLike) -> tuple[Path, str] | None:
    """Shard and member of a path that goes on inside a ``.tar`` file, else None."""
    path = Path(path)
    for parent in reversed(path.parents):
        if parent.suffix == ".tar" and not os.path.isdir(parent):  # False where the system will not say
            return parent, path.relative_to(parent).as_posix()
    return None


@functools.cache
def member_index(shard: Path) -> dict[str, tuple[int, int]]:
    """Offset and size in bytes of each file in a shard.

    Raises:
        FileNotFoundError: No such shard.
        UnreadableVideo: No tar archive, a compressed one, in which there is no random access, or one that the system
            does not let be read.
    """
    _check_file(shard, "shard")
    state = [shard.stat().st_size, shard.stat().st_mtime_ns]
    kept = shard.with_name(f"{shard.name}.index.json")
    record = _read_kept(kept)
    if record and record["shard"] == state:
        return {name: tuple(place) for name, place in record["members"].items()}
    try:
        with tarfile.open(shard, "r:") as archive:
            members = {member.name.removeprefix("./"): (member.offset_data, member.size)
                       for member in archive if member.isreg()}
    except OSError as error:
        raise UnreadableVideo(f"{shard} cannot be read: {error.strerror or error}") from error
    except (tarfile.TarError, ValueError, OverflowError) as error:  # headers hold numbers and texts of any kind
        raise UnreadableVideo(f"{shard} is no uncompressed tar archive: {error}") from error
    if os.access(shard.parent, os.W_OK) and (record or not kept.exists()):  # never over a file of someone else's
        try:
            write_text(kept, json.dumps(dict(shard=state, members=members)))
        except OSError as error:
            warnings.warn(f"what was learnt of {shard} is not kept: {error}")
    return members


def _check_file(path: Path, what: str) -> None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"no {what} at {path}; check data_prefix and the annotation list") from None
    except (OSError, ValueError) as error:  # a closed folder, a name too long, a stale handle, a null in the name
        raise UnreadableVideo(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not path.is_file():
        raise FileNotFoundError(f"no {what} at {path}, but a folder or a device; check data_prefix and the annotation "
                                "list")


def _read_kept(path: Path) -> dict | None:
    """What was learnt of a shard earlier; None where nothing was, or where the file is another one."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and set(record) == {"shard", "members"} else None


def video_exists(path: str | os.PathLike) -> bool:
    """Whether a file or a member of a shard is there and can be reached; nothing is in a shard that cannot be read."""
    place = split_path(path)
    if place is None:
        return os.path.isfile(path)
    shard, member = place
    try:
        return member in member_index(shard)
    except (FileNotFoundError, UnreadableVideo):
        return False


def locate_video(path: str | os.PathLike) -> str | bytes:
    """What a decoder takes: the path of a file, or the bytes of a member of a shard.

    Raises:
        FileNotFoundError: No such file, shard or member.
        UnreadableVideo: The file or shard cannot be read, or the shard ends within the member.
    """
    place = split_path(path)
    if place is None:
        _check_file(Path(path), "video")
        return os.fspath(path)
    shard, member = place
    index = member_index(shard)
    if member not in index:
        raise FileNotFoundError(f"no video {member} among the {len(index)} files of the shard {shard}; check "
                                "data_prefix and the annotation list")
    offset, size = index[member]
    try:
        with open(shard, "rb") as file:
            file.seek(offset)
            data = file.read(size)
    except OSError as error:
        raise UnreadableVideo(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) < size:
        raise UnreadableVideo(f"{path}: the shard ends after {len(data)} of {size} bytes")
    return data
