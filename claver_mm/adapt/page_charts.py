"""Charts of the report's page, as HTML and SVG whose colours are those of the page. Pure: imports nothing of ``mm*``.

Blue is right and vermilion is wrong or chosen (Okabe and Ito), and never colour alone: position, size and words say the
same. What a chart shows stands in its label, for those who do not see it.
"""
from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .choice import interval

SPACE = "\u00a0"
MATRIX_WITH_NUMBERS = 20
"""Up to so many classes the matrix is a table with a number in each cell."""
DOTS = 60
"""A curve of more points than these is a line alone."""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 230, 44, 14, 14, 40  # of a chart and its margins


def text(value: object) -> str:
    """Escaped; what is no text in UTF-8, as in odd file names, is written as an escape."""
    return html.escape(str(value).encode(errors="backslashreplace").decode())


def name(value: object) -> str:
    """A class's name or a file's, in its own direction, which does not reach what stands beside it."""
    return f'<bdi dir="auto">{text(value)}</bdi>'


def percent(share: float | None) -> str:
    """``93.6 %``; a dash for what is not known."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.1f}{SPACE}%"


def between(low: float, high: float) -> str:
    """``93.6 to 97.5 %``."""
    return f"{100 * low:.1f} to {percent(high)}"


def bar(share: float, ends: Sequence[float]) -> str:
    """A share with its interval; the numbers stand beside it."""
    low, high = (100 * end for end in ends)
    return (f'<svg class="bar" viewBox="-1 0 102 13" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="track" width="100" height="8"/><rect class="right" width="{100 * share:.2f}" height="8"/>'
            f'<path class="ends" d="M{low:.2f} 11H{high:.2f}M{low:.2f} 9V13M{high:.2f} 9V13"/></svg>')


def curve(points: Sequence[tuple[float, float]], chosen: int, said: str, x_name: str, step: float) -> str:
    """Accuracies over a number, the chosen one marked.

    Args:
        points: ``(x, share)``.
        chosen: Place of the point that was chosen.
        said: What stands beside it.
        x_name: What the number is.
        step: Between two of its ticks.
    """
    first, last = points[0][0], points[-1][0]

    def at(x: float, share: float) -> tuple[float, float]:
        return LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT), _up(share)

    ticks = "".join(f'<text x="{at(x, 0)[0]:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>'
                    for x in (first + number * step for number in range(int((last - first) / step + 1.001))))
    places = [at(*point) for point in points]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = "" if len(points) > DOTS else "".join(
        f'<circle class="right" cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{x_name} {number:g}: {percent(share)}'
        "</title></circle>" for (x, y), (number, share) in zip(places, points))
    x, y = places[chosen]
    half = 3.8 * len(said)  # of its width, about
    middle, below = min(max(x, LEFT + half), WIDTH - RIGHT - half), y + 30 if y < HEIGHT / 2 else y - 14
    label = (f"Share of held-out videos that are right by {x_name}: {percent(points[0][1])} at {first:g}, "
             f"{percent(points[-1][1])} at {last:g}; chosen: {said}")
    return (f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(label)}">{_shares()}'
            f'{ticks}{_x_name(x_name)}<path class="line" d="M{line}"/>{dots}'
            f'<circle class="chosen" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'
            f'<text class="said" x="{middle:.1f}" y="{below:.1f}" text-anchor="middle">{text(said)}</text></svg>')


def epoch_step(epochs: int, most: int = 7) -> int:
    """Between two ticks: 1, 2 or 5 times a power of ten."""
    return next(step for power in range(9) for step in (10 ** power, 2 * 10 ** power, 5 * 10 ** power)
                if epochs / step <= most)


def reliability_chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """Share that is right over the probability that was given, with 95 % intervals; dots grow with their videos."""
    filled = [row for row in rows if row["count"]]
    most = max(row["count"] for row in filled)

    def across(probability: float) -> float:
        return LEFT + probability * (WIDTH - LEFT - RIGHT)

    parts = [f'<path class="ideal" d="M{across(0)} {_up(0)}L{across(1)} {_up(1)}"/>']
    parts += [f'<text x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>'
              for x in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    for row in filled:
        x = across(row["confidence"])
        low, high = interval(round(row["accuracy"] * row["count"]), row["count"])
        told = (f"{row['low']:.1f} to {row['high']:.1f}: {row['count']} given {percent(row['confidence'])} on average, "
                f"{percent(row['accuracy'])} right")
        parts.append(f'<path class="error" d="M{x:.1f} {_up(low):.1f}V{_up(high):.1f}"/><circle class="right" '
                     f'cx="{x:.1f}" cy="{_up(row["accuracy"]):.1f}" r="{2.5 + 7 * math.sqrt(row["count"] / most):.1f}">'
                     f"<title>{told}</title></circle>")
    return (f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Reliability: share that is '
            f'right over the probability that was given; the numbers are in the table beside it">{_shares()}'
            f'{_x_name("probability of the label that was said")}{"".join(parts)}</svg>')


def matrix(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Which classes are taken for which: rows are true, columns were said; shades are shares of a row."""
    return (_table if len(names) <= MATRIX_WITH_NUMBERS else _map)(confusion, names)


