"""Training on tokens that are kept: the temporal part, and what texts learn. Pure: imports nothing of ``mm*``.

Letters: ``N`` clips, ``B`` of a batch, ``C`` classes, ``E`` embedding size.
"""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..files import written_whole
from ..language.texts import Texts
from ..model import CLAVER, class_scores
from ..randomness import drawing_from, mixed_seed
from .choice import merit


class Source(Protocol):
    """Where tokens come from."""

    def tokens(self, places: Sequence[int], view: int = 0) -> Tensor:
        """Of clips, float32 ``(B, T, L, D)``."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How long and how fast; what was found to serve from a few to thousands of videos (``docs/own_videos.md``)."""

    epochs: int = 30
    batch_size: int = 32
    lr: float = 1e-3
    """Highest rate of the temporal part; reached after a tenth of the steps, then falling as a cosine."""
    lr_texts: float = 1e-3
    """The same of what texts learn."""
    lr_lora: float = 5e-4
    """The same of the low-rank updates of a tower."""
    weight_decay: float = 0.05
    patience: int = 10
    """Epochs without a gain on what is held out after which training ends."""
    min_steps: int = 50
    """Of an epoch: few clips are gone through several times in each, so that there are as many."""
    seed: int = 0

    def passes(self, clips: int) -> int:
        """How often an epoch goes through so many clips."""
        return math.ceil(self.min_steps / math.ceil(clips / self.batch_size))


@dataclass
class Trained:
    """What came of a training."""

    logits: Tensor
    """Log-probabilities of what is held out before the first epoch and after each, ``(epochs + 1, N, C)``, float32."""
    states: list[dict[str, Tensor]]
    """Weights that were learnt, of the best epoch; the start first."""
    best: int
    """Epoch with the highest ``merit`` on what is held out, 0 for the start; the last one where nothing is."""
    losses: list[float]
    """Mean training loss of each epoch."""
    seconds: float


def learnt(claver: CLAVER) -> dict[str, nn.Parameter]:
    """Parameters that a training writes to, by name."""
    return {name: parameter for name, parameter in claver.named_parameters() if parameter.requires_grad}


def train(claver: CLAVER, texts: Texts, source: Source, labels: Sequence[int], training: Sequence[int],
          held_out: Sequence[int], schedule: Schedule, *, views: int = 1, state_file: Path | None = None,
          say: Callable[[str], object] = lambda line: None) -> Trained:
    """Train what of a model requires gradients, and go back to the weights of its best epoch.

    What an epoch draws depends on seed and epoch alone. Each ends in a file, from which a run that was killed goes on
    to the same result.

    Args:
        claver: The model, on its device.
        texts: Of the classes.
        source: Of tokens.
        labels: Class numbers, by place.
        training, held_out: Places.
        schedule: How long and how fast.
        views: Of each clip; one is drawn for each epoch.
        state_file: Where the state of a run is kept until it ends.
        say: Told of each epoch.
    """
    began = time.monotonic()
    parameters, targets = learnt(claver), torch.tensor(labels, device=claver.device)
    optimizer = torch.optim.AdamW(_groups(parameters, schedule), betas=(0.9, 0.98))
    epochs, passes = schedule.epochs, schedule.passes(len(training))
    steps = epochs * passes * math.ceil(len(training) / schedule.batch_size)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    state: dict[str, Any] = dict(epoch=0, logits=[], losses=[], best=0, merit=None, weights=_copied(parameters))
    if state_file is not None and state_file.is_file():
        state = torch.load(state_file, map_location=claver.device, weights_only=True)
        for name, value in state["now"].items():
            parameters[name].data.copy_(value)
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        say(f"goes on after epoch {state['epoch']}")
    done = state["epoch"]
    if not state["logits"]:
        state["logits"].append(predict(claver, texts, source, held_out))
        state["merit"] = _merit(state["logits"][0], targets[list(held_out)])
    start = _copied(parameters) if state["epoch"] == 0 else state["start"]
    frozen_text = None  # encoded once where the text tower does not learn
    if not any(parameter.requires_grad for parameter in claver.clip.text.parameters()):
        with torch.no_grad():
            frozen_text = claver.text_features(texts.tokens)
    while state["epoch"] < epochs and state["epoch"] - state["best"] < schedule.patience:
        epoch = state["epoch"] + 1
        generator = torch.Generator().manual_seed(mixed_seed(schedule.seed, epoch))
        total, batches = 0.0, [batch for _ in range(passes)
                               for batch in _batches(training, views, schedule.batch_size, generator)]
        claver.train()
        with drawing_from(mixed_seed(schedule.seed, epoch)):
            for places, view in batches:
                loss = _step(claver, texts, frozen_text, source.tokens(places, view), targets[places])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
                optimizer.step()
                scheduler.step()
                total += loss.item() * len(places)
        state["losses"].append(total / (passes * len(training)))
        state["logits"].append(predict(claver, texts, source, held_out))
        found = _merit(state["logits"][-1], targets[list(held_out)])
        state["epoch"] = epoch
        if found is None or found > state["merit"]:
            state.update(best=epoch, merit=found, weights=_copied(parameters))
        if state_file is not None:
            with written_whole(state_file) as file:
                torch.save(dict(state, start=start, now=_copied(parameters), optimizer=optimizer.state_dict(),
                                scheduler=scheduler.state_dict()), file)
        correct = "" if found is None else f"  held out {100 * found[0]:.1f} %"
        left = (time.monotonic() - began) / (epoch - done) * (epochs - epoch)
        say(f"epoch {epoch}/{epochs}  loss {state['losses'][-1]:.3f}{correct}  at most {left:.0f} s to go")
    claver.eval()
    with torch.no_grad():
        for name, value in state["weights"].items():
            parameters[name].copy_(value)
    return Trained(torch.stack(state["logits"]), [start, state["weights"]], state["best"], state["losses"],
                   time.monotonic() - began)


