"""Annotation lists checked video by video, before a run. Pure: imports nothing of ``mm*``."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from ..video.checks import PROBLEMS, Finding, Settings, check_videos
from ..video.decode import check_decoders
from .annotations import read_annotations


class ListCheck(NamedTuple):
    """What was found on a list."""
    report: dict[str, Any]
    """``videos`` on the list and ``checked``; ``counts`` of each of ``PROBLEMS``; ``found`` with line, video, problem
    and message of each; ``other_decoder`` and ``forward_decode``, what costs time and stays on the list; and what was
    asked."""
    kept: list[str]
    """The list's lines without the videos found, in the old order."""


def check_list(path: str | Path, folder: str | Path = "", settings: Settings = Settings(), *, delimiter: str = " ",  # noqa: B008
               multi_class: bool = False, sample: int | None = None, seed: int = 0, workers: int = 1,
               timeout: float = 60, say: Callable[[Finding], None] | None = None, progress: bool = False) -> ListCheck:
    """Decode the videos of an annotation list.

    Args:
        path: The list, lines ``path/of/video.mp4 label``.
        folder: Where the paths start from (``data_prefix``).
        settings: How videos are looked at.
        delimiter: Between path and label.
        multi_class: Several labels a line.
        sample: Only so many videos, drawn by ``seed``.
        seed: Of the sample.
        workers: Processes.
        timeout: Seconds after which a video counts as hung.
        say: Told of each video that is found.
        progress: Show a bar.

    Raises:
        FileNotFoundError, ValueError: No list, or one that no run would take; settings that make no sense.
        ImportError: A decoder that is not installed.
    """
    for name, value in (("workers", workers), ("min-frames", settings.min_frames), ("timeout", timeout),
                        ("sample", sample)):
        if value is not None and value <= 0:
            raise ValueError(f"--{name} must be above 0, got {value}")
    if settings.frames < 0:
        raise ValueError(f"--frames must be 0 or more, got {settings.frames}")
    check_decoders(settings.decoders)
    lines = {line.number: line for line in read_annotations(path, delimiter, multi_class)}
    paths = {number: str(Path(folder) / line.path) for number, line in lines.items()}
    numbers = list(paths)
    if sample is not None and sample < len(numbers):
        numbers = sorted(random.Random(seed).sample(numbers, sample))
    found: dict[int, dict[str, Any]] = {}
    others, forward = [], []
    findings = check_videos([paths[number] for number in numbers], settings, workers, timeout)
    for job, finding in tqdm(findings, total=len(numbers), unit="video", disable=not progress):
        if finding.problem:
            found[numbers[job]] = dict(line=numbers[job], video=paths[numbers[job]], problem=finding.problem,
                                       message=finding.words)
            if say is not None:
                say(finding)
        others += [finding.other_decoder] if finding.other_decoder else []
        forward += [finding.forward] if finding.forward else []
    counts = Counter(entry["problem"] for entry in found.values())
    report = dict(list=str(path), videos=len(paths), checked=len(numbers), sample=sample, seed=seed,
                  frames=settings.frames, min_frames=settings.min_frames, decoders=list(settings.decoders),
                  counts={problem: counts[problem] for problem in PROBLEMS},
                  found=[found[number] for number in sorted(found)], other_decoder=sorted(others),
                  forward_decode=sorted(forward))
    return ListCheck(report, [line.text for number, line in lines.items() if number not in found])
