"""A small head, and labels for it."""
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from toy import TINY

CLASSES = ["jumping", "running", "swimming", "reading"]


def head(**kwargs):
    return MODELS.build(dict(dict(type="ContrastiveTextHead", arch=TINY, classes=CLASSES), **kwargs))


def samples(labels):
    result = []
    for label in labels:
        sample = ActionDataSample()
        sample.set_gt_label(label)
        result.append(sample)
    return result
