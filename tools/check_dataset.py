#!/usr/bin/env python
"""Decode the videos of an annotation list and name those that a run would stumble over.

    python tools/check_dataset.py data/kinetics400/kinetics400_train_list_videos.txt \\
        --videos data/kinetics400/videos_train --workers 16

Every video, or a seeded sample of them, is opened and some of its frames, the first and the last among them, are
decoded, each worker in a process of its own: a video on which the decoder crashes or hangs is named like the others.
Written are a list without them, in the order of the old one, and a report in JSON. Exit status: 0 nothing found, 1
something found, 2 no check took place.
"""
from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import claver_mm  # noqa: F401
import numpy as np
from tqdm import tqdm

from claver_mm.datasets.decode import DECODERS, VideoReader, check_decoders
from claver_mm.datasets.shards import UnreadableVideo, locate_video
from claver_mm.datasets.video_dataset import Annotation, read_annotations

PROBLEMS = ("missing", "empty", "unreadable", "short", "crashed", "hung")


class Settings(NamedTuple):
    """What a worker needs to know."""
    decoders: tuple[str, ...]
    frames: int
    min_frames: int


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, help="annotation list with lines 'path/of/video.mp4 label'")
    parser.add_argument("--videos", type=Path, default=Path(), help="folder that the paths start from (data_prefix)")
    parser.add_argument("--delimiter", default=" ", help="between path and label")
    parser.add_argument("--multi-class", action="store_true", help="several labels a line; a path holds no delimiter")
    parser.add_argument("--sample", type=int, metavar="N", help="only so many videos, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=16, help="frames of each video that are decoded; 0 for all")
    parser.add_argument("--min-frames", type=int, default=1, help="a video with fewer frames is too short")
    parser.add_argument("--decoders", nargs="+", default=list(DECODERS), metavar="NAME",
                        help=f"as in OpenVideo: {', '.join(DECODERS)}")
    parser.add_argument("--timeout", type=float, default=60, help="seconds after which a video counts as hung")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--cleaned", type=Path, help="list without the videos found; beside the report by default")
    parser.add_argument("--report", type=Path, help="work_dirs/check_dataset/<list>.json by default")
    options = parser.parse_args()
    for name in ("workers", "min_frames", "timeout", "sample"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0, got {value}")
    if options.frames < 0:
        parser.error(f"--frames must be 0 or more, got {options.frames}")
    try:
        check_decoders(options.decoders)
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    options.report = options.report or Path("work_dirs/check_dataset") / f"{options.list.stem}.json"
    options.cleaned = options.cleaned or options.report.with_name(f"{options.list.stem}.cleaned.txt")
    if options.cleaned.resolve() == options.list.resolve():
        parser.error(f"--cleaned {options.cleaned} is the list itself; choose another file")
    for name in ("report", "cleaned"):
        if getattr(options, name).is_dir():
            parser.error(f"--{name} {getattr(options, name)} is a folder; name a file")
    return options


def check_video(path: str, settings: Settings) -> tuple[str, str]:
    """What is wrong with a video, out of ``PROBLEMS`` or nothing, and what to say about it."""
    said: list[str] = []
    try:
        source = locate_video(path)
        if not (len(source) if isinstance(source, bytes) else Path(source).stat().st_size):
            return "empty", f"{path} has no bytes"
        reader = VideoReader(source, path, settings.decoders, warn=said.append)
        count = len(reader)
        reader.frames(np.linspace(0, count - 1, min(count, settings.frames or count)).round().astype(int))
    except FileNotFoundError as error:
        return "missing", str(error)
    except (UnreadableVideo, OSError) as error:
        return "unreadable", str(error)
    if count < settings.min_frames:
        return "short", f"{path} has {count} frames, fewer than {settings.min_frames}"
    return "", "; ".join(said)


def serve(pipe: Connection, settings: Settings) -> None:
    """A worker: paths in, findings out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the check stops its workers
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        pipe.send(check_video(path, settings))


class Worker:
    """A process that checks one video at a time and may be replaced at any moment."""

    def __init__(self, settings: Settings) -> None:
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(other, settings), daemon=True)
        self.process.start()
        other.close()  # so that its death closes the pipe
        self.job: int | None = None
        self.began = 0.0

    def give(self, job: int, path: str) -> None:
        self.job, self.began = job, time.monotonic()
        self.pipe.send(path)

    def stop(self) -> int | None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return self.process.exitcode


def check_videos(paths: Sequence[str], settings: Settings, workers: int,
                 timeout: float) -> Iterator[tuple[int, str, str]]:
    """Place in ``paths``, problem and words of each video, as they come in."""
    waiting = list(enumerate(paths))[::-1]
    team = [Worker(settings) for _ in range(min(workers, len(paths)))]
    try:
        while True:
            for worker in team:
                if worker.job is None and waiting:
                    worker.give(*waiting.pop())
            busy = [worker for worker in team if worker.job is not None]
            if not busy:
                return
            ready = wait([worker.pipe for worker in busy], timeout=0.1)
            for worker in busy:
                job, path = worker.job, paths[worker.job]
                if worker.pipe in ready:
                    try:
                        finding = worker.pipe.recv()
                        worker.job = None
                    except (EOFError, ConnectionResetError):
                        worker.process.join()
                        finding = "crashed", f"{path}: the decoder ended with exit code {worker.process.exitcode}"
                elif time.monotonic() - worker.began > timeout:
                    finding = "hung", f"{path}: not decoded within {timeout:g} seconds"
                else:
                    continue
                if worker.job is not None:
                    worker.stop()
                    team[team.index(worker)] = Worker(settings)
                yield job, *finding
    finally:
        for worker in team:
            worker.stop()


def main() -> int:
    options = parse_arguments()
    try:
        lines = {line.number: line for line in read_annotations(options.list, options.delimiter, options.multi_class)}
        for path in (options.report, options.cleaned):
            path.parent.mkdir(parents=True, exist_ok=True)  # now, lest a long check end in an error
    except (OSError, ValueError) as error:
        print(f"check_dataset: {error}", file=sys.stderr)
        return 2
    try:
        return check(options, lines)
    except KeyboardInterrupt:
        print("check_dataset: interrupted; no list and no report were written", file=sys.stderr)
        return 2


def check(options: argparse.Namespace, lines: dict[int, Annotation]) -> int:
    """Exit status, once list and report are written."""
    paths = {number: str(options.videos / line.path) for number, line in lines.items()}
    numbers = list(paths)
    if options.sample is not None and options.sample < len(numbers):
        numbers = sorted(random.Random(options.seed).sample(numbers, options.sample))
    settings = Settings(tuple(options.decoders), options.frames, options.min_frames)
    found, remarks = {}, []
    findings = check_videos([paths[number] for number in numbers], settings, options.workers, options.timeout)
    for job, problem, words in tqdm(findings, total=len(numbers), unit="video"):
        if problem:
            found[numbers[job]] = dict(line=numbers[job], video=paths[numbers[job]], problem=problem, message=words)
            tqdm.write(f"{problem}: {words}")
        elif words:
            remarks.append(words)
    counts = Counter(entry["problem"] for entry in found.values())
    report = dict(list=str(options.list), videos=len(paths), checked=len(numbers), sample=options.sample,
                  seed=options.seed, frames=options.frames, min_frames=options.min_frames, decoders=options.decoders,
                  counts={problem: counts[problem] for problem in PROBLEMS},
                  found=[found[number] for number in sorted(found)], other_decoder=sorted(remarks))
    options.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    kept = [line.text for number, line in lines.items() if number not in found]
    options.cleaned.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    print(f"{len(numbers)} of {len(paths)} videos checked, {len(found)} found: "
          f"{', '.join(f'{count} {problem}' for problem, count in counts.items()) or 'nothing'}; "
          f"{len(remarks)} needed another decoder\n{options.report}\n{options.cleaned}: {len(kept)} lines")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
