"""A recogniser over the videos of a test loader: answers and similarities, as it is or with something changed.

What the paper's studies have in common (sections 5 and B): accuracy and similarity to the true class with tokens
shuffled, or with the clip played backwards. Pure: models and loaders are taken for what they do, nothing of ``mm*`` is
imported.

Letters: ``N`` videos, ``V`` views of a video, ``T`` frames, ``M`` descriptions of a class, ``C`` classes.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..temporal import KroneckerTransformer


class Recogniser(Protocol):
    """What the studies take of a recogniser of the host."""
    cls_head: Any
    training: bool

    def test_step(self, data: dict) -> Sequence[Any]: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def train(self, mode: bool = True) -> object: ...


class Loader(Iterable[dict], Protocol):
    """What the studies take of a ``DataLoader``."""
    dataset: Sized


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of ``N`` videos, in the loader's order.

    A video that could not be read (``score_unreadable`` of the data set) has the label -1: it counts as wrong and its
    similarity is NaN.
    """
    labels: np.ndarray
    """True classes, integers ``(N,)``."""
    predictions: np.ndarray
    """Answers, integers ``(N,)``."""
    similarities: np.ndarray
    """Cosine similarity to the true class, mean over its descriptions and the views, ``(N,)``."""

    @property
    def correct(self) -> np.ndarray:
        """Whether the answer is the label, bool ``(N,)``."""
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.correct.mean())

    @property
    def similarity(self) -> float:
        """Mean similarity to the true class."""
        return float(np.nanmean(self.similarities))

    def select(self, mask: np.ndarray) -> Evaluation:
        """The videos where ``mask``, bool ``(N,)``, is true."""
        return Evaluation(self.labels[mask], self.predictions[mask], self.similarities[mask])


def evaluate(model: Recogniser, batches: Iterable[dict], change: Callable[[Tensor], Tensor] | None = None,
             total: int | None = None, progress: str | None = None) -> Evaluation:
    """Run ``model.test_step`` on every batch.

    Args:
        model: A recogniser with a ``ContrastiveTextHead``; it is in evaluation mode meanwhile.
        batches: A test loader: dicts of ``inputs``, a list of uint8 tensors ``(V, 3, T, h, w)``, and
            ``data_samples``.
        change: Applied to the inputs of each video first, e.g. ``reverse_time``.
        total: ``N``, for the progress bar.
        progress: What the progress bar says; none where None.

    Raises:
        ValueError: No video at all, a head whose logits are no similarities to texts, or a video of several labels.
    """
    head = model.cls_head
    if not hasattr(getattr(head, "clip", None), "logit_scale"):
        raise ValueError(f"similarities need a ContrastiveTextHead, the model has a {type(head).__name__}")
    caught: list[Tensor] = []
    handle = head.register_forward_hook(lambda head, args, logits: caught.append(logits))
    training = model.training
    model.train(False)
    labels, predictions, similarities = [], [], []
    try:
        with torch.no_grad(), tqdm(total=total, desc=progress, unit="video", disable=progress is None) as bar:
            for batch in batches:
                if change is not None:
                    batch = dict(batch, inputs=[change(views) for views in batch["inputs"]])
                caught.clear()
                samples = model.test_step(batch)
                truth = torch.tensor([_label(sample) for sample in samples])
                labels.append(truth)
                predictions.append(torch.stack([sample.pred_score.argmax() for sample in samples]).cpu())
                bias = 0 if head.clip.logit_bias is None else head.clip.logit_bias.float()
                cosines = (caught[-1] - bias) / head.clip.logit_scale.float().exp()
                similarities.append(_true_similarity(cosines, truth))
                bar.update(len(samples))
    finally:
        handle.remove()
        model.train(training)
    if not labels:
        raise ValueError("the loader gave no video; does its annotation list hold any?")
    return Evaluation(*(torch.cat(part).numpy() for part in (labels, predictions, similarities)))


def _label(sample: Any) -> int:
    label = sample.gt_label
    if label.numel() != 1:
        raise ValueError(f"a video has the labels {label.tolist()}; accuracy here is that of one label a video")
    return int(label)


def _true_similarity(similarities: Tensor, labels: Tensor) -> Tensor:
    """``(N*V, M, C), (N,) -> (N,)``, float64 on the CPU; NaN for the label -1."""
    mean = similarities.double().cpu().unflatten(0, (len(labels), -1)).mean(dim=(1, 2))  # (N, C)
    true = mean.gather(1, labels.clamp_min(0)[:, None])[:, 0]
    return true.masked_fill(labels < 0, torch.nan)


def reverse_time(views: Tensor) -> Tensor:
    """The same clips played backwards, ``(V, 3, T, h, w)``."""
    return only_clips(views).flip(2)


def only_clips(views: Tensor) -> Tensor:
    """The argument; ``ValueError`` where it is not ``(V, 3, T, h, w)``."""
    if views.ndim != 5:
        raise ValueError(f"the inputs of a video have shape {tuple(views.shape)}, expected clips (V, 3, T, h, w); use "
                         "FormatShape with input_format='NCTHW' in the test pipeline")
    return views


def temporal_transformer(model: nn.Module | Recogniser) -> KroneckerTransformer:
    """The one temporal transformer of a model; ``ValueError`` where it has none, or several."""
    found = [module for module in model.modules() if isinstance(module, KroneckerTransformer)]
    if len(found) != 1:
        raise ValueError(f"the model has {len(found) or 'no'} temporal transformer{'s' * (len(found) > 1)}, this study "
                         "needs one: a config with neck=dict(type='TemporalNeck', ...) or KMTNeck, KMCTNeck")
    return found[0]


def partner_indices(classes: Sequence[str], pairs: Iterable[tuple[str, str]]) -> np.ndarray:
    """Of each class its partner in reversal pairs, integers ``(C,)``; -1 for a class in no pair.

    Raises:
        ValueError: A name that is no class, or one that stands in two pairs; the message has it.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    partners = np.full(len(classes), -1)
    for pair in pairs:
        for name, other in (pair, pair[::-1]):
            if name not in numbers or other not in numbers or name == other:
                raise ValueError(f"the pair {' / '.join(pair)} does not name two of the {len(classes)} classes "
                                 f"({', '.join(list(classes)[:5])}, ...)")
            if partners[numbers[name]] >= 0:
                raise ValueError(f"class {name!r} stands in two pairs")
            partners[numbers[name]] = numbers[other]
    return partners


def order_sensitivity(forwards: Evaluation, backwards: Evaluation, partners: np.ndarray | None = None) -> dict:
    """How often the answer changes when the clip plays backwards.

    Args:
        forwards, backwards: The same videos in the same order.
        partners: See ``partner_indices``.

    Returns:
        Shares: ``changed`` of all videos; with ``partners``, of the videos whose answer has a partner, ``to_partner``
        (the answer changes to it) and, of those whose true class has one, ``right_backwards`` (the answer to the
        reversed clip is the partner of the true class). NaN where there is no such video.
    """
    before, after, labels = forwards.predictions, backwards.predictions, forwards.labels
    result = dict(videos=len(labels), accuracy=forwards.accuracy, changed=float((before != after).mean()))
    if partners is not None:
        paired = partners[before] >= 0
        known = (labels >= 0) & (partners[labels] >= 0)
        result.update(to_partner=_share((after == partners[before])[paired]),
                      right_backwards=_share((after == partners[labels])[known]))
    return result


def _share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else float("nan")