def _table(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    head = "".join(f'<th scope="col"><abbr title="{text(each)}">{number}</abbr></th>'
                   for number, each in enumerate(names, 1))
    rows = []
    for true, counts in enumerate(confusion):
        total = sum(counts)
        cells = "".join(f'<td class="{"hit" if true == said else "miss"}" style="--a:{0.6 * count / total:.3f}">{count}'
                        "</td>" if count else '<td class="none">·</td>' for said, count in enumerate(counts))
        rows.append(f'<tr><th scope="row">{true + 1} {name(names[true])}</th>{cells}</tr>')
    return (f'<table class="matrix"><caption>Rows: what it is. Columns: what was said.</caption>'
            f'<thead><tr><td></td>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>')


def _map(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    C, margin = len(names), 44
    side = 600 / C
    step = epoch_step(C, 12)
    cells = [f'<rect class="ground" x="{margin}" y="{margin}" width="600" height="600"/>']
    for true, counts in enumerate(confusion):
        total = sum(counts)
        cells += [f'<rect class="{"right" if true == said else "wrong"}" x="{margin + said * side:.2f}" '
                  f'y="{margin + true * side:.2f}" width="{side:.2f}" height="{side:.2f}" '
                  f'fill-opacity="{0.5 + 0.5 * count / total:.2f}"><title>{count} of {total}: {text(names[true])} '
                  f"taken for {text(names[said])}</title></rect>" for said, count in enumerate(counts) if count]
    for number in (1, *range(step, C + 1, step)):
        middle = margin + (number - 0.5) * side
        cells.append(f'<text x="{middle:.1f}" y="{margin - 9}" text-anchor="middle">{number}</text>'
                     f'<text x="{margin - 7}" y="{middle + 6:.1f}" text-anchor="end">{number}</text>')
    return (f'<figure><figcaption class="note">Rows: what it is. Columns: what was said. Numbers as in the table of '
            f'classes; hover for names.</figcaption>'
            f'<svg class="map" viewBox="0 0 {600 + margin + 20} {600 + margin + 4}" role="img" '
            f'aria-label="Confusion matrix of {C} classes; the commonest confusions are listed beside it">'
            f'{"".join(cells)}</svg></figure>')


def _up(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _shares() -> str:
    return "".join(f'<path class="grid" d="M{LEFT} {_up(share):.1f}H{WIDTH - RIGHT}"/><text x="{LEFT - 6}" '
                   f'y="{_up(share) + 4:.1f}" text-anchor="end">{100 * share:g}{SPACE}%</text>'
                   for share in (0, 0.25, 0.5, 0.75, 1))


def _x_name(what: str) -> str:
    return f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{text(what)}</text>'
