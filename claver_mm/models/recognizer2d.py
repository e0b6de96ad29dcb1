"""A 2D recogniser whose neck sees one feature map a frame."""
from __future__ import annotations

from mmaction.models.recognizers import Recognizer2D
from mmaction.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class Recognizer2DWithNeck(Recognizer2D):
    """``Recognizer2D`` for necks that keep the shape ``(B*T, C, h, w)``, such as ``TemporalNeck``.

    The stock class serves the one neck it was written for (TPN): it iterates over the neck's input as over a tuple of
    maps, which for a single map are the frames of the batch, and tells the head that a clip has one segment. Here the
    neck runs on the backbone's map and the head averages over frames as without a neck.
    """

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
        if kwargs.get("fcn_test"):
            raise ValueError("fcn_test is not available with a temporal neck; leave it out of test_cfg")
        feats, kwargs["loss_aux"] = neck(feats, data_samples=data_samples)
        if stage == "head":
            return self.cls_head(feats, **kwargs), kwargs
        return feats, kwargs
