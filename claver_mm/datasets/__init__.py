"""Data: the registered data set and transforms, and what they tell a run.

What needs no host (decoding, shards, motion videos) lives in ``claver_mm.video``. ``claver_mm.datasets.decode``,
``.shards``, ``.motion`` and ``.motion_files`` are names of the very modules there, for scripts that import them here.
"""
import sys

from ..video import decode, motion, motion_files, shards
from ..video.shards import UnreadableVideo

for _module in (decode, motion, motion_files, shards):
    sys.modules[f"{__name__}.{_module.__name__.rpartition('.')[2]}"] = _module

from .transforms import ClipColorJitter, ClipGrayscale, DecodeFrames, OpenVideo  # noqa: E402
from .unreadable import AccMetricWithUnreadable, ReportUnreadableHook  # noqa: E402
from .video_dataset import ActionVideoDataset, TooManyUnreadable  # noqa: E402

__all__ = ["AccMetricWithUnreadable", "ActionVideoDataset", "ClipColorJitter", "ClipGrayscale", "DecodeFrames",
           "OpenVideo", "ReportUnreadableHook", "TooManyUnreadable", "UnreadableVideo"]
