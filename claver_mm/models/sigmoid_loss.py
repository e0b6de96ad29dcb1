"""The loss that SigLIP's towers were trained with (Zhai et al. 2023, arXiv 2303.15343, algorithm 1), over classes."""
from __future__ import annotations

from mmaction.models.losses.base import BaseWeightedLoss
from mmaction.registry import MODELS
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot


@MODELS.register_module()
class SigmoidLoss(BaseWeightedLoss):
    """Each pair of clip and class is a question of its own, yes or no: binary cross entropy, summed over classes, mean
    over clips.

    The sum, not the mean, as in SigLIP: of many classes nearly all are not meant, and the one that is weighs as much
    whatever their number.

    Args:
        loss_weight: Factor of the loss.
    """

    def _forward(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Scores ``(B, C)`` with scale and bias inside; labels ``(B,)``, or distributions over classes ``(B, C)``."""
        targets = label if label.shape == cls_score.shape else one_hot(label, cls_score.shape[1])
        return binary_cross_entropy_with_logits(cls_score, targets.to(cls_score), reduction="none").sum(dim=1).mean()
