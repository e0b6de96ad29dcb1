"""A recogniser from what its parts share, said once."""
from __future__ import annotations

from mmaction.models import Recognizer3D
from mmaction.registry import MODELS
from mmengine.logging import print_log

from ..settings import write_out
from ..settings.model import BUILDER


@MODELS.register_module(name=BUILDER)
def build_claver(**settings) -> Recognizer3D:
    """A stock ``Recognizer3D`` of ``CLIPBackbone``, ``KMTNeck`` and ``ContrastiveTextHead``.

    Named in a config as ``type='CLAVERRecognizer'``. The host's registry calls it, so that its own tools build the same
    model.

    Args:
        arch: Architecture of all parts: ``B/16`` and the like, see ``CLIPBackbone``.
        pretrained: Weights of both towers; None or left out trains them from scratch.
        num_frames: Frames of a clip.
        classes: Class names: a list, a file with one a line, or the name of a list that comes with the project
            (``kinetics400``). Mixup and cutmix get their number.
        bank: Prompt bank: a file, a mapping, None, or ``'auto'`` for the shipped bank that has texts for all classes;
            where there is none, templates serve alone, and the log says so.
        backbone, neck, cls_head: What concerns this part alone; ``neck=None`` for the mean over frames.
        data_preprocessor, train_cfg, test_cfg, init_cfg: As of ``Recognizer3D``.

    Raises:
        ValueError: A part that says something else than the model, or an unknown key; the message names both.
        FileNotFoundError: A class list that does not exist.
    """
    written, notes = write_out(dict(settings, type=BUILDER))
    for note in notes:
        print_log(note, logger="current")
    return MODELS.build(written)
