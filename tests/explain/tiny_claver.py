"""A tiny CLAVER of the host, its texts, and nothing flat in it."""

import torch
from mmaction.registry import MODELS
from small import TOWERS
from torch import nn
from toy import toy_config

from claver_mm.clip import tokenize
from claver_mm.model import CLAVER, create_model

TEXTS = ["a shape moving left", "falling"]


def build(videos, work_dir, pattern: str | None = "kmt", pool: str = "class_token") -> nn.Module:
    """A tiny CLAVER, its weights drawn larger so that no map is flat."""
    model = toy_config("claver_motion", videos, work_dir).model
    model.cls_head.update(pool=pool)
    if pattern is None:
        model.neck = None
    else:
        model.neck = dict(model.neck, type="TemporalNeck", pattern=pattern,
                          class_tokens_only=pool == "class_token")
    torch.manual_seed(0)
    model = MODELS.build(model).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.2)
    return model


def tokens_of(model: nn.Module, texts=TEXTS) -> torch.Tensor:
    return tokenize(texts, model.cls_head.arch)


def of_tower(kind: str, pattern: str | None = "kmct", **how) -> CLAVER:
    """A tiny CLAVER behind a tower of ``small.TOWERS``, its weights drawn larger as well, and no bias zero."""
    torch.manual_seed(0)
    model = create_model(TOWERS[kind], pattern=pattern, num_frames=4, depth=2, **how)
    for parameter in model.parameters():
        if parameter.ndim > 1 or not parameter.count_nonzero():
            nn.init.normal_(parameter, std=0.2)
    return model


def clips_of(model: CLAVER) -> torch.Tensor:
    return torch.randn(2, 3, 4, *model.preprocessing.size, generator=torch.Generator().manual_seed(1))
