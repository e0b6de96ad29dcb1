"""Numbers of several splits as a table prints them. Pure: imports nothing of ``mm*``."""
from __future__ import annotations

import statistics
from collections.abc import Sequence

DEVIATIONS = {"sample": statistics.stdev, "population": statistics.pstdev}
"""Standard deviation over ``n`` splits, divided by ``n - 1`` or by ``n``.

The paper does not say which it prints. ``sample`` is the default: splits stand for others that might have been drawn,
and of three values it is 1.22 times the other, so that it does not make a result look steadier than it is.
``population`` is what NumPy's ``std`` gives.
"""


def mean_and_deviation(values: Sequence[float], deviation: str = "sample") -> tuple[float, float | None]:
    """Mean and standard deviation; None where one value has no deviation.

    Raises:
        ValueError: No value, or an unknown deviation.
    """
    if deviation not in DEVIATIONS:
        raise ValueError(f"unknown deviation {deviation!r}; one of {', '.join(DEVIATIONS)}")
    if not values:
        raise ValueError("no values to average")
    return statistics.fmean(values), DEVIATIONS[deviation](values) if len(values) > 1 else None


def percent(values: Sequence[float], deviation: str = "sample") -> str:
    """Fractions as the paper prints them: ``[0.77, 0.785, 0.803]`` -> ``78.6 ± 1.7``."""
    mean, spread = mean_and_deviation(values, deviation)
    return f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def harmonic_mean(base: float, novel: float) -> float:
    """Harmonic mean of base and novel accuracy, 0 where either is 0."""
    return statistics.harmonic_mean([base, novel])
