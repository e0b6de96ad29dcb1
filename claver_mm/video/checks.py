"""Videos opened and decoded to find those that a run would stumble over, each worker in a process of its own.

A video on which the decoder crashes or hangs is named like the others. Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .decode import DECODERS, VideoReader
from .shards import UnreadableVideo, locate_video

PROBLEMS = ("missing", "empty", "unreadable", "short", "crashed", "hung")


class Settings(NamedTuple):
    """How videos are looked at."""
    decoders: tuple[str, ...] = tuple(DECODERS)
    """Names of decoders, tried in this order."""
    frames: int = 16
    """Frames of each video that are decoded, the first and the last among them; 0 for all."""
    min_frames: int = 1
    """A video with fewer is too short."""


class Finding(NamedTuple):
    """What is wrong with a video, out of ``PROBLEMS`` or nothing, and what to say about it; what made another decoder
    take it, and why all its frames are decoded up to the wanted ones, if they are; its frames and their number a
    second."""
    problem: str = ""
    words: str = ""
    other_decoder: str = ""
    forward: str = ""
    frames: int = 0
    fps: float = 0.0


def check_video(path: str, settings: Settings) -> Finding:
    """Open a video and decode some of its frames."""
    said: list[str] = []
    try:
        source = locate_video(path)
        if not (len(source) if isinstance(source, bytes) else Path(source).stat().st_size):
            return Finding("empty", f"{path} has no bytes")
        reader = VideoReader(source, path, settings.decoders, warn=said.append)
        count = len(reader)
        reader.frames(np.linspace(0, count - 1, min(count, settings.frames or count)).round().astype(int).tolist())
    except FileNotFoundError as error:
        return Finding("missing", str(error))
    except (UnreadableVideo, OSError) as error:
        return Finding("unreadable", str(error))
    if count < settings.min_frames:
        return Finding("short", f"{path} has {count} frames, fewer than {settings.min_frames}")
    return Finding(other_decoder="; ".join(said), forward=f"{path}: {reader.forward}" if reader.forward else "",
                   frames=count, fps=reader.fps)


def _serve(pipe: Connection, settings: Settings) -> None:
    """A worker: paths in, findings out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the check stops its workers
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        pipe.send(check_video(path, settings))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits until the block has ended, where the system can hold it back."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """A process that checks one video at a time and may be replaced at any moment."""

    def __init__(self, settings: Settings) -> None:
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_serve, args=(other, settings), daemon=True)
        with _undisturbed():  # Ctrl-C within would leave a process that nobody knows
            self.process.start()
        other.close()  # so that its death closes the pipe
        self.job: tuple[int, str] | None = None
        self.began = 0.0

    def give(self, job: int, path: str) -> None:
        self.job, self.began = (job, path), time.monotonic()
        self.pipe.send(path)

    def stop(self) -> int | None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return self.process.exitcode


def check_videos(paths: Sequence[str], settings: Settings, workers: int = 1,
                 timeout: float = 60) -> Iterator[tuple[int, Finding]]:
    """Place in ``paths`` and finding of each video, as they come in; a video counts as hung after ``timeout`` seconds.
    """
    waiting, team = list(enumerate(paths))[::-1], []
    try:
        for _ in range(min(workers, len(paths))):
            team.append(_Worker(settings))
        while True:
            for worker in team:
                if worker.job is None and waiting:
                    worker.give(*waiting.pop())
            busy = [(worker, *worker.job) for worker in team if worker.job is not None]
            if not busy:
                return
            ready = wait([worker.pipe for worker, _, _ in busy], timeout=0.1)
            for worker, job, path in busy:
                if worker.pipe in ready:
                    try:
                        finding = worker.pipe.recv()
                        worker.job = None
                    except (EOFError, ConnectionResetError):
                        worker.process.join()
                        finding = Finding("crashed", f"{path}: the decoder ended with exit code "
                                                     f"{worker.process.exitcode}")
                elif time.monotonic() - worker.began > timeout:
                    finding = Finding("hung", f"{path}: not decoded within {timeout:g} seconds")
                else:
                    continue
                if worker.job is not None:
                    worker.stop()
                    team[team.index(worker)] = _Worker(settings)
                yield job, finding
    finally:
        for worker in team:
            worker.stop()
