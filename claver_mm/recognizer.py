"""Any video, any labels: a tower as it was trained by others, or a trained config, as one object.

    from claver_mm import Recognizer
    recognizer = Recognizer.from_pretrained("open_clip:PE-Core-L-14-336/meta")
    print(recognizer.recognize("video.mp4", ["juggling", "diving", "reading a book"])[0])
    recognizer.save_pretrained("my_recogniser")
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from tqdm import tqdm

from .catalog import find_config
from .engine.configs import completed
from .engine.trained import check_trained, init_quietly
from .evaluation_mode import EvaluationMode
from .explain.explanation import Explanation, words_of
from .explain.relevance import relevance
from .inputs import Video, as_input, as_videos, opened
from .language.prompts import ACTION_TEMPLATES
from .language.shipped import with_shipped_prompts
from .language.texts import Labels, Texts, listed
from .messages import quoted
from .model import CLAVER, class_scores
from .models.contrastive_head import ContrastiveTextHead
from .protocols.views import pipeline_of, read_view
from .saved.mixin import Saved
from .settings.keys import plain
from .towers.architectures import shown_arch
from .weights import load_strict, read_state_dict

if TYPE_CHECKING:
    from .timeline.timeline import Timeline

VIEWS = ("one", "config")


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


class Recognizer(Saved):
    """Ranks labels for videos, with the pipelines (views and all) of a config.

    Threads may share one: what a call is about is never written into the model, and each answer is that of the call
    alone. A model left in training mode (``recognizer.model.train()``) is in evaluation mode while it is asked.

    Args:
        config: Config of a recogniser with a ``ContrastiveTextHead``: a file, a shipped one by its name, or the config.
        checkpoint: Its weights, complete, as a file or a state dict. Without: the pretrained weights that the config
            names.
        device: ``cuda`` where there is one, else ``cpu``, when None.
        untrained: Ask for a model of random weights by name, in whole or in part.

    Warns:
        claver_mm.engine.trained.UntrainedWarning: No checkpoint for a config that names no weights at all, such as a
            small model from scratch.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The head takes no texts; or no checkpoint, so that parts of the model stay random beside others that
            are pretrained.
        claver_mm.weights.WeightsDoNotFit: The checkpoint is not of this model.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path | Mapping[str, Tensor] | None = None,
                 device: str | torch.device | None = None, *, untrained: bool = False) -> None:
        if not isinstance(config, Config):
            config = Config.fromfile(find_config(config))
        config = completed(config)
        self.config = config
        if not config.get("test_dataloader"):
            raise ValueError("the config has no test_dataloader, whose pipeline says what a model sees of a video")
        with DefaultScope.overwrite_default_scope(config.get("default_scope", "mmaction")):
            self.model = MODELS.build(copy.deepcopy(config.model))
            self._pipelines = {views: Compose(self.steps(views)) for views in VIEWS}
        self.head = self.model.cls_head
        if not isinstance(self.head, ContrastiveTextHead):
            raise ValueError(f"labels need a ContrastiveTextHead, the config has a {type(self.head).__name__}; use "
                             "mmaction.apis.inference_recognizer for a fixed list of classes")
        if checkpoint is None:
            if not untrained:
                check_trained(self.model)
            init_quietly(self.model)
        else:
            given = isinstance(checkpoint, Mapping)
            load_strict(self.model, dict(checkpoint) if given else read_state_dict(checkpoint),
                        "the checkpoint" if given else str(checkpoint))
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        self.claver = CLAVER.of(self.model)
        self._own = self.head.texts
        self._asked = EvaluationMode(self.claver)
        self._prompts_of_known_labels = False
        self.threshold: float | None = None
        """Probability below which none of its own labels fits; None where it is not known."""

    def __str__(self) -> str:
        claver, view = self.claver, read_view(self.config.test_dataloader.dataset.pipeline)
        height, width = claver.preprocessing.size
        tower = self.source or f"{shown_arch(claver.arch)} ({self.model.backbone.pretrained or 'from scratch'})"
        what = (f"mean over {view.frames} frames of {width}x{height} pixels; the order of frames is not seen"
                if claver.temporal is None else
                f"{claver.temporal.pattern} over {view.frames} frames of {width}x{height} pixels")
        return f"{tower}: {what}; views: {view.clips}x{view.crops}"

    def recognize(self, video: Video, labels: Labels | Texts | None = None, *, extra: Sequence[str] = (),
                  templates: Sequence[str] | None = ACTION_TEMPLATES, top: int | None = None, batch_size: int = 1,
                  views: str = "config") -> list[Recognition] | list[list[Recognition]]:
        """Labels of a video from the likeliest on; a list of such lists for a list of videos.

        Args:
            video: A path; RGB frames ``(T, h, w, 3)`` in uint8 as an array or tensor; a list of frames, arrays or
                Pillow images; or a list of any of these.
            labels: Names; or a prompt bank, read or as a file or mapping; or a ``.txt`` file with one name a line. None
                for the config's own classes and texts.
            extra: Texts that are ranked beside the labels, each taken word for word (appendix F of the paper).
            templates: Put around the names of ``labels``; the bank's texts stand beside them. None for none: a bank's
                texts alone, or the names alone.
            top: Only so many.
            batch_size: Videos that go through the model together.
            views: ``config`` for all views of the config's test, ``one`` for that of its validation.

        Raises:
            FileNotFoundError: No such video or file of labels.
            claver_mm.datasets.UnreadableVideo: A video that cannot be decoded; the message names it.
            ValueError: Frames of another shape or dtype; no labels, one that stands twice or is no text, two that are
                one to the model; a text where a list of texts belongs; or scores that are no numbers.
        """
        _check_positive(top=top)
        texts = self.texts(labels, extra=extra, templates=templates)
        videos, several = as_videos(video)
        ranked = []
        for scores in self._each(lambda video: self._scores(video, texts), videos, views, batch_size):
            order = scores.argsort(descending=True, stable=True)[:top].tolist()
            ranked.append([Recognition(texts.names[i], scores[i].item()) for i in order])
        return ranked if several else ranked[0]

    def embed(self, video: Video, *, views: str = "one", batch_size: int = 1) -> Tensor:
        """Unit embeddings of videos in the space of ``embed_texts``: ``(E,)``, or ``(N, E)`` of a list of ``N``.

        Args:
            video: As in ``recognize``.
            views: ``one`` for the view of the config's validation; ``config`` for the mean over those of its test.
            batch_size: Videos that go through the model together.

        Returns:
            Float32, on the CPU.

        Raises:
            FileNotFoundError, claver_mm.datasets.UnreadableVideo, ValueError: As in ``recognize``.
        """
        videos, several = as_videos(video)
        unit = self._each(lambda video: nn.functional.normalize(video.mean(dim=1), dim=-1), videos, views, batch_size)
        features = torch.stack(list(unit))
        return features if several else features[0]

    def embed_texts(self, texts: str | Sequence[str]) -> Tensor:
        """Unit embeddings of texts, word for word: ``(E,)`` of one, ``(N, E)`` of a list of ``N``; float32, on the CPU.

        Raises:
            ValueError: No text, or an entry that is no text.
        """
        given = [texts] if isinstance(texts, str) else list(texts)
        odd = [text for text in given if not isinstance(text, str)]
        if not given or odd:
            raise ValueError(f"texts must be a text or a list of some, got {quoted(odd[0] if odd else given)}")
        with self._asked, torch.no_grad():
            features = self.claver.text_features(self.claver.tokenize(given)).float().cpu()
        return features[0] if isinstance(texts, str) else features

    def texts(self, labels: Labels | Texts | None = None, *, extra: Sequence[str] = (),
              templates: Sequence[str] | None = ACTION_TEMPLATES) -> Texts:
        """The texts that ``recognize`` would rank, as a value; what they cost is paid once for equal labels.

        Args and errors are those of ``recognize``. Streams take it: ``VideoStream(recognizer.claver, texts=...)``.
        """
        labels = self._own if labels is None else labels
        if self._prompts_of_known_labels and templates is not None:
            labels = with_shipped_prompts(labels)
        return self.claver.texts(labels, extra=extra, templates=templates)

    def explain(self, video: Video, text: str | None = None, labels: Labels | Texts | None = None, *,
                against: Sequence[str] = (), templates: Sequence[str] | None = ACTION_TEMPLATES,
                top: int = 5) -> Explanation:
        """Which words of a text and which parts of which frames the similarity of a video and a text rests on.

        Looks at one view of the video, that of the config's validation; see ``claver_mm.explain.relevance``.

        Args:
            video: As in ``recognize``, one video.
            text: Any text, word for word. One that is the name of a label, and the likeliest label when None, is
                explained by a text that it was ranked by: its readable name (``apply eye makeup`` of
                ``ApplyEyeMakeup``), or where the templates do not have that, the first.
            labels: What is ranked beside it, as in ``recognize``; the config's own classes when None.
            against: Other texts: explain what speaks for ``text`` and not for them.
            templates: Put around the names of ``labels``, as in ``recognize``.
            top: So many labels are kept of the ranking, and the text itself.

        Raises:
            FileNotFoundError, claver_mm.datasets.UnreadableVideo: As in ``recognize``.
            ValueError: As in ``recognize``; several videos; a text without words, or against itself; or a model with
                neither a temporal transformer nor an image tower whose attention can be read.
        """
        if as_videos(video)[1]:
            raise ValueError("one video at a time is explained, got a list of them")
        _check_positive(top=top)
        against = listed(against, "against")
        texts = self.texts(labels, templates=templates)
        if text is not None:
            text, = listed([text], "text")
            found = texts.find(text, self.claver.tokenize)
            texts = texts.beside([text] if found is None else [], self.claver.tokenize)
            label = text if found is None else texts.names[found]
        ranked = self.recognize(video, texts)
        label = ranked[0].label if text is None else label
        text = texts.main_text(texts.names.index(label))
        if text in against:
            raise ValueError(f"nothing speaks for {quoted(text)} and not for itself; take it out of against")
        ranked = ranked[:top] + [entry for entry in ranked[top:] if entry.label == label]
        view, tokens = self.view(video), self.claver.tokenize([text, *against])
        with self._asked:
            found = relevance(self.claver, view.clip, tokens[:1], tokens[1:] if against else None)
        maps = {name: getattr(found, name) for name in ("spatial", "temporal", "combined")}
        return Explanation(
            text=text, label=label, against=tuple(against),
            words=None if found.text is None else words_of(tokens[0], found.text[0], self.claver.arch),
            ranked=ranked, similarity=found.similarity.item(), frames=view.frames,
            frame_numbers=view.frame_numbers, frame_relevance=found.frames[0].cpu().numpy(),
            **{name: None if x is None else x[0].cpu().numpy() for name, x in maps.items()})

    def timeline(self, video: str | Path, labels: Labels | Texts | None = None, **how: Any) -> Timeline:
        """When, not only what: scores of labels along a video of any length, and segments of them.

        Args and errors are those of ``claver_mm.timeline.timeline.timeline``.

        Example:
            >>> found = recognizer.timeline("day.mp4", ["pouring water", "stirring"], background=["an empty kitchen"])
            >>> found.save("day.srt")
        """
        from .timeline.timeline import timeline
        return timeline(self, video, labels, **how)

    def steps(self, views: str) -> list[dict]:
        """Steps of the pipeline behind ``views`` (``one`` or ``config``), as plain settings."""
        loader = views == "one" and self.config.get("val_dataloader") or self.config.test_dataloader
        return [plain(step) for step in pipeline_of(loader.dataset)]

    def view(self, video: Video) -> View:
        """One video as the validation pipeline shows it to the model.

        Raises:
            FileNotFoundError, claver_mm.datasets.UnreadableVideo, ValueError: As in ``recognize``.
        """
        steps = self._pipelines["one"]
        results, frame_numbers = opened(steps, as_input(video, steps))
        inputs = results["inputs"][:1]  # (1, 3, T, h, w)
        clip = self.model.data_preprocessor(pseudo_collate([dict(results, inputs=inputs)]))["inputs"][0]
        frames = inputs[0].permute(1, 2, 3, 0).numpy()
        return View(clip, frames, np.ravel(frame_numbers)[:len(frames)].tolist())

    def _each(self, answer: Callable[[Tensor], Tensor], videos: list[Video], views: str,
              batch_size: int) -> Iterator[Tensor]:
        """What ``answer`` makes of each video: ``(B, V, E) -> (B, n)``, on the CPU, one ``(n,)`` after the other."""
        _check_positive(batch_size=batch_size)
        if views not in VIEWS:
            raise ValueError(f"unknown views={quoted(views)}; one of {', '.join(VIEWS)}")
        steps = self._pipelines[views]
        inputs = [as_input(one, steps) for one in videos]
        with tqdm(total=len(inputs), unit="video", leave=False,
                  disable=None if len(inputs) > 1 else True) as bar:  # None: shown on a terminal
            for first in range(0, len(inputs), batch_size):
                batch = pseudo_collate([opened(steps, one)[0] for one in inputs[first:first + batch_size]])
                if views == "one":
                    batch["inputs"] = [clips[:1] for clips in batch["inputs"]]
                with self._asked, torch.no_grad():
                    clips = self.model.data_preprocessor(batch, False)["inputs"]  # (B, V, 3, T, h, w)
                    results = answer(self._video_features(clips)).float().cpu()
                if not results.isfinite().all():
                    raise ValueError(f"no numbers came out for {inputs[first]['filename']}; the model's weights are "
                                     "not finite, or too large for its precision")
                yield from results
                bar.update(len(results))

    def _video_features(self, clips: Tensor) -> Tensor:
        """``(B, V, 3, T, h, w) -> (B, V, E)``, at most the config's ``max_testing_views`` at a time."""
        flat = clips.flatten(0, 1)
        at_once = (self.model.test_cfg or {}).get("max_testing_views") or len(flat)
        features = torch.cat([self.claver.video_features(part) for part in flat.split(at_once)])
        return features.unflatten(0, clips.shape[:2])

    def _scores(self, video: Tensor, texts: Texts) -> Tensor:
        """Probabilities of labels, mean over views: ``(B, V, E) -> (B, C)``."""
        logits = self.claver.logits(video.flatten(0, 1), self.claver.kept_text_features(texts))
        return class_scores(logits, self.claver.score).softmax(dim=-1).unflatten(0, video.shape[:2]).mean(dim=1)


def _check_positive(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
