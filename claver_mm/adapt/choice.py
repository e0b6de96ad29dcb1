"""What is chosen on held-out videos, and what such a choice is worth. Pure: imports torch alone.

Letters: ``N`` clips, ``C`` classes, ``K`` candidates.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

KEPT = 0.95
"""Share of the videos of the classes that a threshold has to keep."""
Z = 1.959964
"""Standard deviations on either side that hold 95 % of a normal distribution."""
TEMPERATURES = tuple(1.02 ** power for power in range(-150, 151))
"""From a twentieth to twenty, 2 % apart."""


def merit(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """By which candidates are compared, the higher the better: accuracy, and among equal ones the lower mean cross
    entropy; ``(N, C), (N,)``.

    Not the cross entropy alone: of few videos that are learnt by heart it rises while more and more is told right. How
    sure the scores are is set in the end, by a temperature.
    """
    return accuracy(logits, labels), -cross_entropy(logits, labels).item()


def best_candidate(logits: Tensor, labels: Tensor) -> int:
    """Of ``K`` candidates the one with the highest ``merit``, the first of equal ones: ``(K, N, C), (N,) -> k``."""
    merits = [merit(one, labels) for one in logits]
    return merits.index(max(merits))


def judged_by_the_other_half(logits: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
    """Predictions ``(N,)``, each by the candidate that is best on the half of the clips that it is not in.

    A choice among ``K`` candidates is better on the clips that it was made on than on others; these predictions do not
    have that advantage.
    """
    half = torch.zeros(len(labels), dtype=torch.bool)
    half[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:len(labels) // 2]] = True
    predictions = torch.empty(len(labels), dtype=torch.long)
    for judged in (half, ~half):
        if judged.any():
            chosen = best_candidate(logits[:, ~judged], labels[~judged]) if (~judged).any() else 0
            predictions[judged] = logits[chosen][judged].argmax(dim=1)
    return predictions


def interval(correct: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    share, z = correct / count, Z
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def best_temperature(loss: Callable[[float], float]) -> float:
    """By which logits are divided for the lowest loss on held-out clips (Guo et al. 2017), out of ``TEMPERATURES``."""
    return min(TEMPERATURES, key=loss)


class Threshold(NamedTuple):
    """Probability of the likeliest label under which a video is said to show none of them."""
    value: float
    kept: float
    """Share of held-out videos that reach it."""
    turned_away: float | None
    """Share under it of videos whose class was taken out of the labels; None with fewer than three classes."""


def none_of_these(probabilities: Tensor, labels: Tensor) -> Threshold:
    """A threshold from videos of the classes alone: ``(N, C), (N,)``.

    What is none of the classes is not at hand. In its place stands each held-out video with its own class taken out of
    the labels, so that none that is left is right. Taken is the threshold that tells those from the videos as they are
    best, but never one that would turn away more than one in twenty of the latter: of fewer than twenty, none.
    """
    known = probabilities.max(dim=1).values
    most = torch.quantile(known, 1 - KEPT, interpolation="lower").item()
    if probabilities.shape[1] < 3:
        return Threshold(most, (known >= most).float().mean().item(), None)
    without = probabilities.scatter(1, labels[:, None], 0)
    unknown = (without / without.sum(dim=1, keepdim=True).clamp_min(1e-12)).max(dim=1).values
    candidates = torch.cat([known, unknown])
    candidates = candidates[candidates <= most]  # the lowest of those known is one
    kept = (known[None] >= candidates[:, None]).float().mean(dim=1)
    away = (unknown[None] < candidates[:, None]).float().mean(dim=1)
    chosen = int((kept + away).argmax())
    return Threshold(candidates[chosen].item(), kept[chosen].item(), away[chosen].item())


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 10) -> tuple[list[dict], float]:
    """Clips by the probability of their likeliest label, and the expected calibration error (Naeini et al. 2015)."""
    confidence, predictions = probabilities.max(dim=1)
    right = predictions.eq(labels)
    rows: list[dict] = []
    error = 0.0
    place = (confidence * bins).long().clamp(max=bins - 1)
    for number in range(bins):
        inside = place == number
        count = int(inside.sum())
        rows.append(dict(low=number / bins, high=(number + 1) / bins, count=count, confidence=None, accuracy=None))
        if count:
            sure, share = confidence[inside].mean().item(), right[inside].float().mean().item()
            rows[-1].update(confidence=sure, accuracy=share)
            error += count / len(labels) * abs(sure - share)
    return rows, error


def accuracy(logits: Tensor, labels: Sequence[int] | Tensor) -> float:
    """Share of clips whose own class is the likeliest; NaN of none."""
    return logits.argmax(dim=1).eq(torch.as_tensor(labels)).float().mean().item()
