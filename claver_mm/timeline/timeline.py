"""Scores of labels along a video of any length, in the memory of a window.

Letters: ``T`` frames of a window, ``N`` windows, ``B`` of a batch, ``C`` labels, ``L`` tokens of a frame, ``D`` width.
"""
from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor
from tqdm import tqdm

from ..language.prompts import ACTION_TEMPLATES
from ..language.texts import Labels, Texts
from ..protocols.views import behind_decoding, read_view
from ..recognizer import Recognizer
from ..video.decode import VideoReader, stretch
from ..video.shards import locate_video
from .segments import Segment, segments
from .writers import save

WINDOW = 2.0
"""Seconds of a window, unless told."""
THRESHOLD = 0.5
"""Probability that a segment has to reach, unless the recogniser has a threshold of its own."""


@dataclass(frozen=True)
class Timeline:
    """Scores of labels along a video."""

    video: str
    labels: tuple[str, ...]
    edges: np.ndarray
    """Seconds, ``(N + 1,)``: score ``n`` is that of the time from edge ``n`` to the next."""
    scores: np.ndarray
    """Probabilities, float32 ``(N, C)``."""
    fps: float
    threshold: float = THRESHOLD

    def segments(self, *, threshold: float | None = None, **how: float) -> list[Segment]:
        """Stretches in which labels are seen; arguments and errors are those of ``claver_mm.timeline.segments``."""
        return segments(self.edges, self.scores, self.labels,
                        threshold=self.threshold if threshold is None else threshold, **how)

    def save(self, path: str | Path, found: Sequence[Segment] | None = None, **how: Any) -> None:
        """Write the segments as CSV, JSON, subtitles, for ELAN or Label Studio (``claver_mm.timeline.writers``), or a
        picture (``.png``, ``.pdf``, ``.svg``).

        Args:
            path: Its ending says the format.
            found: Segments; those of ``segments(**how)`` when None.
        """
        found = self.segments(**how) if found is None else found
        if Path(path).suffix.lower() in (".png", ".pdf", ".svg"):
            from .picture import draw
            draw(self, found, path)
        else:
            save(self, found, path)


def timeline(recognizer: Recognizer, video: str | Path, labels: Labels | Texts | None = None, *,
             window: float = WINDOW, every: float | None = None, start: float | None = None, end: float | None = None,
             background: Sequence[str] = (), independent: bool = False,
             templates: Sequence[str] | None = ACTION_TEMPLATES, frames_at_once: int = 16, batch_size: int = 8,
             progress: bool = False) -> Timeline:
    """Score labels along a video.

    Windows of ``T`` frames, as many as the recogniser sees, slide over frames that are ``window / T`` seconds apart.
    Each frame is decoded once, on the way forward, and goes through the image tower once; windows share what it gave.
    No more than a window and a batch of frames is held, however long the video is.

    Args:
        recognizer: Of a tower as it is, or trained.
        video: A file.
        labels, templates: As of ``Recognizer.recognize``.
        window: Seconds that are looked at for one score.
        every: Seconds from one score to the next; a quarter of a window when None.
        start, end: Seconds; the ends of the video when None.
        background: Texts of what is to be seen where none of the labels is ("an empty street"); they take their share
            of the probability and have no segments.
        independent: Each label for itself, yes or no, as towers with a bias of their logits were trained (SigLIP);
            several may hold at once. Else labels are alternatives, whose probabilities sum to one.
        frames_at_once: Frames that go through the image tower together.
        batch_size: Windows that go through the temporal part together.
        progress: Show a bar, with the speed in times real time.

    Raises:
        FileNotFoundError: No such video.
        claver_mm.datasets.UnreadableVideo: It cannot be decoded, or does not say how many frames it has a second.
        ValueError: Labels as of ``recognize``; times that make no sense; ``independent`` of a tower without a bias.
    """
    claver = recognizer.claver
    for name, value in (("window", window), ("every", every)):
        if value is not None and value <= 0:
            raise ValueError(f"{name} must be above 0 seconds, got {value:g}")
    if independent and claver.clip.logit_bias is None:
        raise ValueError("this tower was trained to choose among texts, not to say yes or no to each; leave "
                         "independent out, and give texts of what else is to be seen as background")
    own = labels is None and not background
    texts = recognizer.texts(labels, templates=templates)
    names = texts.named[0]
    texts = texts.beside(list(background), claver.tokenize)
    reader = VideoReader(locate_video(str(video)), str(video))
    try:
        first, stop = stretch(0.0 if start is None else start, end, len(reader), reader.fps, str(video))
        T = read_view(recognizer.steps("one")).frames
        grid = _grid(first, stop, reader.fps, T, window)
        stride = max(1, round((window / 4 if every is None else every) / (window / T)))
        rows: list[Tensor] = []
        kept = _kept(recognizer, reader, grid, frames_at_once, progress)
        for batch in _windows(kept, T, stride, len(grid), batch_size):
            with recognizer._asked, torch.no_grad():
                rows.append(_scores(recognizer, batch, texts, independent).float().cpu())
    finally:
        reader.close()
    scores = torch.cat(rows).numpy()[:, :len(names)]
    centres = np.array([grid[stride * number:stride * number + T].mean() for number in range(len(scores))])
    edges = np.concatenate([[first / reader.fps], (centres[1:] + centres[:-1]) / 2, [stop / reader.fps]])
    return Timeline(str(video), names, edges, scores, reader.fps,
                    recognizer.threshold if own and recognizer.threshold else THRESHOLD)


