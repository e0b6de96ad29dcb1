"""``adapt``: from a folder of videos to a recogniser, in one call."""
from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..catalog import find_classes
from ..engine.console import clock
from ..language.prompts import read_lines
from ..messages import quoted
from ..model import CLAVER, class_scores
from ..protocols.clips import Clip, read_clips
from ..randomness import drawing_from
from ..recognizer import Recognizer
from ..weights.difference import sha256_of
from .choice import (
    accuracy,
    best_candidate,
    best_temperature,
    judged_by_the_other_half,
    reliability,
)
from .encode import Encoded, Sight
from .look import Videos, described, hold_out, look
from .lora import add_lora, is_direction, merge_lora
from .measures import elsewhere_of, measured, root_of
from .start import Temporal, started
from .store import STATE, default_folder, sized
from .training import Schedule, Trained, learnt, predict, train, video_features

ALPHAS = tuple(number / 10 for number in range(11))
RATE_TIMES_WIDTH = 0.2
"""Highest rate of a temporal part times its width: 3e-3 at 64, where it was tried, 2.6e-4 at 768."""


@dataclass(frozen=True)
class Settings:
    """What is trained, and how."""

    temporal: Temporal | None = Temporal()
    """Behind a tower that has none; with None none is added, and one that is there stays as it is."""
    text_offsets: bool = True
    """Let the texts of the classes learn; else they stay as they are."""
    lora: int = 0
    """Rank of the updates of the image tower's attention; 0 for a frozen tower."""
    lora_text: int = 0
    """The same of the text tower, which then encodes the texts of the classes in every step."""
    sight: Sight = Sight()
    """What of a clip is kept."""
    schedule: Schedule = Schedule()
    """How long and how fast; its seed is that of these settings."""
    epochs: int | None = None
    lr: float | None = None
    """Of the schedule, where they shall be others; the rate is by the width of the temporal part."""
    alpha: float | None = None
    """Share of the way from the start to what was learnt; chosen on held-out videos when None."""
    held_out: float = 0.2
    """Share of the videos that is held out, where the data do not say it."""
    choose: bool = True
    """Whether epoch, way and temperature are chosen on what is held out; else that is measured alone, of the last
    epoch."""
    seed: int = 0

    def temporal_part(self) -> Temporal | None:
        """``temporal``, whose pattern follows what is kept of a clip unless it is said."""
        if self.temporal is None or self.temporal.pattern is not None or self.sight.tokens != "class":
            return self.temporal
        return replace(self.temporal, pattern="class_token")


@dataclass
class Adapted:
    """A recogniser of one's own, and what is known of it."""

    recognizer: Recognizer
    report: dict[str, Any]
    """Plain data; see ``docs/own_videos.md``."""
    videos: Videos
    held_out: list[int]
    """Places of the held-out clips."""
    probabilities: Tensor
    """Of the held-out clips, ``(N, C)``."""

    @property
    def root(self) -> str:
        """The folder that all videos lie below, from which their paths in the report start."""
        return root_of(self.videos)


