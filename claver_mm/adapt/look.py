"""One's own videos looked at before anything is trained: what can be read, what stands twice, what is held out.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tqdm import tqdm

from ..files import sha256_of_file
from ..messages import quoted, shown
from ..protocols.clips import Clip, class_names
from ..video.checks import Finding, Settings, check_videos
from ..video.decode import stretch
from ..video.shards import UnreadableVideo, locate_video

FEW = 5
"""A class with fewer videos for training is named."""


@dataclass(frozen=True)
class Videos:
    """Clips that can be learnt from, each with what its file holds."""

    clips: tuple[Clip, ...]
    digests: tuple[str, ...]
    """SHA-256 of each clip's file."""
    seconds: tuple[float, ...]
    """Length of each clip; 0 where the file does not say it."""
    classes: tuple[str, ...]
    left_out: tuple[str, ...] = field(default=())
    """What was taken out, clip by clip, and why."""

    @property
    def labels(self) -> list[int]:
        """Class numbers of the clips."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        return [numbers[clip.label] for clip in self.clips]

    def __len__(self) -> int:
        return len(self.clips)


def look(clips: Sequence[Clip], classes: Sequence[str] | None = None, *, workers: int | None = None,
         timeout: float = 60, progress: bool = False) -> Videos:
    """Open every file, decode its first frame, and take out what cannot be learnt from.

    That is: a video that cannot be read; the same video a second time, by the same name or another; of a video that is
    to be both learnt from and held out, the one for training. A file in several classes is refused, since one of them
    is wrong, unless it is cut into different stretches.

    Args:
        clips: As ``read_clips`` gives them.
        classes: Class names in label order; by name when None.
        workers: Processes; one for each processor when None.
        timeout: Seconds after which a video counts as hung.
        progress: Show a bar.

    Raises:
        ValueError: One class alone, or one without a video that can be read; or a video in two classes.
    """
    names = list(classes) if classes is not None else class_names(list(clips))
    unknown = sorted({clip.label for clip in clips} - set(names))
    if unknown:
        raise ValueError(f"{quoted(unknown[0])} is none of the {len(names)} classes that were given")
    if len(names) < 2:
        raise ValueError(f"one class alone ({quoted(names[0])}): there is nothing to tell it from; put videos of what "
                         "else is to be seen, or of nothing of it, into a folder of their own")
    found, digests = open_all([clip.path for clip in clips], workers, timeout, progress)
    kept, left_out = [], []
    seen: dict[tuple[str, int, int], Clip] = {}
    taken: dict[tuple[str, int, int, str | None], Clip] = {}
    held = {digests.get(clip.path) for clip in clips if clip.split == "val"} - {None}
    for clip in clips:
        finding = found[clip.path]
        if finding.problem:
            left_out.append(finding.words)
            continue
        try:
            first, stop = stretch(clip.start, clip.end, finding.frames, finding.fps, clip.path)
        except UnreadableVideo as error:
            left_out.append(str(error))
            continue
        digest = digests[clip.path]
        other = seen.setdefault((digest, first, stop), clip)
        if other.label != clip.label:
            raise ValueError(f"{shown(str(other))} and {shown(str(clip))} are one video, in the classes "
                             f"{quoted(other.label)} and {quoted(clip.label)}; take it out of one of them")
        if clip.split == "train" and digest in held:
            left_out.append(f"{clip} is held out as well, and not learnt from")
        elif (first_taken := taken.setdefault((digest, first, stop, clip.split), clip)) is not clip:
            left_out.append(f"{clip} is {first_taken} once more")
        else:
            kept.append((clip, digest, (stop - first) / finding.fps if finding.fps else 0.0))
    empty = set(names) - {clip.label for clip, _, _ in kept}
    if empty:
        why = f"; {left_out[0]}" if left_out else ""
        raise ValueError(f"class {quoted(min(empty))} has no video that can be learnt from{why}")
    of_kept, of_files, seconds = zip(*kept)
    return Videos(of_kept, of_files, seconds, tuple(names), tuple(left_out))


def open_all(paths: Sequence[str], workers: int | None = None, timeout: float = 60,
             progress: bool = False) -> tuple[dict[str, Finding], dict[str, str]]:
    """What opening each file found, and the SHA-256 of those that can be read; arguments as of ``look``."""
    files = list(dict.fromkeys(paths))
    workers = workers or os.cpu_count() or 1
    found: dict[str, Finding] = {}
    findings = check_videos(files, Settings(frames=1), min(workers, len(files)), timeout)
    for job, finding in tqdm(findings, "looking", len(files), unit="video", leave=False, disable=not progress):
        found[files[job]] = finding
    readable = [path for path in files if not found[path].problem]
    with ThreadPoolExecutor(workers) as pool:
        return found, dict(zip(readable, pool.map(digest_of, readable)))


def hold_out(videos: Videos, share: float = 0.2, seed: int = 0) -> tuple[list[int], list[int]]:
    """Places of the clips for training and of those that are held out, as was given with them, or drawn.

    Drawn are files, of each class a share, one at least where there are two: in the order of the SHA-256 of seed and
    content, so that names, folders and machines do not matter. All clips of a file fall to one side, and a file is not
    drawn that is the last one of some class.

    Raises:
        ValueError: A share that is none, or a class without a clip for training.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of videos that is held out must lie in [0, 1), got {share:g}")
    given = {clip.split for clip in videos.clips}
    if None not in given:
        out = [place for place, clip in enumerate(videos.clips) if clip.split == "val"]
    elif given != {None}:
        raise ValueError("some clips say whether they are for training, others do not; fill in all of the column split")
    else:
        chosen = _drawn(videos, share, seed)
        out = [place for place, digest in enumerate(videos.digests) if digest in chosen]
    held = set(out)
    train = [place for place in range(len(videos)) if place not in held]
    empty = set(videos.classes) - {videos.clips[place].label for place in train}
    if empty:
        raise ValueError(f"class {quoted(min(empty))} has no video for training; its videos are all held out")
    return train, out


