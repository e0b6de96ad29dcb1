"""Video files and labels from an annotation list, checked line by line."""
from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmengine.logging import print_log
from torch import Tensor

from ..language.prompts import read_lines
from ..messages import quoted, shown
from ..protocols.annotations import read_annotations
from ..protocols.clips import class_names, is_named, read_clips
from ..randomness import drawing_from, mixed_seed
from ..video.shards import UnreadableVideo, member_index, split_path, video_exists


class TooManyUnreadable(RuntimeError):
    """More samples cannot be read than a run may replace."""


def leaf_datasets(dataset) -> Iterator:
    """A data set itself, or those that a wrapper (``RepeatDataset``, ``ConcatDataset``) is made of."""
    inner = getattr(dataset, "datasets", None) or [part for part in [getattr(dataset, "dataset", None)] if part]
    if not inner:
        yield dataset
    for part in inner:
        yield from leaf_datasets(part)


@DATASETS.register_module()
class ActionVideoDataset(VideoDataset):
    """``VideoDataset`` that names what is wrong with its annotation list before a run starts.

    A line is ``path/of/video.mp4 label``; the path may hold spaces, and go on inside a tar shard:
    ``shard.tar/member.mp4 label``. In place of a list stands a folder with a folder of videos for each class, or a
    ``.csv`` file with the columns ``video`` and ``label`` (names), and if wanted ``start`` and ``end`` in seconds and
    ``split``, of which ``test_mode`` takes the part that is held out; see ``claver_mm.protocols.clips``.

    Once it knows the epoch (``SeedEpochHook`` tells it), what a sample draws depends on run seed, epoch and sample
    alone, whichever worker or rank it falls to.

    Args:
        classes: Class names in label order, as a list or a file with one a line; labels are checked against it and it
            becomes ``metainfo['classes']``.
        times: How often each video stands in an epoch, for data sets of a few clips a class. Every time it draws anew,
            which the host's ``RepeatDataset`` does not know how to do.
        check_files: Look for every video before the run, which takes a while on network disks. Without it a missing
            video is named when its turn comes.
        max_unreadable: In training a sample whose video is missing or cannot be read, for whatever reason the system
            gives, is logged, and another takes its place, drawn with the sample's own numbers. So many different
            samples may fail in a run, as a count or as a share of all, before it stops. A share above 0 is worth three
            videos at least, or a tenth of a set of fewer than 30, and never none. Workers count together;
            ``ReportUnreadableHook`` adds up the ranks.
        score_unreadable: In testing such a video stops the run, unless this is set: then it is logged, and scored as
            wrong by ``AccMetricWithUnreadable``.

    Raises:
        FileNotFoundError: Videos that do not exist (the first few are named, all are counted), or no class file.
        ValueError: A line without a label, a label that is no number or no class, an empty list, or a setting out of
            its range.
        TooManyUnreadable: While samples are loaded; some are named.
    """

    def __init__(self, ann_file: str, pipeline: list, classes: str | Sequence[str] | None = None,
                 times: int = 1, check_files: bool = False, max_unreadable: int | float = 0.01,
                 score_unreadable: bool = False, metainfo: dict | None = None, **kwargs) -> None:
        self.classes = None if classes is None else read_lines(classes, "classes")
        if times < 1:
            raise ValueError(f"times must be at least 1, got {times}")
        self.times = times
        self.check_files = check_files
        if max_unreadable < 0 or isinstance(max_unreadable, float) and max_unreadable > 1:
            raise ValueError(f"max_unreadable must be a count, or a share from 0.0 to 1.0; got {max_unreadable}")
        if score_unreadable and kwargs.get("multi_class"):
            raise ValueError("score_unreadable=True needs one label a video: among several none is wrong; leave it out")
        self.max_unreadable = max_unreadable
        self.score_unreadable = score_unreadable
        self.unreadable: Tensor | None = None
        if self.classes is not None:
            metainfo = dict(metainfo or {}, classes=self.classes)
        self._run = torch.full((2,), -1, dtype=torch.int64).share_memory_()  # seed and epoch, seen by all workers
        super().__init__(ann_file, pipeline, metainfo=metainfo, **kwargs)

    def seed_samples(self, seed: int, epoch: int) -> None:
        """To be called in the main process before the loader starts an epoch."""
        self._run.copy_(torch.tensor([seed, epoch]))

    def full_init(self) -> None:
        """See ``BaseDataset.full_init``; adds ``unreadable``, bool ``(len(self),)``, which all workers share."""
        super().full_init()
        if self.unreadable is None:
            self.unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def prepare_data(self, idx: int) -> dict:
        """See ``BaseDataset.prepare_data``."""
        seed, epoch = self._run.tolist()
        if epoch < 0:
            return self._prepare(idx)
        with drawing_from(mixed_seed(seed, epoch, idx)):
            return self._prepare(idx)

    def _prepare(self, idx: int) -> dict:
        """The sample, or another one in its place."""
        taken = idx
        while True:
            try:
                data = super().prepare_data(taken)
                break
            except (UnreadableVideo, OSError) as error:
                if self.test_mode and not self.score_unreadable:
                    raise
                self.unreadable[taken] = True
                self.check_unreadable()
                step = 1 if self.test_mode else np.random.randint(1, len(self))
                taken = (taken + step) % len(self)
                print_log(f"{error}; " + ("it counts as wrong" if self.test_mode else
                                          f"{self.get_data_info(taken)['filename']} takes its place"),
                          logger="current", level=logging.WARNING)
        if (sample := data.get("data_samples")) is not None:
            sample.set_metainfo(dict(video=self.get_data_info(idx)["filename"]))  # what --dump tells them by
        if self.test_mode and taken != idx:
            sample.set_gt_label(-1)  # no answer to the other video may be right
            sample.set_metainfo(dict(unreadable=self.get_data_info(idx)["label"]))
        return data

    def unreadable_videos(self) -> list[str]:
        """Paths of the videos that could not be read so far, each once, in the order of the list."""
        failed = self.unreadable.nonzero().flatten().tolist()
        return list(dict.fromkeys(self.get_data_info(idx)["filename"] for idx in failed))

    def check_unreadable(self) -> None:
        """Raises ``TooManyUnreadable`` where more samples failed than may, or all; in testing, where all did."""
        failed, count = int(self.unreadable.sum()), len(self)
        limit = count - 1 if self.test_mode else min(self._budget(), count - 1)
        if failed > limit:
            raise TooManyUnreadable(
                f"{failed} of the {count} samples of {self.ann_file} cannot be read, {limit} may (max_unreadable="
                f"{self.max_unreadable}), among them {', '.join(self.unreadable_videos()[:5])}; clean the list with "
                "claver check-data, or raise max_unreadable")

    def _budget(self) -> int:
        if not isinstance(self.max_unreadable, float):
            return self.max_unreadable
        videos = len(self) // self.times
        floor = self.times * max(1, min(3, videos // 10)) if self.max_unreadable else 0
        return max(int(self.max_unreadable * len(self)), floor)

    def load_data_list(self) -> list[dict]:
        """Videos with their labels, in the order of the list."""
        if is_named(self.ann_file):
            return self._load_named()
        root = Path(self.data_prefix.get("video") or "")
        num_classes = self.num_classes if self.classes is None else len(self.classes)
        data_list = [dict(filename=str(root / line.path), label=line.labels if self.multi_class else line.labels[0])
                     for line in read_annotations(self.ann_file, self.delimiter, self.multi_class, num_classes)]
        places = [split_path(entry["filename"]) for entry in data_list]
        for shard in dict.fromkeys(place[0] for place in places if place):
            try:
                member_index(shard)  # once, before there are workers
            except (UnreadableVideo, OSError) as error:  # its videos are counted when their turn comes
                print_log(f"{error}; none of its videos can be read", logger="current", level=logging.WARNING)
        return self._checked(data_list)

    def _load_named(self) -> list[dict]:
        """Clips of a folder of folders, or of a CSV file: labels are names."""
        if self.multi_class:
            raise ValueError(f"{self.ann_file} gives each clip one label; several, as multi_class=True reads them, "
                             "stand in a list of numbers")
        clips = read_clips(self.ann_file)
        classes = self.classes or class_names(clips)
        numbers = {name: number for number, name in enumerate(classes)}
        unknown = [clip for clip in clips if clip.label not in numbers]
        if unknown:
            raise ValueError(f"{self.ann_file}: {quoted(unknown[0].label)}, the label of {shown(unknown[0].path)}, is "
                             f"none of the {len(classes)} classes")
        wanted = "val" if self.test_mode else "train"
        clips = [clip for clip in clips if clip.split in (None, wanted)]
        if not clips:
            raise ValueError(f"{self.ann_file} has no clips of the split {wanted}; " + (
                "train with --no-validate, or say what is held out" if self.test_mode else "say what is learnt from"))
        return self._checked([dict(filename=clip.path, label=numbers[clip.label], start=clip.start, end=clip.end)
                              for clip in clips])

    def _checked(self, data_list: list[dict]) -> list[dict]:
        """As often as a video stands in an epoch, once every video was found."""
        if self.check_files:
            missing = [entry["filename"] for entry in data_list if not video_exists(entry["filename"])]
            if missing:
                raise FileNotFoundError(f"{len(missing)} of {len(data_list)} videos of {self.ann_file} do not exist, "
                                        f"among them {', '.join(missing[:5])}; check data_prefix, or take them off "
                                        "the list")
        return data_list * self.times
