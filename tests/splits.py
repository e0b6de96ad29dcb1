"""Split files as the authors of UCF-101 and HMDB-51 publish them, with few made-up videos."""
from __future__ import annotations

from pathlib import Path

from toy import ROOT

from claver_mm.language import read_lines


def classes_of(dataset: str) -> list[str]:
    return read_lines(ROOT / f"prompts/classes/{dataset}.txt", "classes")


def write_ucf101(folder: Path, train: int = 2) -> list[str]:
    """Split files with ``train`` training videos and 1 test video of each class; all videos' paths."""
    folder.mkdir(parents=True)
    classes, videos = classes_of("ucf101"), set()
    (folder / "classInd.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(classes, start=1)))
    for split in (1, 2, 3):
        tested = [f"{name}/v_{name}_g0{split}_c01.avi" for name in classes]
        trained = [(f"{name}/v_{name}_g{8 + split:02d}_c{n:02d}.avi", i) for i, name in enumerate(classes, start=1)
                   for n in range(train)]
        (folder / f"testlist{split:02d}.txt").write_text("".join(f"{path}\n" for path in tested))
        (folder / f"trainlist{split:02d}.txt").write_text("".join(f"{path} {i}\n" for path, i in trained))
        videos.update(tested, (path for path, _ in trained))
    return sorted(videos)


def write_hmdb51(folder: Path, train: int = 2) -> list[str]:
    """As ``write_ucf101``, and one video of each class that a split uses for neither."""
    folder.mkdir(parents=True)
    videos = set()
    for split in (1, 2, 3):
        for name in classes_of("hmdb51"):
            marks = {f"A_film!_(part_{split})_{name}_{n}.avi": 1 for n in range(train)}
            marks |= {f"Other_{split}_{name}_0.avi": 2, f"Rest_{split}_{name}_0.avi": 0}
            (folder / f"{name}_test_split{split}.txt").write_text("".join(f"{v} {m} \n" for v, m in marks.items()))
            videos.update(f"{name}/{video}" for video in marks)
    return sorted(videos)