def _grid(first: int, stop: int, fps: float, T: int, window: float) -> np.ndarray:
    """Seconds of the frames that windows are made of: ``window / T`` apart, a window of them at least."""
    begin, seconds, apart = first / fps, (stop - first) / fps, window / T
    count = max(T, int(seconds / apart))
    apart = min(apart, seconds / count)
    return begin + (np.arange(count) + 0.5) * apart


def _kept(recognizer: Recognizer, reader: VideoReader, grid: np.ndarray, frames_at_once: int,
          progress: bool) -> Iterator[Tensor]:
    """Of each place of the grid in turn what windows need of its frame: tokens ``(L, D)``, or its embedding where there
    is no temporal part."""
    numbers = np.clip((grid * reader.fps).astype(int), 0, len(reader) - 1)
    places = np.flatnonzero(np.diff(numbers, prepend=-1))  # of the first of places that share a frame
    repeats = np.diff(np.append(places, len(numbers)))
    began, batch, done = time.monotonic(), [], 0
    bar = tqdm(total=len(places), unit="frame", leave=False, disable=not progress)
    for index, (number, frame) in enumerate(reader.each(numbers[places].tolist()), start=1):
        batch.append(frame)
        if len(batch) < frames_at_once and index < len(places):
            continue
        for one in _through_tower(recognizer, batch):
            for _ in range(repeats[done]):
                yield one
            done += 1
        bar.update(len(batch))
        bar.set_postfix_str(f"{(number / reader.fps - grid[0]) / (time.monotonic() - began):.1f} times real time")
        batch = []
    bar.close()


@torch.no_grad()
def _through_tower(recognizer: Recognizer, frames: list[np.ndarray]) -> Tensor:
    steps = recognizer._pipelines["one"].transforms
    shape = frames[0].shape[:2]
    results: dict = dict(imgs=list(frames), img_shape=shape, original_shape=shape, modality="RGB", num_clips=1,
                         clip_len=len(frames), label=-1, filename="frames of a timeline")
    for step in steps[behind_decoding(recognizer.steps("one")):]:
        results = step(results)
    claver = recognizer.claver
    with recognizer._asked:
        clip = recognizer.model.data_preprocessor(pseudo_collate([results]), False)["inputs"][0, :1]
        tokens = claver.image_tokens(clip)
        return (claver.read(tokens) if claver.temporal is None else tokens)[0]


def _windows(kept: Iterator[Tensor], T: int, stride: int, count: int, batch_size: int) -> Iterator[Tensor]:
    """Windows ``(B, T, ...)`` from frames in turn, of which no more than a window is held beside the batch."""
    held: list[Tensor] = []
    batch: list[Tensor] = []
    for place, one in enumerate(kept):
        held.append(one)
        begin = place - T + 1
        if begin >= 0 and begin % stride == 0:
            batch.append(torch.stack(held[-T:]))
            if len(batch) == batch_size:
                yield torch.stack(batch)
                batch = []
        del held[:-T]
    if batch:
        yield torch.stack(batch)


def _scores(recognizer: Recognizer, windows: Tensor, texts: Texts, independent: bool) -> Tensor:
    """``(B, T, ...) -> (B, C)``."""
    claver = recognizer.claver
    frames = windows if claver.temporal is None else claver.read(claver.mix(windows))
    video = frames.mean(dim=1, keepdim=True)  # one view
    if not independent:
        return recognizer._scores(video, texts)
    return claver.logits(video[:, 0], claver.kept_text_features(texts)).sigmoid().mean(dim=1)
