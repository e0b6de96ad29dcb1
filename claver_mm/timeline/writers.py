"""Timelines as files of other programs. Pure: imports nothing of ``mm*``.

``.csv`` and ``.json`` (segments; JSON has the scores too), ``.srt`` and ``.vtt`` (subtitles), ``.eaf`` (ELAN), and
``.labelstudio.json`` (pre-annotations for its ``TimelineLabels``).
"""
from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_text
from .segments import Segment

if TYPE_CHECKING:
    from .timeline import Timeline


def save(timeline: Timeline, found: Sequence[Segment], path: str | Path) -> None:
    """Write a timeline's segments in the format that the name of the file ends in.

    Raises:
        ValueError: An ending that is not known.
        OSError: It cannot be written.
    """
    path = Path(path)
    for ending, write in WRITERS.items():
        if path.name.lower().endswith(ending):
            write_text(path, write(timeline, found))
            return
    raise ValueError(f"{path} ends in none of {', '.join(WRITERS)}")


def timestamp(seconds: float, mark: str = ".") -> str:
    """``01:02:03.456``."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def _csv(timeline: Timeline, found: Sequence[Segment]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Segment._fields)
    writer.writerows((segment.label, f"{segment.start:.3f}", f"{segment.end:.3f}", f"{segment.score:.4f}")
                     for segment in found)
    return text.getvalue()


def _json(timeline: Timeline, found: Sequence[Segment]) -> str:
    return json.dumps(dict(
        video=timeline.video, labels=list(timeline.labels), edges=[round(float(edge), 4) for edge in timeline.edges],
        scores=[[round(float(score), 5) for score in row] for row in timeline.scores],
        segments=[segment._asdict() for segment in found]), ensure_ascii=False, indent=1) + "\n"


def _srt(timeline: Timeline, found: Sequence[Segment]) -> str:
    return "".join(f"{number}\n{timestamp(segment.start, ',')} --> {timestamp(segment.end, ',')}\n"
                   f"{_line(segment.label)}\n\n" for number, segment in enumerate(found, start=1))


def _vtt(timeline: Timeline, found: Sequence[Segment]) -> str:
    cues = (f"{timestamp(segment.start)} --> {timestamp(segment.end)}\n"
            + _line(segment.label).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") + "\n\n"
            for segment in found)
    return "WEBVTT\n\n" + "".join(cues)


def _line(label: str) -> str:
    return " ".join(label.split())


def _elan(timeline: Timeline, found: Sequence[Segment]) -> str:
    """A tier for each label, since annotations of one tier may not overlap."""
    document = ET.Element("ANNOTATION_DOCUMENT", AUTHOR="", DATE="1970-01-01T00:00:00+00:00", FORMAT="3.0",
                          VERSION="3.0")
    header = ET.SubElement(document, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    ET.SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=timeline.video, MIME_TYPE="video/mp4")
    order = ET.SubElement(document, "TIME_ORDER")
    for number, segment in enumerate(found):
        for name, seconds in (("a", segment.start), ("b", segment.end)):
            ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"{name}{number}", TIME_VALUE=str(round(1000 * seconds)))
    for label in timeline.labels:
        tier = ET.SubElement(document, "TIER", LINGUISTIC_TYPE_REF="label", TIER_ID=label)
        for number, segment in enumerate(found):
            if segment.label == label:
                outer = ET.SubElement(tier, "ANNOTATION")
                inner = ET.SubElement(outer, "ALIGNABLE_ANNOTATION", ANNOTATION_ID=f"s{number}",
                                      TIME_SLOT_REF1=f"a{number}", TIME_SLOT_REF2=f"b{number}")
                ET.SubElement(inner, "ANNOTATION_VALUE").text = f"{segment.score:.3f}"
    ET.SubElement(document, "LINGUISTIC_TYPE", LINGUISTIC_TYPE_ID="label", TIME_ALIGNABLE="true",
                  GRAPHIC_REFERENCES="false")
    return ET.tostring(document, encoding="unicode", xml_declaration=True) + "\n"


def _label_studio(timeline: Timeline, found: Sequence[Segment]) -> str:
    """A task with predictions for ``<TimelineLabels name="label" toName="video">``; ranges are frames from 1."""
    results = [dict(id=f"s{number}", type="timelinelabels", from_name="label", to_name="video", score=segment.score,
                    value=dict(timelinelabels=[segment.label],
                               ranges=[dict(start=round(segment.start * timeline.fps) + 1,
                                            end=max(1, round(segment.end * timeline.fps)))]))
               for number, segment in enumerate(found)]
    return json.dumps([dict(data=dict(video=timeline.video), predictions=[dict(result=results)])], ensure_ascii=False,
                      indent=1) + "\n"


WRITERS: dict[str, Callable[[Timeline, Sequence[Segment]], str]] = {
    ".csv": _csv, ".labelstudio.json": _label_studio, ".json": _json, ".srt": _srt, ".vtt": _vtt, ".eaf": _elan}
"""Ending of a file's name -> what it holds; longer endings first."""