def _drawn(videos: Videos, share: float, seed: int) -> set[str]:
    """Digests of the files that are held out."""
    chosen: set[str] = set()
    of_class: dict[str, set[str]] = {name: set() for name in videos.classes}
    for clip, digest in zip(videos.clips, videos.digests):
        of_class[clip.label].add(digest)
    for files in of_class.values():
        count = max(1, round(share * len(files))) if share and len(files) > 1 else 0
        for digest in sorted(files, key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest()):
            needed = any(digest in other and not other - chosen - {digest} for other in of_class.values())
            if len(files & chosen) < count and not needed:
                chosen.add(digest)
    return chosen


def described(videos: Videos, train: Sequence[int], out: Sequence[int]) -> str:
    """A table of the classes: videos for training and held out, seconds; and what is worth a look."""
    counts = [Counter(videos.clips[place].label for place in places) for places in (train, out)]
    width = max(len(name) for name in (*videos.classes, "class"))
    lines = [f"{'class':<{width}}  training  held out  seconds (shortest, mean, longest)"]
    for name in videos.classes:
        seconds = [length for clip, length in zip(videos.clips, videos.seconds) if clip.label == name]
        lines.append(f"{name:<{width}}  {counts[0][name]:8}  {counts[1][name]:8}  {min(seconds):.1f}, "
                     f"{sum(seconds) / len(seconds):.1f}, {max(seconds):.1f}")
    few = [name for name in videos.classes if counts[0][name] < FEW]
    none = [name for name in videos.classes if not counts[1][name]]
    if few:
        lines.append(f"fewer than {FEW} videos for training: {', '.join(few)}")
    if out and none:
        lines.append(f"none held out, so that nothing is measured of it: {', '.join(none)}")
    return "\n".join(lines + [f"left out: {words}" for words in videos.left_out])


def digest_of(path: str) -> str:
    """SHA-256 of a video's file, or of a member of a shard."""
    source = locate_video(path)
    if isinstance(source, bytes):  # of a shard
        return hashlib.sha256(source).hexdigest()
    return sha256_of_file(source)
