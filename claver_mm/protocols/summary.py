"""Numbers of several splits as a table prints them. Pure: imports nothing of ``mm*``."""
from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

METRIC = "acc/top1"
"""What protocols report, of the test's metrics."""
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


def summed_up(protocol: str, checkpoint: str | None, results: Sequence[Mapping], deviation: str = "sample",
              ) -> tuple[list[str], dict[str, dict]]:
    """A protocol's table of one row, line by line in Markdown, and the numbers behind it.

    Args:
        protocol, checkpoint: As the table names them.
        results: Of each test: ``column`` (what is averaged stands in one), ``metrics``, ``list_sha256``, ``videos``,
            ``listed``, ``classes``, ``views``, ``prompts``.
        deviation: Of ``DEVIATIONS``.
    """
    columns: dict[str, list[Mapping]] = {}
    for result in results:
        columns.setdefault(result["column"], []).append(result)
    accuracy = {name: [result["metrics"][METRIC] for result in some] for name, some in columns.items()}
    numbers: dict[str, dict] = {
        name: dict(zip(("mean", "deviation"), mean_and_deviation(values, deviation)), values=values)
        for name, values in accuracy.items()}
    printed = {name: percent(values, deviation) for name, values in accuracy.items()}
    if "novel" in accuracy:
        numbers["harmonic mean"] = dict(mean=harmonic_mean(numbers["base"]["mean"], numbers["novel"]["mean"]))
        printed["harmonic mean"] = percent([numbers["harmonic mean"]["mean"]])
    by_list = {result["list_sha256"]: result for result in results}.values()
    prompts = results[0]["prompts"]
    kinds = dict(templates=prompts["templates"], **prompts.get("kinds", {}))
    cells = {
        "protocol": protocol, **printed,
        "videos": ", ".join(f"{one['videos']}" + f" of {one['listed']}" * (one["videos"] != one["listed"])
                            for one in by_list),
        "classes": ", ".join(map(str, dict.fromkeys(one["classes"] for one in results))),
        "texts of a class": f"{prompts['texts_per_class']}: "
                            + ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count),
        "views": results[0]["views"], "checkpoint": str(checkpoint)}
    heads = [name + " %" * (name in printed)
             + f" (mean ± {deviation} deviation)" * (len(accuracy.get(name, ())) > 1) for name in cells]
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(cells), cells.values())], numbers