def predict(claver: CLAVER, texts: Texts, source: Source, places: Sequence[int]) -> Tensor:
    """Log-probabilities of clips, ``(N, C)``, float32 on the CPU; those of the recogniser's one view."""
    return log_probabilities(claver, texts, video_features(claver, source, places))


def video_features(claver: CLAVER, source: Source, places: Sequence[int], batch_size: int = 32) -> Tensor:
    """Embeddings of clips, ``(N, E)``."""
    was = claver.training
    claver.eval()
    found = [torch.empty(0, claver.clip.embed_dim, device=claver.device)]
    with torch.no_grad():
        for first in range(0, len(places), batch_size):
            found.append(claver.read(claver.mix(source.tokens(places[first:first + batch_size]))).mean(dim=1))
    claver.train(was)
    return torch.cat(found)


def log_probabilities(claver: CLAVER, texts: Texts, video: Tensor) -> Tensor:
    """Of embeddings of clips: ``(N, E) -> (N, C)``, float32 on the CPU."""
    with torch.no_grad():
        logits = claver.logits(video, claver.kept_text_features(texts))
        return class_scores(logits, claver.score).log_softmax(dim=-1).cpu()


def _batches(places: Sequence[int], views: int, batch_size: int,
             generator: torch.Generator) -> Iterator[tuple[list[int], int]]:
    """All clips once, in an order of their own, and which view of a batch is seen."""
    order = torch.tensor(list(places))[torch.randperm(len(places), generator=generator)]
    for batch in order.split(batch_size):
        yield batch.tolist(), int(torch.randint(views, (), generator=generator))


def _step(claver: CLAVER, texts: Texts, frozen_text: Tensor | None, tokens: Tensor, targets: Tensor) -> Tensor:
    """Mean over texts of the cross entropy over classes, equation 9 with all texts; their features ``(C, M, E)`` before
    offsets where the text tower does not learn."""
    video = claver.read(claver.mix(tokens)).mean(dim=1)
    text = claver.text_features(texts.tokens) if frozen_text is None else frozen_text
    logits = claver.logits(video, claver.clip.moved(text, texts))  # (B, M, C)
    return cross_entropy(logits.flatten(0, 1), targets.repeat_interleave(logits.shape[1]))


def _groups(parameters: dict[str, nn.Parameter], schedule: Schedule) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        lr = (schedule.lr_texts if name == "clip.text_offsets" else schedule.lr_lora if ".parametrizations." in name
              else schedule.lr)
        decay = 0.0 if parameter.ndim < 2 or name == "clip.text_offsets" else schedule.weight_decay
        groups.setdefault((lr, decay), []).append(parameter)
    return [dict(params=group, lr=lr, weight_decay=decay) for (lr, decay), group in groups.items()]


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def _copied(parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in parameters.items()}


def _merit(logits: Tensor, targets: Tensor) -> tuple[float, float] | None:
    return merit(logits, targets.cpu()) if len(logits) else None


