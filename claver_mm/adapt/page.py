"""The report of a training as one HTML page that needs nothing beside it: no other file, no script, no network.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_text
from ..messages import shown
from ..version import __version__
from .choice import interval
from .page_charts import SPACE, bar, between, curve, epoch_step, matrix, name, percent, reliability_chart, text
from .page_style import PAGE
from .strips import Strip, worst_strips

if TYPE_CHECKING:
    from .adapter import Adapted

CONFUSIONS, LEFT_OUT, ROWS = 12, 10, 20
"""So many confusions are listed; so many videos that were left out are shown unfolded; more classes scroll."""


def write_report(folder: str | Path, adapted: Adapted, worst: int = 12) -> None:
    """Write ``report.json`` and ``report.html`` into a folder, which is made where there is none.

    Args:
        folder: What lies there under these names is replaced.
        adapted: What came of a training.
        worst: So many held-out videos are shown, those first whose right label had the lowest probability.

    Raises:
        OSError: A file cannot be written.
    """
    report = {"recognizer": str(adapted.recognizer), "date": date.today().isoformat(), "version": __version__,
              **adapted.report}
    write_text(Path(folder, "report.json"), as_json(report))
    write_text(Path(folder, "report.html"), page(report, worst_strips(report["clips"], worst, root=adapted.root)))


def as_json(report: Mapping[str, Any]) -> str:
    """A report as JSON, which knows no numbers that are none (they become null), nor names that are no text in UTF-8
    (what is odd in them is written as an escape, and read back as it was)."""
    return json.dumps(_finite(report), ensure_ascii=False, indent=1, allow_nan=False).encode(
        errors="backslashreplace").decode() + "\n"


def page(report: Mapping[str, Any], strips: Sequence[Strip] = ()) -> str:
    """The report as HTML.

    Args:
        report: As ``adapt`` gives it; what ``write_report`` puts beside it (recogniser, date, version) may be missing.
        strips: Of the worst held-out videos, see ``worst_strips``.
    """
    C = len(report["classes"])
    sections = {
        "How well it does": _result(report), "How it got there": _path(report), "Classes": _classes(report),
        "What is taken for what": _confusion(report), "The worst held-out videos": _strips(report, strips),
        "How far probabilities can be trusted": _calibration(report), "None of these": _threshold(report),
        "Labels that were not learnt": _elsewhere(report["elsewhere"]), "Left out": _left_out(report["left_out"]),
        "Settings": _settings(report)}
    version = f" {text(report['version'])}" if "version" in report else ""
    return PAGE.substitute(
        title=f"A recogniser of {C} classes", about=_about(report), made=f"claver-mm{version}",
        sections="\n".join(f"<section><h2>{title}</h2>\n{content}</section>"
                           for title, content in sections.items() if content))


def _about(report: Mapping[str, Any]) -> str:
    facts = [text(report[key]) for key in ("recognizer", "date") if key in report]
    trained = f"learnt from {_count(report['training'], _noun(report))} in {report['seconds']:.0f} s"
    return f"<p>{'<br>'.join([*facts, trained])}, {report['held_out'] or 'none'} held out</p>"


def _result(report: Mapping[str, Any]) -> str:
    N, what = report["held_out"], _noun(report)
    if not N:
        return ("<p>No videos were held out: all were learnt from, and how well the recogniser does is not known. Hold "
                "some out to see accuracy, confusions, calibration and a threshold for <em>none of these</em> "
                "here.</p>")
    chance = 1 / len(report["classes"])
    guess = f'<tr><th scope="row">guessing</th><td class="number">{percent(chance)}</td><td></td><td></td></tr>'
    rows = guess + "".join(
        f'<tr><th scope="row">{said}</th><td class="number{" large" * (said == "after")}">{percent(share)}</td>'
        f'<td class="number note">{between(*ends)}</td><td class="wide">{bar(share, ends)}</td></tr>'
        for said, share, ends in (
            ("before training", report["zero_shot"], _interval(report["zero_shot"], N)),
            ("after", report["accuracy"], report["interval"]),
            ("after, chosen on the other half", report["judged_by_the_other_half"],
             _interval(report["judged_by_the_other_half"], N))))
    files = len({clip["video"] for clip in report["clips"]})
    related = "" if files == N else (f" The {N} clips come from {_count(files, 'file')}, and clips of one file "
                                     "resemble each other, so that the true intervals are wider.")
    return (f'<p><strong>{percent(report["accuracy"])} of {_count(N, "held-out " + what)} '
            f'{"is" if N == 1 else "are"} told right</strong> (95{SPACE}% interval: {between(*report["interval"])}). '
            f'Before training it was {percent(report["zero_shot"])}.</p>'
            f'<table class="result"><thead><tr><td></td><th scope="col">right</th><th scope="col">95 % interval</th>'
            f'<td></td></tr></thead><tbody>{rows}</tbody></table>'
            f'<p>How long and how far to train was chosen on the same held-out {what}, which flatters. In the '
            f'last line each half of them is judged by what was best on the other half: expect this of new {what} '
            f'of the same kind.{related}</p>')


def _path(report: Mapping[str, Any]) -> str:
    if not report["held_out"]:
        return f"<p>Trained for {_count(len(report['losses']), 'epoch')}; the last one was kept.</p>"
    by_epoch, alphas, best = report["held_out_by_epoch"], report["alphas"], report["best_epoch"]
    alpha = report["alpha"]
    by_share = f"by the share of held-out {_noun(report)} that are told right"
    kept = (f"Of {_count(len(by_epoch) - 1, 'epoch')}, {best} was best {by_share}, and was kept." if best else
            f"No epoch was better than the start {by_share}.")
    far = f"The recogniser stands at {alpha:g} of the way from the start (0) to what was learnt (1)"
    far += (", where most of them were." if len(alphas) > 1 else ", as was asked for.")
    if not best or not alpha:
        far += " <strong>So nothing of what was learnt is in it: it is as it was before training.</strong>"
    charts = [curve(list(enumerate(by_epoch)), best, f"epoch {best}: {percent(by_epoch[best])}", "epoch",
                    epoch_step(len(by_epoch) - 1))] if len(by_epoch) > 1 else []
    if len(alphas) > 1:
        points = [(each["alpha"], each["accuracy"]) for each in alphas]
        place = next(number for number, point in enumerate(points) if point[0] == alpha)
        charts.append(curve(points, place, f"at {alpha:g}: {percent(points[place][1])}", "share of the way", 0.2))
    return f'<p>{kept} {far}</p><div class="pair">{"".join(charts)}</div>'


def _classes(report: Mapping[str, Any]) -> str:
    rows, held_out = [], bool(report["held_out"])
    for number, each in enumerate(report["classes"], 1):
        count, right = each["held_out"], each["right"]
        measured = ('<td class="number note">none</td><td></td>' if not count else
                    f'<td class="number">{right} of {count}</td><td class="wide" title="{percent(right / count)}, '
                    f'95 % interval {between(*interval(right, count))}">{bar(right / count, interval(right, count))}'
                    "</td>")
        rows.append(f'<tr><td class="number note">{number}</td><th scope="row">{name(each["name"])}</th>'
                    f'<td class="number">{each["training"]}</td>{measured if held_out else ""}'
                    f'<td class="number">{each["seconds"]:.0f}{SPACE}s</td></tr>')
    head = "".join(f'<th scope="col" class="number">{each}</th>' for each in (
        "learnt from", *(["right of held out"] if held_out else [])))
    scroll = " scroll" if len(rows) > ROWS else ""
    bars = '<p class="note">Bars: share that is right, and its 95 % interval.</p>' if held_out else ""
    return (f'<div class="across{scroll}" tabindex="0" role="region" aria-label="Classes"><table class="classes">'
            f'<thead><tr><th scope="col">#</th><th scope="col">class</th>{head}{"<td></td>" if held_out else ""}'
            f'<th scope="col" class="number">length</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
            f'{bars}')


def _confusion(report: Mapping[str, Any]) -> str:
    if not report["held_out"]:
        return ""
    names, counts = [each["name"] for each in report["classes"]], report["confusion"]
    found = [(counts[true][said], true, said) for true in range(len(names)) for said in range(len(names))
             if counts[true][said] and true != said]
    found.sort(key=lambda each: (-each[0], sum(counts[each[1]])))
    listed = "".join(f"<tr><th scope=\"row\">{name(names[true])}</th><td>{name(names[said])}</td>"
                     f'<td class="number">{count} of {sum(counts[true])}</td></tr>'
                     for count, true, said in found[:CONFUSIONS])
    more = (f'<p class="note">And {_count(len(found) - CONFUSIONS, "pair")} more.</p>'
            if len(found) > CONFUSIONS else "")
    beside = (f'<div><table><caption>The commonest confusions</caption><thead><tr><th scope="col">is</th>'
              f'<th scope="col">was said</th><th scope="col" class="number">times</th></tr></thead>'
              f"<tbody>{listed}</tbody></table>{more}</div>" if found else "<p>No held-out video was told wrong.</p>")
    return (f'<div class="pair"><div class="across" tabindex="0" role="region" aria-label="Confusion matrix">'
            f'{matrix(counts, names)}</div>{beside if len(names) > 2 or not found else ""}</div>')


def _strips(report: Mapping[str, Any], strips: Sequence[Strip]) -> str:
    if not strips:
        return ""
    figures = []
    for clip, numbers, images, problem in strips:
        begin, end = clip["start"], clip["end"]
        part = "" if begin is None and end is None else (
            f", from {begin or 0:g}{SPACE}s" + ("" if end is None else f" to {end:g}{SPACE}s"))
        right = clip["label"] == clip["said"]
        said = (f"was told right, with {percent(clip['probability'])}" if right else
                f"(probability {percent(clip['probability'])}), was said <strong>{name(clip['said'])}</strong> "
                f"({percent(clip['probability_said'])})")
        size = "frames" if images else "unread"
        seen = (f'<div class="{size}" role="img" aria-label="Frames {", ".join(map(str, numbers))} of '
                f'{text(clip["label"])}">' + "".join(f'<img src="{image}" alt="" title="frame {number}">'
                                                     for number, image in zip(numbers, images)) + "</div>"
                if images else f'<p class="unread">Cannot be shown: {text(shown(problem, 400))}</p>')
        figures.append(f'<figure class="strip"><figcaption>is <strong>{name(clip["label"])}</strong> {said}'
                       f'<br><span class="note">{name(shown(clip["video"], 400))}{part}</span></figcaption>{seen}'
                       "</figure>")
    return ("<p>Those first whose right label had the lowest probability; a label that is wrong in the data shows here "
            f"as well.</p>{''.join(figures)}")


def _calibration(report: Mapping[str, Any]) -> str:
    if not report["held_out"]:
        return ""
    rows = "".join(f'<tr><th scope="row">{row["low"]:.1f} to {row["high"]:.1f}</th><td class="number">{row["count"]}'
                   f'</td><td class="number">{percent(row["confidence"])}</td><td class="number">'
                   f'{percent(row["accuracy"])}</td></tr>' for row in report["reliability"] if row["count"])
    head = "".join(f'<th scope="col" class="number">{each}</th>' for each in (_noun(report), "mean", "right"))
    return (f'<div class="pair">{reliability_chart(report["reliability"])}<div><p>On the dotted line a probability is '
            f'what it says: of all answers given with 0.8, eight in ten are right. Larger dots stand for more '
            f'{_noun(report)}, upright lines for 95 % intervals. The mean distance from it (expected calibration '
            f'error) is {percent(report["calibration_error"])}; before the temperature was set, it was '
            f'{percent(report["calibration_error_before"])}. Logits are divided by {report["temperature"]:.2f}, the '
            f'temperature with the lowest loss on these same {_noun(report)}.</p>'
            f'<details><summary>Numbers</summary><table><thead><tr><th scope="col">probability</th>{head}</tr></thead>'
            f'<tbody>{rows}</tbody></table></details></div></div>')


def _threshold(report: Mapping[str, Any]) -> str:
    threshold = report["threshold"]
    if threshold is None:
        return ""
    away = (f", and turns away {percent(threshold['turned_away'])} of those same {_noun(report)} with their own class "
            "taken out of the labels, which stand in for what is none of the classes"
            if threshold["turned_away"] is not None else
            "; what it turns away cannot be told from two classes alone")
    return (f"<p>Where the likeliest label has a probability under <strong>{threshold['value']:.2f}</strong>, the "
            f"answer is <em>none of these</em>: that keeps {percent(threshold['kept'])} of the held-out "
            f"{_noun(report)}{away}.</p>")


def _elsewhere(found: Mapping[str, Any] | None) -> str:
    if found is None or found["same"] is None:
        return ""
    if "before" in found:
        return (f"<p>{_count(found['clips'], 'video')} of {found['classes']} other classes, told by their names: "
                f"<strong>{percent(found['before'])} right before training, {percent(found['after'])} after</strong>. "
                f"{percent(found['same'])} have the same first label as before.</p>")
    return (f"<p>Ranked by the {found['classes']} labels of Kinetics-400 instead of its own, "
            f"<strong>{percent(found['same'])}</strong> of {_count(found['clips'], 'held-out video')} have the same "
            "first label as before training: the fewer, the more of what the recogniser knew has changed. Whether the "
            "new labels are better or worse, only videos of other classes can tell.</p>")


def _left_out(words: Sequence[str]) -> str:
    if not words:
        return "<p>Nothing: every video was used.</p>"
    items = f"<ul>{''.join(f'<li>{name(shown(each, 400))}</li>' for each in words)}</ul>"
    return items if len(words) <= LEFT_OUT else (
        f"<details><summary>{_count(len(words), 'video')}</summary>{items}</details>")


def _settings(report: Mapping[str, Any]) -> str:
    lines = [*_flat("", report["settings"]), *_flat("used: ", report["schedule"]),
             ("tokens kept in", report["kept"]), ("seconds of training", f"{report['train_seconds']:.1f}"),
             ("seconds in all", f"{report['seconds']:.1f}")]
    rows = "".join(f'<tr><th scope="row">{text(key)}</th><td>{text(value)}</td></tr>' for key, value in lines)
    return f"<details><summary>What was asked for, and what was used</summary><table>{rows}</table></details>"


def _flat(prefix: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield prefix + key, "–" if value is None else value


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _interval(share: float, count: int) -> tuple[float, float]:
    return interval(round(share * count), count)


def _noun(report: Mapping[str, Any]) -> str:
    """``clips`` where files are cut into some."""
    cut = any(clip["start"] is not None or clip["end"] is not None for clip in report["clips"])
    return "clips" if cut else "videos"


def _count(count: int, noun: str) -> str:
    """``1 video``, ``2 videos``, whichever of them ``noun`` is."""
    noun = noun.removesuffix("s")
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
