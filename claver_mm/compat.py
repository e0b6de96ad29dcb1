"""Workarounds for what today's PyTorch and NumPy break in MMEngine and MMAction2.

Importing this module applies them all, and has to come before anything else of ``mmaction``. Each remedy probes the
defect itself, not a version, does nothing where upstream is mended, and returns whether it was applied; its docstring
names the source of the defect and what makes the remedy superfluous. Extension points are used wherever there is one: a
stub for an absent module, ``force=True`` in a registry. How checkpoints are read is in ``checkpoints.py``, what the
host says in vain in ``noise.py``, what needs a runner of its own (gloo, strict weights) in ``engine/runner.py``, what
needs a recogniser in ``models/recognizer2d.py``. Line numbers are those of mmengine 0.10.7 and mmaction2 1.2.0.
"""
from __future__ import annotations

import functools
import inspect
import os.path as osp
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import mmaction
import mmaction.datasets  # noqa: F401  a stock entry has to stand in its registry before it is replaced
import numpy as np
import torch
from mmaction.datasets.transforms import ColorJitter
from mmaction.engine.hooks import VisualizationHook
from mmaction.registry import HOOKS, TRANSFORMS, VISUALIZERS
from mmaction.structures import ActionDataSample
from mmaction.utils import dependency
from mmaction.visualization import ActionVisualizer
from mmengine.device import is_cuda_available, is_mlu_available, is_musa_available, is_npu_available
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner.amp import autocast
from mmengine.structures import LabelData
from torch import Tensor

from .checkpoints import allow_mmengine_checkpoints, check_before_loading
from .noise import quiet_host_warnings

VINDLU_IMPORTS = ("apply_chunking_to_forward", "find_pruneable_heads_and_indices", "prune_linear_layer")
"""What VindLU imports from ``transformers.modeling_utils``."""


def do_without_vindlu() -> bool:
    """Let ``import mmaction.models`` succeed beside a transformers that VindLU cannot import.

    Condition: MMAction2 means to import VindLU, whose imports transformers 5 no longer offers. Source:
    ``multimodal/vindlu/modeling_bert.py:44``. VindLU then becomes the placeholder that it is without transformers; its
    own switch is turned off. Superfluous when VindLU imports these names from where they went.
    """
    if not dependency.WITH_MULTIMODAL:
        return False
    there = find_spec("transformers.modeling_utils")
    source = Path(there.origin).read_text(encoding="utf-8") if there and there.origin else ""
    if all(name in source for name in VINDLU_IMPORTS):  # else importing it, for seconds, would tell no more
        try:
            from transformers.modeling_utils import (  # noqa: F401
                apply_chunking_to_forward,
                find_pruneable_heads_and_indices,
                prune_linear_layer,
            )
            return False
        except ImportError:
            pass
    dependency.WITH_MULTIMODAL = False
    return True


def stub_drn() -> bool:
    """Let ``import mmaction.models`` succeed without the localiser DRN, which the wheel lacks.

    Condition: the folder ``localizers/drn`` is absent. Source: ``localizers/__init__.py:4``, mmaction2 issue
    2714. Superfluous with a wheel that contains the folder.
    """
    if Path(mmaction.__path__[0], "models", "localizers", "drn").is_dir():
        return False
    name = "mmaction.models.localizers.drn"
    package, module = ModuleType(name), ModuleType(f"{name}.drn")
    package.__path__ = []
    module.DRN = type("DRN", (), {"__doc__": "Stands in for a localiser that is not in the mmaction2 wheel."})
    sys.modules.setdefault(package.__name__, package)
    sys.modules.setdefault(module.__name__, module)
    return True


class Int16HueColorJitter(ColorJitter):
    """The stock colour jitter, with the hue shifted in int16."""

    @staticmethod
    def adjust_hue(img: np.ndarray, factor: float) -> np.ndarray:
        """Shift the hue of an RGB frame by ``int(255 * factor)`` of OpenCV's 180 steps, as upstream does."""
        hsv = cv2.cvtColor(np.clip(img, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV)
        hue = (hsv[..., 0].astype(np.int16) + int(factor * 255)) % 180
        hsv[..., 0] = hue.astype(np.uint8)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)


def mend_color_jitter() -> bool:
    """Replace the registered ``ColorJitter``, which adds a negative shift to a uint8 hue.

    Condition: NumPy refuses that sum (``OverflowError`` since NumPy 2). Source: ``processing.py:979``.
    Superfluous when the stock transform widens the hue before the sum.
    """
    try:
        ColorJitter.adjust_hue(np.zeros((1, 1, 3), np.float32), -0.1)
    except OverflowError:
        TRANSFORMS.register_module(name="ColorJitter", module=Int16HueColorJitter, force=True)
        return True
    return False


