"""Video files and labels from an annotation list, checked line by line."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS

from ..language.prompts import read_lines
from ..randomness import drawing_from, mixed_seed


@DATASETS.register_module()
class ActionVideoDataset(VideoDataset):
    """``VideoDataset`` that names what is wrong with its annotation list before a run starts.

    A line is ``path/of/video.mp4 label``; the path may hold spaces.

    Once it knows the epoch (``SeedEpochHook`` tells it), what a sample draws depends on run seed, epoch and sample
    alone, whichever worker or rank it falls to.

    Args:
        classes: Class names in label order, as a list or a file with one a line; labels are checked against it and it
            becomes ``metainfo['classes']``.
        times: How often each video stands in an epoch, for data sets of a few clips a class. Every time it draws anew,
            which the host's ``RepeatDataset`` does not know how to do.
        check_files: Look for every video before the run, which takes a while on network disks. Without it a missing
            video is named when its turn comes.

    Raises:
        FileNotFoundError: Videos that do not exist (the first few are named, all are counted), or no class file.
        ValueError: A line without a label, a label that is no number or no class, or an empty list.
    """

    def __init__(self, ann_file: str, pipeline: list, classes: str | Sequence[str] | None = None,
                 times: int = 1, check_files: bool = False, metainfo: dict | None = None, **kwargs) -> None:
        self.classes = None if classes is None else read_lines(classes, "classes")
        if times < 1:
            raise ValueError(f"times must be at least 1, got {times}")
        self.times = times
        self.check_files = check_files
        if self.classes is not None:
            metainfo = dict(metainfo or {}, classes=self.classes)
        self._run = torch.full((2,), -1, dtype=torch.int64).share_memory_()  # seed and epoch, seen by all workers
        super().__init__(ann_file, pipeline, metainfo=metainfo, **kwargs)

    def set_epoch(self, seed: int, epoch: int) -> None:
        """To be called in the main process before the loader starts an epoch."""
        self._run.copy_(torch.tensor([seed, epoch]))

    def prepare_data(self, idx: int) -> dict:
        """See ``BaseDataset.prepare_data``."""
        seed, epoch = self._run.tolist()
        if epoch < 0:
            return super().prepare_data(idx)
        with drawing_from(mixed_seed(seed, epoch, idx)):
            return super().prepare_data(idx)

    def load_data_list(self) -> list[dict]:
        """Videos with their labels, in the order of the list."""
        path = Path(self.ann_file)
        if not path.is_file():
            raise FileNotFoundError(f"no annotation list at {path}; set ann_file of the data set")
        root = Path(self.data_prefix.get("video") or "")
        data_list = [self._entry(line, f"{path}, line {number}", root)
                     for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
                     if line.strip()]
        if not data_list:
            raise ValueError(f"annotation list {path} is empty")
        if self.check_files:
            missing = [entry["filename"] for entry in data_list if not Path(entry["filename"]).is_file()]
            if missing:
                raise FileNotFoundError(f"{len(missing)} of {len(data_list)} videos of {path} do not exist, among them "
                                        f"{', '.join(missing[:5])}; check data_prefix, or take them off the list")
        return data_list * self.times

    def _entry(self, line: str, where: str, root: Path) -> dict:
        if self.multi_class:
            name, *labels = line.strip().split(self.delimiter)
        else:
            name, _, label = line.strip().rpartition(self.delimiter)
            labels = [label]
        if not name or not labels:
            raise ValueError(f"{where}: {line.strip()!r} has no label; write 'path/of/video.mp4{self.delimiter}label'")
        numbers = [self._label(label, where) for label in labels]
        return dict(filename=str(root / name), label=numbers if self.multi_class else numbers[0])

    def _label(self, text: str, where: str) -> int:
        try:
            label = int(text)
        except ValueError:
            raise ValueError(f"{where}: label {text!r} is no number; write "
                             f"'path/of/video.mp4{self.delimiter}label'") from None
        count = len(self.classes) if self.classes is not None else self.num_classes
        if label < 0 or count is not None and label >= count:
            raise ValueError(f"{where}: label {label} is none of the {count} classes, which count from 0")
        return label
