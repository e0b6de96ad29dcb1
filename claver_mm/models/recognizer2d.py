"""A 2D recogniser whose neck sees one feature map a frame."""
from __future__ import annotations

from types import MethodType

from mmaction.models.recognizers import Recognizer2D
from mmaction.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class Recognizer2DWithNeck(Recognizer2D):
    """``Recognizer2D`` for necks that keep the shape ``(B*T, C, h, w)``, such as ``TemporalNeck``.

    The stock class serves the one neck it was written for (TPN): it iterates over the neck's input as over a tuple of
    maps, which for a single map are the frames of the batch, and tells the head that a clip has one segment. Here the
    neck runs on the backbone's map and the head averages over frames as without a neck. ``max_testing_views`` works as
    well, for which the stock class calls a ``get`` that no backbone has (``recognizer2d.py:103``).
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not self.with_neck:
            raise ValueError("Recognizer2DWithNeck needs a neck; use Recognizer2D without one")
        if self.test_cfg and self.test_cfg.get("fcn_test"):
            raise ValueError("fcn_test is not available with a temporal neck; leave it out of test_cfg")
        if not hasattr(self.backbone, "get"):
            self.backbone.get = MethodType(_attribute, self.backbone)

    def extract_feat(self, inputs: Tensor, stage: str = "neck", data_samples: list | None = None,
                     test_mode: bool = False) -> tuple:
        """See ``Recognizer2D.extract_feat``."""
        neck, self.neck = self.neck, None
        try:
            feats, kwargs = super().extract_feat(inputs, "backbone", data_samples, test_mode)
        finally:
            self.neck = neck
        if stage == "backbone":
            return feats, kwargs
        feats, kwargs["loss_aux"] = neck(feats, data_samples=data_samples)
        if stage == "head":
            return self.cls_head(feats, **kwargs), kwargs
        return feats, kwargs


def _attribute(backbone: nn.Module, name: str) -> object:
    return getattr(backbone, name, None)