class AutocastOptimWrapper(OptimWrapper):
    """Mixed precision without an accelerator: autocast to bfloat16, whose range needs no loss scaling.

    Takes the arguments of the stock ``AmpOptimWrapper``.

    Raises:
        ValueError: An argument that needs an accelerator.
    """

    def __init__(self, loss_scale: str = "dynamic", dtype: str | torch.dtype | None = None,
                 use_fsdp: bool = False, **kwargs) -> None:
        for name, value, honoured in (("dtype", dtype, (None, torch.bfloat16, "bfloat16")),
                                      ("loss_scale", loss_scale, ("dynamic",)), ("use_fsdp", use_fsdp, (False,))):
            if value not in honoured:
                raise ValueError(f"optim_wrapper.{name}={value!r} needs an accelerator, and there is none; leave it "
                                 f"out or set {honoured[-1]!r}: a CPU's mixed precision is bfloat16, without scaling")
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        """The stock context for gradient accumulation, with autocast inside."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


def offer_amp_without_accelerator() -> bool:
    """Register a wrapper for ``--amp`` that works on the CPU, under the name that ``for_training`` writes.

    Condition: there is no accelerator and the stock wrapper asserts one. Source:
    ``amp_optimizer_wrapper.py:76``. Superfluous when the stock wrapper autocasts on the CPU.
    """
    if is_cuda_available() or is_npu_available() or is_mlu_available() or is_musa_available():
        return False
    try:
        AmpOptimWrapper(optimizer=torch.optim.SGD([torch.zeros(1)], lr=0.1))
    except AssertionError:
        OPTIM_WRAPPERS.register_module(name="AmpOptimWrapper", module=AutocastOptimWrapper, force=True)
        return True
    return False


def mend_bfloat16_heads() -> bool:
    """Let the stock heads take bfloat16 scores, which they hand to NumPy to count accuracies.

    Condition: NumPy has no bfloat16 and the loss of ``BaseHead`` goes through NumPy. Source: ``heads/base.py:129``.
    Heads have no extension point there, so the method itself is wrapped. Superfluous when it casts or stays in torch.
    """
    from mmaction.models.heads import BaseHead
    stock = BaseHead.loss_by_feat
    if "numpy" not in stock.__code__.co_names:
        return False

    @functools.wraps(stock)
    def loss_by_feat(self: BaseHead, cls_scores: Tensor, data_samples: list) -> dict:
        return stock(self, cls_scores.float() if cls_scores.dtype == torch.bfloat16 else cls_scores, data_samples)

    BaseHead.loss_by_feat = loss_by_feat
    return True


def frames_of(inputs: Tensor) -> np.ndarray:
    """All frames that the model saw of one sample, views one after another.

    Args:
        inputs: RGB frames, uint8, (views, 3, T, H, W) or (views * T, 3, H, W).

    Returns:
        uint8, (views * T, H, W, 3).

    Raises:
        ValueError: Inputs of another kind.
    """
    if not (isinstance(inputs, Tensor) and inputs.dtype == torch.uint8 and inputs.ndim in (4, 5)
            and inputs.shape[1] == 3):
        got = f"{inputs.dtype} {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs)
        raise ValueError("VisualizationHook draws uint8 frames, (views, 3, T, H, W) or (frames, 3, H, W), "
                         f"not {got}; leave it disabled for this pipeline")
    if inputs.ndim == 5:
        inputs = inputs.transpose(1, 2).flatten(0, 1)
    return inputs.permute(0, 2, 3, 1).cpu().numpy()


class FrameVisualizationHook(VisualizationHook):
    """Writes the frames of every ``interval``-th sample with their labels, as images.

    Takes the arguments of the stock hook.

    Raises:
        ValueError: ``show`` or an ``out_type`` other than ``'img'``: there the stock visualiser takes frames for BGR
            and swaps red and blue (``action_visualizer.py:272``, ``video_backend.py:62``).
    """

    def __init__(self, enable: bool = False, interval: int = 5000, show: bool = False,
                 out_dir: str | None = None, **kwargs) -> None:
        out_type = kwargs.get("out_type", "img")
        if show or out_type != "img":
            raise ValueError(f"VisualizationHook(show={show}, out_type={out_type!r}) swaps red and blue; let "
                             "it write images: show=False, out_type='img' and an out_dir (--show-dir)")
        super().__init__(enable, interval, show, out_dir, **kwargs)
        del self.draw_args["show"]
        self._seen = 0

    def _draw_samples(self, batch_idx: int, data_batch: dict, data_samples: Sequence[ActionDataSample],
                      step: int = 0) -> None:
        if not self.enable:
            return
        # Counted, not batch_idx * len(data_samples) as upstream: the last batch is often smaller.
        start = 0 if batch_idx == 0 else self._seen
        self._seen = start + len(data_samples)
        samples = zip(data_batch["inputs"], data_samples, strict=True)
        for sample_id, (clip, sample) in enumerate(samples, start):
            if sample_id % self.interval:
                continue
            name = osp.basename(sample.get("filename", sample.get("frame_dir", str(sample_id))))
            out_path = None if self.out_dir is None else osp.join(self.out_dir, f"{name}_{step}")
            self._visualizer.add_datasample(name, frames_of(clip), sample, step=step, out_path=out_path,
                                            **self.draw_args)


def mend_visualization_hook() -> bool:
    """Replace the registered ``VisualizationHook``, which raises on every sample of a recogniser.

    Condition: the stock hook fails to hand one sample, (views, 3, T, H, W), to a visualiser. Source:
    ``visualization_hook.py:81`` (axes) and ``:52`` (an argument ``show`` that the visualiser lacks).
    Superfluous when both are mended and ``video_backend.py:62`` writes RGB.
    """
    hook = object.__new__(VisualizationHook)
    vars(hook).update(enable=True, interval=1, out_dir=None, draw_args={},
                      _visualizer=SimpleNamespace(add_datasample=lambda *args, **kwargs: None))
    try:
        inputs = torch.zeros(1, 3, 2, 4, 4, dtype=torch.uint8)
        hook._draw_samples(0, {"inputs": [inputs]}, [ActionDataSample()])
    except RuntimeError:
        HOOKS.register_module(name="VisualizationHook", module=FrameVisualizationHook, force=True)
        return True
    return False


def under_old_names(sample: ActionDataSample) -> ActionDataSample:
    """The labels and scores of a sample under the field names that the stock visualiser reads."""
    old = ActionDataSample()
    if "gt_label" in sample:
        # A floating label is a multi-label target: one entry per class.
        multi = sample.gt_label.is_floating_point()
        old.gt_label = old.gt_labels = sample.gt_label.nonzero().flatten() if multi else sample.gt_label
    if "pred_label" in sample:
        old.pred_labels = LabelData(item=sample.pred_label)
        if isinstance(sample.get("pred_score"), Tensor):
            old.pred_labels.score = sample.pred_score
    return old


class LabelVisualizer(ActionVisualizer):
    """The stock visualiser, which draws the labels of today's ``ActionDataSample``."""

    def add_datasample(self, name: str, video: np.ndarray | Sequence[np.ndarray] | str,
                       data_sample: ActionDataSample | None = None, *args, **kwargs) -> np.ndarray:
        """As upstream."""
        data_sample = None if data_sample is None else under_old_names(data_sample)
        if isinstance(video, str) and kwargs.get("out_type", "img") == "img":
            # Upstream reads a file as BGR (line 121), which only suits gif and video; images are RGB.
            video = [frame[..., ::-1] for frame in self._load_video(video)]
        return super().add_datasample(name, video, data_sample, *args, **kwargs)


def mend_visualizer() -> bool:
    """Replace the registered ``ActionVisualizer``, which draws no label.

    Condition: its code still reads ``pred_labels``, a field that no ``ActionDataSample`` has. Source:
    ``action_visualizer.py:217,229``, mmaction2 pull request 2859. Superfluous when that is released.
    """
    if "pred_labels" in inspect.unwrap(ActionVisualizer.add_datasample).__code__.co_consts:
        VISUALIZERS.register_module(name="ActionVisualizer", module=LabelVisualizer, force=True)
        return True
    return False


APPLIED: dict[str, bool] = {}
"""By name of each remedy, in the order of their use, whether it was needed and applied."""


def apply_all() -> None:
    """Apply every remedy; those that are in place stay as they are."""
    for remedy in (quiet_host_warnings, do_without_vindlu, stub_drn, mend_color_jitter, allow_mmengine_checkpoints,
                   check_before_loading, offer_amp_without_accelerator, mend_bfloat16_heads, mend_visualization_hook,
                   mend_visualizer):
        APPLIED[remedy.__name__] = remedy() or APPLIED.get(remedy.__name__, False)


apply_all()
