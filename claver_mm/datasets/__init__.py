"""Data: the registered data set and transforms, and the generator of motion videos."""
from .transforms import ClipGrayscale, DecodeFrames, OpenVideo, UnreadableVideo
from .video_dataset import ActionVideoDataset

__all__ = ["ActionVideoDataset", "ClipGrayscale", "DecodeFrames", "OpenVideo", "UnreadableVideo"]
