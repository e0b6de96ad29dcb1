"""CLIP image tower as a backbone (paper section 3.1, equation 1)."""
from __future__ import annotations

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ..towers.architectures import Arch
from ..towers.image import build_image_trunk, clip_tokens, keep_batch_statistics, set_checkpointing
from ..towers.preprocessing import preprocessing_of
from ..towers.pretrained import resolve_pretrained
from ..weights import (
    WeightsDoNotFit,
    image_trunk_weights,
    load_strict,
    read_state_dict,
    refuse_other_sizes,
)


@MODELS.register_module()
class CLIPBackbone(BaseModule):
    """The image tower of CLIP, SigLIP, PE and others, frame by frame, giving all tokens of its last block.

    What a tower does after that block (norm, pooling, projection) lies in the head, behind the neck.

    Args:
        arch: ``B/32``, ``B/16``, ``L/14``, ``L/14@336``, any open_clip architecture (``PE-Core-L-14-336``),
            ``hf-hub:ORGANISATION/NAME``, ``local-dir:FOLDER``, or an open_clip model config as a dict.
        pretrained: Weights file (OpenAI or open_clip), open_clip tag, or again ``hf-hub:`` or ``local-dir:``, loaded by
            ``init_weights``; None trains from scratch.
        image_size: Side of the input where it is not the architecture's; the positional embedding is interpolated.
        preprocessing: How frames were prepared for the weights, where ``pretrained`` does not say it or not rightly:
            the tag that a file has the weights of, or ``mean``, ``std`` and so on
            (``claver_mm.towers.preprocessing_of``).
        token_grid: Hand on fewer tokens of a frame: those of the grid averaged on one of so many a side, prefix tokens
            as they are. What stands behind the tower costs less; a class token is read as before.
        frozen: Train nothing of the tower.
        grad_checkpointing: Trade time for activation memory in training.

    Raises:
        ValueError: Unknown architecture, or one whose preprocessing is not known.
    """

    def __init__(self, arch: Arch, pretrained: str | None = None, image_size: int | None = None, frozen: bool = False,
                 token_grid: int | None = None, grad_checkpointing: bool = False,
                 preprocessing: str | dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.arch = arch
        self.pretrained = pretrained
        self.frozen = frozen
        self.token_grid = token_grid
        self.preprocessing = preprocessing_of(arch, pretrained, preprocessing, image_size)
        self.visual = build_image_trunk(arch, image_size)
        set_checkpointing(self.visual, grad_checkpointing, arch)
        self.visual.requires_grad_(not frozen)
        self.register_load_state_dict_pre_hook(refuse_other_sizes)
        self.register_load_state_dict_pre_hook(_refuse_foreign_weights)

    def init_weights(self) -> None:
        """Load the pretrained weights; a run does not go on without them."""
        super().init_weights()
        if self.pretrained:
            path = resolve_pretrained(self.pretrained, self.arch)
            load_strict(self.visual, image_trunk_weights(read_state_dict(path)), f"image tower of {path}")

    def train(self, mode: bool = True) -> CLIPBackbone:
        """A frozen tower stays in evaluation mode, batch norms in any case."""
        super().train(mode and not self.frozen)
        keep_batch_statistics(self.visual)
        return self

    def forward(self, frames: Tensor) -> Tensor:
        """``(B, 3, T, h, w) -> (B, T, L, D)``."""
        return clip_tokens(self.visual, frames, self.token_grid)


def _refuse_foreign_weights(module: CLIPBackbone, state_dict: dict, prefix: str, *_) -> None:
    """Load hook: a checkpoint without a single weight of the tower is of another model, and ``init_recognizer`` would
    go on with random ones."""
    if not any(key.startswith(prefix) for key in state_dict):
        raise WeightsDoNotFit(f"no weight of the image tower ({prefix}*) in this checkpoint. CLIP's own weights have "
                              "no temporal part: give them to backbone and head as pretrained=... and train. "
                              "Checkpoints of the published CLAVER code are converted by claver convert")
