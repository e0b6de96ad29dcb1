"""Any video, any labels: a trained config as one object.

    from claver_mm import Recognizer
    recognizer = Recognizer("configs/claver_b16_k400.py", "epoch_60.pth")
    print(recognizer.recognize("video.mp4", ["juggling", "diving", "reading a book"])[0])
"""
from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor

from .clip import tokenize
from .datasets.transforms import OpenVideo
from .explain.explanation import Explanation, words_of
from .explain.relevance import relevance
from .language.bank import PromptBank, read_bank
from .language.prompts import ACTION_TEMPLATES, class_texts, read_lines
from .models.contrastive_head import ContrastiveTextHead
from .weights import load_strict, read_state_dict

Video = str | Path | np.ndarray | Tensor | Sequence
Labels = str | Path | PromptBank | Mapping | Sequence[str]
BANK_SUFFIXES = (".yaml", ".yml", ".json", ".csv")


class Recognition(NamedTuple):
    """A label and its probability among the labels that it was ranked with."""
    label: str
    score: float


class View(NamedTuple):
    """One video as a model sees it."""
    clip: Tensor
    """Normalised, ``(1, 3, T, h, w)``."""
    frames: np.ndarray
    """The same before normalisation: RGB, uint8, ``(T, h, w, 3)``."""
    frame_numbers: list[int]
    """Where the frames lie in the video."""


