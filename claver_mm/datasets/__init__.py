"""Data: the registered data set and transforms, what they tell a run, and the generator of motion videos."""
from .shards import UnreadableVideo
from .transforms import ClipColorJitter, ClipGrayscale, DecodeFrames, OpenVideo
from .unreadable import AccMetricWithUnreadable, ReportUnreadableHook
from .video_dataset import ActionVideoDataset, TooManyUnreadable

__all__ = ["AccMetricWithUnreadable", "ActionVideoDataset", "ClipColorJitter", "ClipGrayscale", "DecodeFrames",
           "OpenVideo", "ReportUnreadableHook", "TooManyUnreadable", "UnreadableVideo"]
