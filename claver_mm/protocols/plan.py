"""What each protocol trains and tests on, from a folder with a data set.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..messages import quoted
from .few_shot import SHOTS, draw_few_shot, read_few_shot
from .lists import Video, read_hmdb51, read_kinetics, read_list, read_ucf101, restrict
from .zero_shot import base_and_novel, kinetics600_zero_shot

PROTOCOLS = ("zero-shot-ucf101", "zero-shot-hmdb51", "zero-shot-kinetics600", "few-shot-ucf101", "few-shot-hmdb51",
             "base-to-novel-ucf101", "base-to-novel-hmdb51")
SPLIT_FOLDERS = {"ucf101": ("annotations", "ucfTrainTestlist"), "hmdb51": ("annotations", "testTrainMulti_7030_splits")}
"""Where the official split files lie in the data folder: as MMAction2 unpacks them, or as the archives are called."""


@dataclass(frozen=True)
class Subset:
    """Videos of a list, the classes that their labels count, and the file or folder that they were read from."""
    videos: list[Video]
    classes: list[str]
    source: str


@dataclass(frozen=True)
class Run:
    """One part of a protocol: perhaps a training, then tests, each for a column of the result.

    A column that several runs share is averaged over them.
    """
    name: str
    tests: dict[str, Subset]
    train: Subset | None = None


def dataset_of(protocol: str) -> str:
    """``zero-shot-ucf101`` -> ``ucf101``."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {quoted(protocol)}; one of {', '.join(PROTOCOLS)}")
    return protocol.rpartition("-")[2]


def zero_shot(dataset: str, root: Path, classes: Sequence[str]) -> list[Run]:
    """Tests on the three splits of UCF-101 or HMDB-51."""
    return [Run(f"split{split}", {"top-1": _split(dataset, root, split, "test", classes)}) for split in (1, 2, 3)]


def zero_shot_kinetics600(path: Path, classes: Sequence[str]) -> list[Run]:
    """Tests on the three draws of 160 classes; ``path`` is a list or a CSV file of Kinetics-600.

    Public lists of these draws (ViFi-CLIP) have some 90 videos a class, as the test set of Kinetics-600 has; its
    validation set has 50.
    """
    videos = read_kinetics(path, classes) if path.suffix == ".csv" else read_list(path, classes)
    return [Run(f"draw{number}", {"top-1": Subset(restrict(videos, classes, draw), list(draw), str(path))})
            for number, draw in enumerate(kinetics600_zero_shot().draws, start=1)]


def few_shot(dataset: str, root: Path, classes: Sequence[str], shots: Sequence[int] = SHOTS,
             seeds: Sequence[int] = (0,), published: Sequence[Path] = ()) -> list[Run]:
    """Trains on K videos of each class of split 1, for each K and seed, and tests on split 1.

    ``published`` files, one for each K, take the place of the draws.
    """
    train, test = (_split(dataset, root, 1, subset, classes) for subset in ("train", "test"))
    if published:
        if len(published) != len(shots):
            raise ValueError(f"{len(published)} few-shot files for {len(shots)} numbers of shots; give one for each")
        return [Run(f"{count}shot", {f"K={count}": test},
                    Subset(read_few_shot(path, train.videos, classes, count), list(classes), str(path)))
                for count, path in zip(shots, published)]
    return [Run(f"{count}shot_seed{seed}", {f"K={count}": test},
                Subset(draw_few_shot(train.videos, classes, count, seed), list(classes), train.source))
            for count in shots for seed in seeds]


def base_to_novel(dataset: str, root: Path, classes: Sequence[str], shots: int = 16, seeds: Sequence[int] = (0,),
                  base: Sequence[str] | None = None) -> list[Run]:
    """Trains on K videos of each base class of split 1, and tests on base and novel classes of split 1, each among
    themselves; see ``base_and_novel``."""
    old, new = base_and_novel(classes, base)
    train, test = (_split(dataset, root, 1, subset, classes) for subset in ("train", "test"))

    def part(whole: Subset, chosen: list[str]) -> Subset:
        return Subset(restrict(whole.videos, classes, chosen), chosen, whole.source)

    tests = {"base": part(test, old), "novel": part(test, new)}
    return [Run(f"base_{shots}shot_seed{seed}", tests,
                Subset(draw_few_shot(part(train, old).videos, old, shots, seed), old, train.source)) for seed in seeds]


def _split(dataset: str, root: Path, split: int, subset: str, classes: Sequence[str]) -> Subset:
    """From the official split files below ``root``, else from MMAction2's list."""
    mark, read = {"ucf101": ("classInd.txt", read_ucf101), "hmdb51": (f"*_test_split{split}.txt", read_hmdb51)}[dataset]
    folders = [root / name for name in SPLIT_FOLDERS[dataset]]
    for folder in folders:
        if any(folder.glob(mark)):
            return Subset(read(folder, split, subset, classes), list(classes), str(folder))
    path = root / f"{dataset}_{'train' if subset == 'train' else 'val'}_split_{split}_videos.txt"
    if path.is_file():
        return Subset(read_list(path, classes), list(classes), str(path))
    raise FileNotFoundError(f"no split files in {' or '.join(map(str, folders))} (the official ones, {mark}), and no "
                            f"list of MMAction2 at {path}")