class Recognizer:
    """Ranks labels for videos, with the test pipeline (views and all) of a config.

    Args:
        config: Config file of a recogniser with a ``ContrastiveTextHead``, or the config.
        checkpoint: Its weights, complete. Without: the pretrained weights that the config names, and a warning, since
            the temporal part is then random.
        device: ``cuda`` where there is one, else ``cpu``, when None.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The head takes no texts.
        claver_mm.weights.WeightsDoNotFit: The checkpoint is not of this model.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path | None = None,
                 device: str | torch.device | None = None) -> None:
        if not isinstance(config, Config):
            if not Path(config).is_file():
                raise FileNotFoundError(f"no config at {config}")
            config = Config.fromfile(config)
        init_default_scope(config.get("default_scope", "mmaction"))
        self.config = config
        self.model = MODELS.build(copy.deepcopy(config.model))
        self.head = self.model.cls_head
        if not isinstance(self.head, ContrastiveTextHead):
            raise ValueError(f"labels need a ContrastiveTextHead, the config has a {type(self.head).__name__}; use "
                             "mmaction.apis.inference_recognizer for a fixed list of classes")
        if checkpoint is None:
            warnings.warn("no checkpoint: the temporal part of the model, and whatever else the config loads no "
                          "weights for, is random; its scores mean nothing", stacklevel=2)
            logging.disable(logging.INFO)  # the host logs a line for every single parameter
            try:
                self.model.init_weights()
            finally:
                logging.disable(logging.NOTSET)
        else:
            load_strict(self.model, read_state_dict(checkpoint), str(checkpoint))
        self.head.average_clips = "prob"
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        if not config.get("test_dataloader"):
            raise ValueError("the config has no test_dataloader, whose pipeline says what a model sees of a video")
        self._steps = Compose(copy.deepcopy(config.test_dataloader.dataset.pipeline))
        single = config.get("val_dataloader") or config.test_dataloader
        self._single_view = Compose(copy.deepcopy(single.dataset.pipeline))
        self._own = (self.head.class_names, self.head.text_tokens)

    def recognize(self, video: Video, labels: Labels | None = None, *, extra: Sequence[str] = (),
                  templates: Sequence[str] = ACTION_TEMPLATES, top: int | None = None,
                  batch_size: int = 1) -> list[Recognition] | list[list[Recognition]]:
        """Labels of a video from the likeliest on; a list of such lists for a list of videos.

        Args:
            video: A path, RGB frames ``(T, h, w, 3)`` in uint8 as an array or tensor, or a list of frames; or a list of
                any of these.
            labels: Names; or a prompt bank, read or as a file or mapping; or a ``.txt`` file with one name a line. None
                for the config's own classes and texts.
            extra: Texts that are ranked beside the labels, each taken word for word (appendix F of the paper).
            templates: Put around the names of ``labels``; the bank's texts stand beside them.
            top: Only so many.
            batch_size: Videos that go through the model together.

        Raises:
            FileNotFoundError: No such video or file of labels.
            claver_mm.datasets.UnreadableVideo: A video that cannot be decoded; the message names it.
            ValueError: Frames of another shape or dtype, no labels, one that stands twice, or a text where a list of
                texts belongs.
        """
        if batch_size < 1 or (top is not None and top < 1):
            raise ValueError(f"batch_size and top must be at least 1, got {batch_size} and {top}")
        names = self._set_labels(labels, _listed(extra, "extra"), templates)
        several = isinstance(video, list | tuple) and not _is_frame(video[0] if video else None)
        inputs = [_as_input(one, self._steps) for one in (video if several else [video])]
        if not inputs:
            raise ValueError("no video was given")
        ranked = []
        for first in range(0, len(inputs), batch_size):
            batch = pseudo_collate([self._steps(one) for one in inputs[first:first + batch_size]])
            with torch.no_grad():
                samples = self.model.test_step(batch)
            for scores in (sample.pred_score for sample in samples):
                order = scores.argsort(descending=True, stable=True)[:top].tolist()
                ranked.append([Recognition(names[i], scores[i].item()) for i in order])
        return ranked if several else ranked[0]

    def explain(self, video: Video, text: str | None = None, labels: Labels | None = None, *,
                against: Sequence[str] = (), templates: Sequence[str] = ACTION_TEMPLATES, top: int = 5) -> Explanation:
        """Which words of a text and which parts of which frames the similarity of a video and a text rests on.

        Looks at one view of the video, that of the config's validation; see ``claver_mm.explain.relevance``.

        Args:
            video: As in ``recognize``, one video.
            text: Any text, word for word; the likeliest label when None.
            labels: What is ranked beside it, as in ``recognize``; the config's own classes when None.
            against: Other texts: explain what speaks for ``text`` and not for them.
            templates: Put around the names of ``labels``, as in ``recognize``.
            top: So many labels are kept of the ranking, and the text itself.

        Raises:
            FileNotFoundError, claver_mm.datasets.UnreadableVideo: As in ``recognize``.
            ValueError: As in ``recognize``; several videos; a text against itself; or towers whose attention cannot be
                read.
        """
        if isinstance(video, list | tuple) and not _is_frame(video[0] if video else None):
            raise ValueError("one video at a time is explained, got a list of them")
        against = _listed(against, "against")
        beside = [] if text is None or text in self._set_labels(labels, [], templates) else [text]
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        ranked = self.recognize(video, labels, extra=beside, templates=templates)
        text = ranked[0].label if text is None else text
        ranked = ranked[:top] + [entry for entry in ranked[top:] if entry.label == text]
        if text in against:
            raise ValueError(f"nothing speaks for {text!r} and not for itself; take it out of against")
        view = self.view(video)
        tokens = tokenize([text], self.head.arch)
        others = tokenize(against, self.head.arch) if against else None
        found = relevance(self.model, view.clip, tokens, others)
        return Explanation(
            text=text, words=words_of(tokens[0], found.text[0], self.head.arch), against=tuple(against),
            ranked=ranked, similarity=found.similarity.item(), frames=view.frames,
            frame_numbers=view.frame_numbers, frame_relevance=found.frames[0].cpu().numpy(),
            **{name: getattr(found, name)[0].cpu().numpy() for name in ("spatial", "temporal", "combined")})

    def view(self, video: Video) -> View:
        """One video as the validation pipeline shows it to the model.

        Raises:
            FileNotFoundError, claver_mm.datasets.UnreadableVideo, ValueError: As in ``recognize``.
        """
        results, frame_numbers = _as_input(video, self._single_view), None
        for step in self._single_view.transforms:
            results = step(results)
            frame_numbers = results.get("frame_inds", frame_numbers)
        inputs = results["inputs"][:1]  # (1, 3, T, h, w)
        clip = self.model.data_preprocessor(pseudo_collate([dict(results, inputs=inputs)]))["inputs"][0]
        frames = inputs[0].permute(1, 2, 3, 0).numpy()
        return View(clip, frames, np.ravel(frame_numbers)[:len(frames)].tolist())

    def _set_labels(self, labels: Labels | None, extra: list[str], templates: Sequence[str]) -> list[str]:
        """Give the head its texts; the labels in their order."""
        if labels is None:
            names, tokens = self._own
            if names is None:
                raise ValueError("the config names no classes; give labels")
            if not extra:
                self.head.set_texts(tokens)
                self.head.class_names = names
                return names
            self.head.set_texts(extra)
            repeated = self.head.text_tokens.expand(-1, tokens.shape[1], -1)
            self.head.set_texts(torch.cat([tokens, repeated]))
        else:
            names, texts = _texts(labels, templates)
            self.head.set_texts(texts + [[text] * len(texts[0]) for text in extra])
        return read_lines([*names, *extra], "labels")


def _listed(texts: Sequence[str], name: str) -> list[str]:
    """A list of texts; a single string, whose letters would pass for texts, is refused."""
    if isinstance(texts, str):
        raise ValueError(f"{name}={texts!r} is one string; give a list of texts")
    return list(texts)


def _texts(labels: Labels, templates: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    if isinstance(labels, str | Path):
        suffix = Path(labels).suffix.lower()
        if suffix not in (*BANK_SUFFIXES, ".txt"):
            raise ValueError(f"labels={str(labels)!r} is one string; give a list of names, or a file in .txt or "
                             f"{', '.join(BANK_SUFFIXES)}")
        labels = read_lines(labels, "labels") if suffix == ".txt" else read_bank(labels)
    if isinstance(labels, Mapping):
        labels = read_bank(labels)
    if isinstance(labels, PromptBank):
        names = list(labels.entries)
        return names, [own + more for own, more in zip(class_texts(names, templates), labels.texts(names))]
    names = read_lines(list(labels), "labels")
    return names, class_texts(names, templates)


def _is_frame(x: object) -> bool:
    """Whether a list that begins with this is one video, frame by frame."""
    return getattr(x, "ndim", None) == 3 or hasattr(x, "convert")  # an array, or an image of Pillow


def _as_input(video: Video, steps: Compose) -> dict:
    """What a pipeline takes."""
    if isinstance(video, str | Path):
        return dict(filename=str(video), label=-1, start_index=0, modality="RGB")
    if isinstance(video, list | tuple):
        shapes = {np.shape(frame) for frame in video}
        if len(shapes) != 1:
            raise ValueError(f"the frames of a video must have one shape, got {sorted(shapes)}")
        video = np.stack([np.asarray(frame) for frame in video])
    array = video.cpu().numpy() if isinstance(video, Tensor) else np.asarray(video)
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
        raise ValueError(f"a video in memory must be uint8 RGB frames (T, h, w, 3), got {array.dtype} {array.shape}")
    if not any(isinstance(step, OpenVideo) for step in steps.transforms):
        raise ValueError("frames in memory need a pipeline that begins with OpenVideo and DecodeFrames")
    return dict(array=array, filename="frames in memory", label=-1, start_index=0, modality="RGB")
