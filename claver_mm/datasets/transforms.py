"""Pipeline steps beside those of MMAction2."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace

import cv2
import mmengine.fileio
import numpy as np
from mmaction.datasets.transforms import ArrayDecode, ColorJitter
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from ..towers.preprocessing import Preprocessing
from ..video.decode import DECODERS, MAX_PIXELS, VideoReader, check_decoders, stretch
from ..video.shards import locate_video


class ReaderForHost(VideoReader):
    """Gives frames to the host's ``DecordDecode`` too, which ``MMAction2Inferencer`` puts in the place of any step with
    *Decode* in its name. It puts ``DecordInit`` before the first step as well, whose reader ``OpenVideo`` replaces."""

    def get_batch(self, indices: Sequence[int]) -> SimpleNamespace:
        """As ``decord.VideoReader.get_batch``: frames, uint8 ``(len(indices), h, w, 3)``, when asked by ``asnumpy``."""
        return SimpleNamespace(asnumpy=lambda: np.stack(list(self.frames(indices))))


@TRANSFORMS.register_module()
class OpenVideo(BaseTransform):
    """Opens a video file, or a member of a tar shard (``shard.tar/member.mp4``); frames in memory (``array``) and
    folders of pictures (``frame_dir``) pass.

    Required key: ``filename``. Added keys: ``video_reader``, ``total_frames``, ``avg_fps``. With ``start`` and ``end``,
    seconds or None, the video is the stretch between them: ``total_frames`` and ``start_index`` are its.

    Args:
        decoders: ``pyav`` and ``decord`` in the order in which they are tried. ``pyav`` first is faster on H.264, with
            the same pixels (``docs/benchmarks.md``), and exact where decord jumps amiss. A video that is left to the
            second one is logged; what ``pyav`` opens is never left to ``decord``, which numbers frames otherwise.
        loop_filter: See ``PyAVReader``; False needs ``pyav`` first.
        backend_args: Storage other than the disk, as in ``mmengine.fileio.get``.
        max_pixels: A video of larger frames is unreadable; 16.8 million unless told, which is more than any 4K or 5.3K
            camera has. A file of 100 KB can ask for more memory than there is. ``decord`` knows no such bound.

    Raises:
        FileNotFoundError: The video, its shard or the member does not exist.
        UnreadableVideo: No decoder can open it, it is cut off, its frames are too large, or it holds none.
        ValueError, ImportError: Decoders that cannot be had.
    """

    def __init__(self, decoders: Sequence[str] = tuple(DECODERS), loop_filter: bool = True,
                 backend_args: dict | None = None, max_pixels: int = MAX_PIXELS) -> None:
        if max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, got {max_pixels}")
        self.decoders = check_decoders(decoders, loop_filter)
        self.loop_filter, self.max_pixels = loop_filter, max_pixels
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """See class."""
        if "array" in results:
            return dict(results, total_frames=len(results["array"]))
        if "frame_dir" in results:  # the inferencer's "rawframes", read by RawFrameDecode
            return results
        path = results["filename"]
        source = locate_video(path) if self.backend_args is None else mmengine.fileio.get(path, self.backend_args)
        reader = ReaderForHost(source, path, self.decoders, self.loop_filter,
                               partial(print_log, logger="current", level=logging.WARNING), self.max_pixels)
        first, stop = stretch(results.get("start"), results.get("end"), len(reader), reader.fps, path)
        return dict(results, video_reader=reader, total_frames=stop - first, avg_fps=reader.fps,
                    start_index=results.get("start_index", 0) + first)


@TRANSFORMS.register_module()
class DecodeFrames(BaseTransform):
    """Decodes the sampled frames; picks from frames in memory where there are some (key ``array``).

    Required keys: ``video_reader``, ``frame_inds``. Added keys: ``imgs``, RGB ``(h, w, 3)``, ``img_shape``,
    ``original_shape``.

    Raises:
        UnreadableVideo: No decoder gives the frames that were asked for.
    """

    def transform(self, results: dict) -> dict:
        """See class."""
        if "array" in results:
            return ArrayDecode().transform(results)
        reader, indices = results["video_reader"], np.ravel(results["frame_inds"])
        try:
            imgs = list(reader.frames(indices))
        finally:
            reader.close()
        shape = imgs[0].shape[:2]
        return dict(results, video_reader=None, frame_inds=indices, imgs=imgs, img_shape=shape, original_shape=shape)


@TRANSFORMS.register_module()
class ClipColorJitter(ColorJitter):
    """``ColorJitter`` with the same draws, in a fraction of the time, and the same pixels but for one grey level.

    Brightness, contrast and saturation are linear, so all that stand on one side of the hue become one matrix for a
    frame, ``(3, 4)``. The order of the four is drawn once, when the step is built, as in the host.

    Required and modified key: ``imgs``, RGB frames ``(h, w, 3)``, uint8.
    """

    GREY = np.array([0.2989, 0.587, 0.114])

    def transform(self, results: dict) -> dict:
        """See ``ColorJitter``."""
        brightness, contrast, saturation, hue = (
            np.random.uniform(*getattr(self, name)) for name in ("brightness", "contrast", "saturation", "hue"))
        shifted = (np.arange(256) + int(hue * 255)) % 180
        table = np.stack([shifted, np.arange(256), np.arange(256)], axis=-1)[None].astype(np.uint8)  # (1, 256, 3)
        table = table if hue else None
        results["imgs"] = [self._jitter(img, brightness, contrast, saturation, table) for img in results["imgs"]]
        return results

    def _jitter(self, img: np.ndarray, brightness: float, contrast: float, saturation: float,
                hue_table: np.ndarray | None) -> np.ndarray:
        matrix = np.eye(3, 4)
        for step in self.fn_idx:
            if step == 0:
                matrix *= brightness
            elif step == 1:
                mean = self.GREY @ matrix @ [*cv2.mean(img)[:3], 1]
                matrix *= contrast
                matrix[:, 3] += (1 - contrast) * mean
            elif step == 2:
                matrix = (saturation * np.eye(3) + (1 - saturation) * self.GREY) @ matrix
            elif hue_table is not None:
                hsv = cv2.cvtColor(_apply(matrix, img), cv2.COLOR_RGB2HSV)
                img, matrix = cv2.cvtColor(cv2.LUT(hsv, hue_table), cv2.COLOR_HSV2RGB), np.eye(3, 4)
        return _apply(matrix, img)


def _apply(matrix: np.ndarray, img: np.ndarray) -> np.ndarray:
    """Colours times a matrix ``(3, 4)``, cut to whole numbers from 0 to 255, uint8 ``(h, w, 3)``."""
    if np.array_equal(matrix, np.eye(3, 4)):
        return img
    # in float32: the products that OpenCV takes in uint8 are off by one in 6 % of the values
    colours = cv2.transform(img.astype(np.float32), matrix.astype(np.float32))
    return np.clip(colours, 0, 255, out=colours).astype(np.uint8)


@TRANSFORMS.register_module()
class PrepareFrames(BaseTransform):
    """Resizes and crops frames as the weights of the image tower were trained, by open_clip's own steps.

    In a config ``dict(type="PrepareFrames")`` is enough: the rest follows the tower, where the config is read by this
    project (``claver``, ``tools/``, ``Recognizer``, ``ClaverRunner``).

    Required and modified keys: ``imgs``, RGB frames ``(h, w, 3)``, uint8; ``img_shape``.

    Args:
        size: Side of the frames, or ``(width, height)`` as in steps of the host.
        interpolation, resize_mode: See ``claver_mm.towers.preprocessing.Preprocessing``.

    Raises:
        ValueError: No size, or an unknown setting.
    """

    def __init__(self, size: int | tuple[int, int] | None = None, interpolation: str = "bicubic",
                 resize_mode: str = "shortest") -> None:
        if size is None:
            raise ValueError("PrepareFrames has no size: it follows the image tower in configs that claver_mm.engine."
                             "configs.read_config has read; else give size, interpolation and resize_mode")
        width, height = (size, size) if isinstance(size, int) else size
        self.preprocessing = Preprocessing((height, width), (0., 0., 0.), (1., 1., 1.), interpolation, resize_mode)

    def transform(self, results: dict) -> dict:
        """See class."""
        results["imgs"] = [self.preprocessing.resized(img) for img in results["imgs"]]
        results["img_shape"] = self.preprocessing.size
        return results


@TRANSFORMS.register_module()
class RandomZoom(BaseTransform):
    """A random part of all frames of a clip, at the size and shape of the whole: for pipelines that are else those of
    a test, whatever they crop and resize.

    Required and modified key: ``imgs``.

    Args:
        area: Least and largest share of a frame, in (0, 1].
    """

    def __init__(self, area: tuple[float, float] = (0.6, 1.0)) -> None:
        if not 0 < area[0] <= area[1] <= 1:
            raise ValueError(f"area must be two shares in (0, 1], got {area}")
        self.area = area

    def transform(self, results: dict) -> dict:
        """See class."""
        side = np.random.uniform(*self.area) ** 0.5
        down, across = np.random.uniform(size=2)
        zoomed = []
        for img in results["imgs"]:
            h, w = img.shape[:2]
            inner = max(1, round(side * h)), max(1, round(side * w))
            top, left = round(down * (h - inner[0])), round(across * (w - inner[1]))
            part = img[top:top + inner[0], left:left + inner[1]]
            zoomed.append(cv2.resize(part, (w, h), interpolation=cv2.INTER_LINEAR))
        return dict(results, imgs=zoomed)


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
