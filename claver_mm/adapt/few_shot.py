"""Few-shot protocols on tokens that are kept: no video is encoded twice, however many numbers of shots and seeds."""
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.launch import run_config
from ..engine.record import describe_prompts
from ..protocols.clips import Clip
from ..protocols.plan import Run, Subset
from ..protocols.summary import METRIC
from ..recognizer import Recognizer
from .adapter import Settings, adapt
from .look import Videos, open_all

if TYPE_CHECKING:
    from ..engine.protocols import Protocol

SETTINGS = Settings(choose=False)
"""Nothing is chosen on the test videos: the last epoch counts, and its weights as they are."""


def adapted_runs(protocol: Protocol, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Results of a few-shot protocol's runs, as ``claver_mm.protocols.summary.summed_up`` takes them."""
    config = run_config(protocol.config, protocol.changes, launcher=protocol.launcher, local_rank=protocol.local_rank,
                        show_log=protocol.show_log)
    recognizer = Recognizer(config, protocol.checkpoint)
    recognizer._prompts_of_known_labels = protocol.tower is not None
    folder = Path(protocol.videos or protocol.data_root / "videos")
    subsets = [subset for run in runs for subset in (run.train, *run.tests.values()) if subset is not None]
    looked = _looked_at(folder, subsets)
    results = []
    for run in runs:
        assert run.train is not None  # of few-shot protocols
        (column, test), = run.tests.items()
        videos = _videos(looked, folder, run.train, test)
        adapted = adapt(recognizer, videos, replace(SETTINGS, seed=protocol.seeds[0] if protocol.seeds else 0),
                        cache=protocol.cache, progress=True, say=lambda line, name=run.name: print(f"{name}: {line}"))
        listed = protocol.folder / run.name / column / "list.txt"
        prompts = describe_prompts(adapted.recognizer.head)
        wrong = len(test.videos) - adapted.report["held_out"]  # that cannot be read
        right = sum(row["right"] for row in adapted.report["classes"])
        results.append(dict(
            run=run.name, column=column, metrics={METRIC: right / len(test.videos)},
            weights=str(protocol.tower or protocol.checkpoint), views="1x1",
            source=test.source, list=str(listed), unreadable=wrong,
            list_sha256=hashlib.sha256(listed.read_bytes()).hexdigest(), listed=len(test.videos),
            videos=len(test.videos), classes=len(test.classes), prompts=prompts,
            schedule=adapted.report["schedule"]))
    return results


def _looked_at(folder: Path, subsets: Sequence[Subset]) -> dict[str, tuple[str, float]]:
    """Digest and length of every video that some run needs and that can be read, by its path; each is opened once."""
    found, digests = open_all([str(folder / video.path) for subset in subsets for video in subset.videos],
                              progress=True)
    for finding in found.values():
        if finding.problem:
            print(f"left out, and wrong where it is tested: {finding.words}")
    return {path: (digest, found[path].frames / found[path].fps if found[path].fps else 0.0)
            for path, digest in digests.items()}


def _videos(looked: dict[str, tuple[str, float]], folder: Path, train: Subset, test: Subset) -> Videos:
    named = [(str(folder / video.path), subset.classes[video.label], split)
             for subset, split in ((train, "train"), (test, "val")) for video in subset.videos]
    rows = [(Clip(path, label, split=split), *looked[path]) for path, label, split in named if path in looked]
    if not any(clip.split == "val" for clip, _, _ in rows):
        raise ValueError(f"no video of the test list in {folder} can be read; --videos names the folder")
    clips, digests, seconds = zip(*rows)
    return Videos(clips, digests, seconds, tuple(test.classes))
