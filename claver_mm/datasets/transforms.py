"""Pipeline steps beside those of MMAction2."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from mmaction.datasets.transforms import ArrayDecode, DecordDecode, DecordInit
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform


class UnreadableVideo(RuntimeError):
    """A video that cannot be decoded; the message names its path."""


@TRANSFORMS.register_module()
class OpenVideo(DecordInit):
    """``DecordInit`` whose errors name the video, and which lets frames in memory pass (key ``array``).

    Raises:
        FileNotFoundError: The video does not exist.
        UnreadableVideo: decord cannot open it, or it holds no frame.
    """

    def transform(self, results: dict) -> dict:
        """See ``DecordInit``."""
        if "array" in results:
            return dict(results, total_frames=len(results["array"]))
        path = results["filename"]
        if self.io_backend == "disk" and not Path(path).is_file():
            raise FileNotFoundError(f"no video at {path}; check data_prefix and the annotation list")
        try:
            results = super().transform(results)
        except Exception as error:
            raise UnreadableVideo(f"{path} cannot be opened as a video: {error}") from error
        if results["total_frames"] < 1:
            raise UnreadableVideo(f"{path} holds no frame")
        return results


@TRANSFORMS.register_module()
class DecodeFrames(DecordDecode):
    """``DecordDecode`` whose errors name the video; picks from frames in memory where there are some (key ``array``).

    Raises:
        UnreadableVideo: decord cannot decode the frames that were asked for.
    """

    def transform(self, results: dict) -> dict:
        """See ``DecordDecode``."""
        if "array" in results:
            return ArrayDecode().transform(results)
        try:
            return super().transform(results)
        except Exception as error:
            raise UnreadableVideo(f"{results['filename']}: frames {np.asarray(results['frame_inds']).tolist()} of "
                                  f"{results['total_frames']} cannot be decoded: {error}") from error


@TRANSFORMS.register_module()
class ClipGrayscale(BaseTransform):
    """Turns all frames of a clip grey with probability ``prob`` (ITU-R 601 weights).

    Required and modified key: ``imgs``, RGB frames ``(h, w, 3)``.
    """

    def __init__(self, prob: float = 0.2) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must lie in [0, 1], got {prob}")
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """See class."""
        if np.random.rand() < self.prob:
            weights = np.array([0.299, 0.587, 0.114])
            results["imgs"] = [np.repeat((img @ weights).round().astype(img.dtype)[..., None], 3, axis=-1)
                               for img in results["imgs"]]
        return results