def adapt(recognizer: Recognizer, videos: str | Path | Sequence[Clip] | Videos, settings: Settings = Settings(), *,  # noqa: B008
          classes: Sequence[str] | str | Path | None = None, others: str | Path | None = None,
          cache: str | Path | None = None, max_bytes: int | None = None, workers: int | None = None,
          batch_size: int = 8, progress: bool = False, say: Callable[[str], object] = lambda line: None) -> Adapted:
    """Teach a recogniser the classes of one's own videos.

    The videos are looked at, encoded once by the frozen image tower, and a temporal part and the texts of the classes
    learn from what was kept. They begin as nothing, so that training starts from what ``recognizer`` says of the
    videos without it.

    Args:
        recognizer: A tower as it is, or one that was trained; it stays as it is.
        videos: A folder of a folder for each class, or a list; see ``claver_mm.protocols.clips.read_clips``. Or clips
            as that gives them, or such that were looked at.
        settings: What is trained, and how.
        classes: Names in label order; by name when None. A list or a file.
        others: Videos of other classes, as ``videos``: how well they are told by their names, before and after.
        cache: Folder of the tokens; ``default_folder()`` when None.
        max_bytes: That folder may hold.
        workers: Processes that decode; one for each processor but one when None.
        batch_size: Clips that go through the image tower together.
        progress: Show bars.
        say: Told, line by line, what is found and done.

    Raises:
        FileNotFoundError, ValueError, OSError: Of data that cannot be learnt from, settings that do not fit, or a disk
            that is full; what is encoded by then stays.

    Example:
        >>> recognizer = Recognizer.from_pretrained("open_clip:PE-Core-B-16/meta")
        >>> adapted = adapt(recognizer, "my_videos", say=print)
        >>> adapted.recognizer.save_pretrained("my_recogniser")
    """
    began = time.monotonic()
    root = default_folder() if cache is None else Path(cache)
    workers = max(1, (os.cpu_count() or 2) - 1) if workers is None else workers
    begun, found, encoded, training, held_out, schedule = prepare(
        recognizer, videos, settings, classes=classes, cache=root, max_bytes=max_bytes, progress=progress, say=say)
    elsewhere = elsewhere_of(begun, others, encoded, root, max_bytes) if settings.choose or others else None
    encoded.encode(batch_size=batch_size, workers=workers, progress=progress)
    for why in encoded.failed.values():
        say(f"left out: {why}")
    files, nbytes = encoded.store.size()
    say(f"{root} holds {sized(nbytes)} of {files} clips, of this run and others")
    training, held_out = ([place for place in places if place not in encoded.failed] for places in (training, held_out))
    _check_classes(found, training, encoded.failed)
    before = elsewhere.ranked_first(recognizer, held_out) if elsewhere else None
    if settings.lora:
        with drawing_from(settings.seed):
            updated = add_lora(begun.claver.visual, settings.lora)
        say(f"LoRA of rank {settings.lora} on {updated} weights of the image tower, which sees every clip in every "
            "epoch")
    if settings.lora_text:
        with drawing_from(settings.seed):
            updated = add_lora(begun.claver.clip.text, settings.lora_text)
        say(f"LoRA of rank {settings.lora_text} on {updated} weights of the text tower")
    if not learnt(begun.claver):
        raise ValueError("nothing is to learn: no temporal part, texts as they are, no LoRA; leave one of them in")
    state = root / "runs" / f"{_run_key(begun, encoded, settings, schedule, training, held_out, batch_size)}{STATE}"
    judges = held_out if settings.choose else []
    trained = train(begun.claver, begun.head.texts, encoded, found.labels, training, judges, schedule,
                    views=settings.sight.views, state_file=state, say=say)
    report = _chosen(begun, trained, encoded, found, judges, settings)
    merge_lora(begun.claver)
    probabilities = predict(begun.claver, begun.head.texts, encoded, held_out).exp()
    report.update(measured(found, training, held_out, probabilities),
                  elsewhere=elsewhere and elsewhere.compared(before, elsewhere.ranked_first(begun, held_out)))
    begun.threshold = None if report["threshold"] is None else report["threshold"]["value"]
    report.update(settings=json.loads(json.dumps(asdict(settings))), schedule=asdict(schedule),
                  left_out=[*found.left_out, *encoded.failed.values()], kept=encoded.store.folder.name,
                  seconds=time.monotonic() - began)
    state.unlink(missing_ok=True)
    return Adapted(begun, report, found, held_out, probabilities)


class Prepared(NamedTuple):
    """What stands before anything is encoded or trained."""
    begun: Recognizer
    videos: Videos
    encoded: Encoded
    training: list[int]
    held_out: list[int]
    schedule: Schedule


def prepare(recognizer: Recognizer, videos: str | Path | Sequence[Clip] | Videos, settings: Settings = Settings(), *,  # noqa: B008
            classes: Sequence[str] | str | Path | None = None, cache: str | Path | None = None,
            max_bytes: int | None = None, workers: int | None = None, progress: bool = False,
            say: Callable[[str], object] = lambda line: None) -> Prepared:
    """Look at the videos, and say what ``adapt`` would do with them; arguments and errors are those of ``adapt``."""
    if isinstance(videos, Videos):
        if classes is not None:
            raise ValueError("videos that were looked at have their classes; leave classes out")
        found = videos
    else:
        names = None if classes is None else read_lines(find_classes(classes), "classes")
        clips = read_clips(videos, names) if isinstance(videos, str | Path) else list(videos)
        found = look(clips, names, workers=workers, progress=progress)
    training, held_out = hold_out(found, settings.held_out, settings.seed)
    say(described(found, training, held_out))
    temporal = settings.temporal_part() if recognizer.claver.temporal is None else settings.temporal
    begun = started(recognizer, found.classes, temporal, text_offsets=settings.text_offsets,
                    token_grid=settings.sight.token_grid, seed=settings.seed)
    sight = replace(settings.sight, tokens="pixels") if settings.lora else settings.sight
    encoded = Encoded(begun, found, sight, default_folder() if cache is None else cache, max_bytes)
    schedule = _schedule(begun, settings)
    missing = encoded.missing()
    say(f"{begun}\n{len(training)} clips to learn from, {len(held_out)} held out; {_plan(settings, begun)}, for at "
        f"most {schedule.epochs} epochs\n{sized(encoded.bytes_of_all())} are kept of them in "
        f"{encoded.store.folder}; " + (f"{missing} of {len(found) * sight.views} views are yet to be encoded"
                                       + (f", {clock(encoded.seconds_of_one() * missing)} or so" if missing > 1 else "")
                                       if missing else "all of it is there"))
    return Prepared(begun, found, encoded, training, held_out, schedule)


