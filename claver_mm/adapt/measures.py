"""What is told of held-out videos, and of labels that were not learnt."""
from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..catalog import find_classes
from ..language.prompts import read_lines
from ..protocols.clips import read_clips
from ..recognizer import Recognizer
from .choice import interval, none_of_these, reliability
from .encode import Encoded
from .look import Videos, look
from .training import predict


def root_of(videos: Videos) -> str:
    """The folder that all videos lie below."""
    return os.path.commonpath([os.path.dirname(os.path.abspath(clip.path)) for clip in videos.clips])


def measured(videos: Videos, training: Sequence[int], held_out: Sequence[int],
             probabilities: Tensor) -> dict[str, Any]:
    """Everything that is told of held-out clips, from their probabilities ``(N, C)``."""
    labels = torch.tensor([videos.labels[place] for place in held_out], dtype=torch.long)
    said = probabilities.argmax(dim=1) if len(held_out) else labels
    C = len(videos.classes)
    confusion = torch.zeros(C, C, dtype=torch.long)
    confusion.index_put_((labels, said), torch.ones_like(labels), accumulate=True)
    learnt_from = torch.bincount(torch.tensor([videos.labels[place] for place in training]), minlength=C).tolist()
    right = int(said.eq(labels).sum())
    found: dict[str, Any] = dict(
        classes=[dict(name=name, training=learnt_from[c], held_out=int(confusion[c].sum()),
                      right=int(confusion[c, c]), seconds=sum(
                          length for clip, length in zip(videos.clips, videos.seconds) if clip.label == name))
                 for c, name in enumerate(videos.classes)],
        training=len(training), held_out=len(held_out), confusion=confusion.tolist(), accuracy=None, interval=None,
        reliability=[], calibration_error=None, threshold=None, clips=[])
    if not len(held_out):
        return found
    rows, error = reliability(probabilities, labels)
    root = root_of(videos)
    own = probabilities.gather(1, labels[:, None]).squeeze(1)
    found.update(
        accuracy=right / len(held_out), interval=interval(right, len(held_out)), reliability=rows,
        calibration_error=error, threshold=none_of_these(probabilities, labels)._asdict(),
        clips=[dict(video=os.path.relpath(videos.clips[held_out[n]].path, root), start=videos.clips[held_out[n]].start,
                    end=videos.clips[held_out[n]].end, label=videos.classes[labels[n]], said=videos.classes[said[n]],
                    probability=own[n].item(), probability_said=probabilities[n, said[n]].item())
               for n in own.argsort(stable=True).tolist()])
    return found


class Elsewhere:
    """How videos are told by labels that are not learnt: by those of other videos, or where there are none, the
    held-out ones by the classes of Kinetics-400."""

    def __init__(self, names: Sequence[str], source: Encoded, labels: Sequence[int] | None,
                 places: Sequence[int] | None) -> None:
        self.names, self.source, self.labels, self.places = names, source, labels, places

    def ranked_first(self, recognizer: Recognizer, held_out: Sequence[int]) -> Tensor:
        """Class numbers ``(N,)``."""
        places = held_out if self.places is None else self.places
        return predict(recognizer.claver, recognizer.claver.texts(self.names), self.source, places).argmax(dim=1)

    def compared(self, before: Tensor, after: Tensor) -> dict[str, Any]:
        """What training left of it."""
        found: dict[str, Any] = dict(classes=len(self.names), clips=len(before),
                                     same=before.eq(after).float().mean().item() if len(before) else None)
        if self.labels is not None:
            labels = torch.tensor(self.labels)
            found.update({name: said.eq(labels).float().mean().item() for name, said in
                          (("before", before), ("after", after))})
        return found


def elsewhere_of(recognizer: Recognizer, others: str | Path | None, encoded: Encoded, root: Path,
                 max_bytes: int | None) -> Elsewhere:
    if others is None:
        return Elsewhere(read_lines(find_classes("kinetics400"), "classes"), encoded, None, None)
    videos = look(read_clips(others))
    source = Encoded(recognizer, videos, replace(encoded.sight, views=1), root, max_bytes)
    source.encode()
    places = [place for place in range(len(videos)) if place not in source.failed]
    return Elsewhere(videos.classes, source, [videos.labels[place] for place in places], places)