def _schedule(recognizer: Recognizer, settings: Settings) -> Schedule:
    temporal, schedule = recognizer.claver.temporal, replace(settings.schedule, seed=settings.seed)
    lr = schedule.lr if temporal is None else RATE_TIMES_WIDTH / temporal.temporal_embedding.shape[2]
    given = dict(epochs=settings.epochs, lr=lr if settings.lr is None else settings.lr)
    return replace(schedule, **{key: value for key, value in given.items() if value is not None})


def _plan(settings: Settings, recognizer: Recognizer) -> str:
    temporal = recognizer.claver.temporal
    parts = ["no temporal part" if temporal is None else "the temporal part as it is" if settings.temporal is None else
             f"a temporal part of {sum(p.numel() for p in temporal.parameters()) / 1e6:.2g} million weights",
             "texts that learn" if settings.text_offsets else "texts as they are"]
    return "trained: " + ", ".join(parts) + "".join(
        f", LoRA of rank {rank} on the {tower} tower" for tower, rank in
        (("image", settings.lora), ("text", settings.lora_text)) if rank)


def _check_classes(videos: Videos, training: Sequence[int], failed: dict[int, str]) -> None:
    empty = set(videos.classes) - {videos.clips[place].label for place in training}
    if empty:
        raise ValueError(f"class {quoted(min(empty))} has no video for training that can be read; "
                         f"{next(iter(failed.values()))}")


def _run_key(begun: Recognizer, encoded: Encoded, settings: Settings, schedule: Schedule, *more: object) -> str:
    """All that the result of a training depends on, the weights and texts that it starts from among it."""
    begins = sha256_of(begun.claver.state_dict()), begun.head.texts.digest
    content = [encoded.recipe, encoded.keys, encoded.videos.labels, asdict(settings), asdict(schedule), more,
               torch.__version__, *begins]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _chosen(recognizer: Recognizer, trained: Trained, encoded: Encoded, videos: Videos, held_out: Sequence[int],
            settings: Settings) -> dict[str, Any]:
    """Set weights and scale to what is best on held-out clips; what was chosen, and what the choice is worth."""
    claver, texts = recognizer.claver, recognizer.head.texts
    labels = torch.tensor([videos.labels[place] for place in held_out], dtype=torch.long)
    given = 1.0 if settings.alpha is None else settings.alpha
    alphas = ALPHAS if settings.alpha is None and len(held_out) else (given,)
    logits = []
    for alpha in alphas:
        _set_between(claver, trained.states, alpha)
        logits.append(predict(claver, texts, encoded, held_out))
    chosen = best_candidate(torch.stack(logits), labels) if len(alphas) > 1 else 0
    _set_between(claver, trained.states, alphas[chosen])
    found: dict[str, Any] = dict(
        best_epoch=trained.best, losses=trained.losses, alpha=alphas[chosen], temperature=1.0,
        train_seconds=trained.seconds)
    if not len(held_out):
        return found
    judged = judged_by_the_other_half(torch.cat([trained.logits, torch.stack(logits)]), labels, settings.seed)
    found.update(
        held_out_by_epoch=[accuracy(one, labels) for one in trained.logits],
        zero_shot=accuracy(trained.logits[0], labels),
        alphas=[dict(alpha=alpha, accuracy=accuracy(one, labels)) for alpha, one in zip(alphas, logits)],
        judged_by_the_other_half=judged.eq(labels).float().mean().item(),
        calibration_error_before=reliability(logits[chosen].exp(), labels)[1])
    scale, video = claver.clip.logit_scale.detach().clone(), video_features(claver, encoded, held_out)
    text = claver.kept_text_features(texts).detach()

    def loss(temperature: float) -> float:
        scores = class_scores(claver.logits(video, text) / temperature, claver.score)
        return torch.nn.functional.cross_entropy(scores, labels.to(scores.device)).item()

    with torch.no_grad():
        found["temperature"] = best_temperature(loss)
    claver.clip.logit_scale.data.copy_(scale - math.log(found["temperature"]))
    return found


def _set_between(claver: CLAVER, states: list[dict[str, Tensor]], alpha: float) -> None:
    """Weights at a share of the way from the start to what was learnt."""
    start, end = states
    with torch.no_grad():
        for name, parameter in learnt(claver).items():
            parameter.copy_(end[name] if alpha == 1 or is_direction(name) else start[name].lerp(end[name], alpha))
