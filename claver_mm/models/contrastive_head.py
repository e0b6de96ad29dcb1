"""Contrastive text head: class texts through CLIP's text encoder against the video (paper equations 3, 9 and 10).

Letters: ``B`` clips, ``T`` frames, ``L`` tokens of a frame, ``D`` width, ``E`` embedding size, ``C`` classes, ``M``
descriptions of a class, ``K`` of them drawn for one training step.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from mmaction.models.heads import BaseHead
from mmaction.registry import MODELS
from torch import Tensor

from ..language.bank import read_bank
from ..language.encoder import TOKENS_AT_ONCE
from ..language.prompts import ACTION_TEMPLATES, read_lines
from ..language.texts import Texts, texts_as_given, texts_of_classes
from ..model import SCORES, check_choice, class_scores
from ..towers.architectures import Arch, tower_of
from ..towers.head import CLIPHead, check_pool
from ..towers.pretrained import resolve_pretrained
from ..towers.tokenizer import tokenize
from ..weights import head_weights, load_strict, read_state_dict, refuse_other_sizes

LOSSES = {"softmax": "CrossEntropyLoss", "sigmoid": "SigmoidLoss"}
"""Loss over classes -> registered type."""


@MODELS.register_module()
class ContrastiveTextHead(BaseHead):
    """Scores a video by its similarity to texts of the classes.

    Args:
        arch: CLIP architecture, that of the backbone.
        classes: Class names in label order, as a list or a file with one a line; None where texts are set later by
            ``set_texts``.
        num_classes: ``C``; must agree with ``classes``.
        templates: Texts with ``{}`` for the class name, as a list or a file; None for none.
        bank: Prompt bank with further texts of the classes: a file (``claver_mm.language.read_bank``), or a mapping.
        kinds: Which kinds of the bank's texts; all where None.
        per_kind: How many of each kind; all where None.
        pretrained: Weights file or open_clip tag for text tower, pooling, projection and logit scale, loaded by
            ``init_weights``; that of the backbone.
        num_draws: ``K`` of equation 9; all ``M`` where there are no more.
        frozen_text: Train nothing of the text tower.
        frozen_visual: Train nothing of norm, pooling and projection, the image tower's part that lies here.
        grad_checkpointing: Trade time for activation memory of the text tower: that of one batch of texts remains.
        tokens_at_once: Tokens of a batch of texts.
        share_texts: In distributed training each rank encodes its part of the texts of a step.
        pool: What stands for a frame: what the ``tower`` reads itself, its ``class_token``, or the ``mean`` over its
            tokens, which patterns without exchange between tokens of a frame need (``pipeline``, paper section 3.2).
        score: ``prob``: softmax over classes for each description, mean over descriptions (published code);
            ``similarity``: sum of similarities over descriptions (equation 10).
        loss: ``softmax``: cross entropy over classes (equation 9); ``sigmoid``: SigLIP's, a yes or no for each class
            (``SigmoidLoss``). None follows the tower: ``sigmoid`` where it was trained with a bias of its logits, which
            is what that loss is trained with, ``softmax`` else. Scores are the same in either case, since a bias that
            all classes share cancels.
        text_offsets: Learn a vector for each class that is added to the embeddings of its texts, from zero on: labels
            keep their texts, and what videos of a class have in common beside is learnt too.
        draw_seed: Seed of the draws; draw number ``n`` is the same on every rank, and after a resume where
            ``DrawTextsHook`` tells the iteration.
        loss_cls: A loss of the host's in place of ``loss``.
        label_smooth_eps, topk, average_clips: As in every head of MMAction2. SigLIP smooths no labels, and zero is the
            default. ``average_clips`` averages the views of a clip: ``prob`` their probabilities, ``score`` their
            logits (log-probabilities or similarities).

    Raises:
        ValueError: Class list and ``num_classes`` differ, a template without ``{}``, an unknown ``score`` or ``loss``,
            ``loss`` beside ``loss_cls``, a bank that has not as many texts for every class, a bank without classes,
            kinds or offsets without what they belong to, neither templates nor bank, or two classes that are one to the
            model.
        FileNotFoundError: A file of classes, templates or texts does not exist.
    """

    def __init__(self, arch: Arch, classes: str | Sequence[str] | None = None, num_classes: int | None = None,
                 templates: str | Sequence[str] | None = ACTION_TEMPLATES, bank: str | Mapping | None = None,
                 kinds: Sequence[str] | None = None, per_kind: int | None = None, pretrained: str | None = None,
                 num_draws: int = 5, frozen_text: bool = False, frozen_visual: bool = False,
                 grad_checkpointing: bool = False, tokens_at_once: int = TOKENS_AT_ONCE, share_texts: bool = True,
                 pool: str = "tower", score: str = "prob", loss: str | None = None,
                 text_offsets: bool = False, draw_seed: int = 0, loss_cls: dict | None = None,
                 average_clips: str | None = "prob", **kwargs) -> None:
        check_choice("score", score, SCORES)
        if loss is not None:
            check_choice("loss", loss, tuple(LOSSES))
            if loss_cls is not None:
                raise ValueError(f"loss={loss!r} and loss_cls={loss_cls!r} are two losses; give one of them")
        check_pool(pool, tower_of(arch))
        if num_draws < 1:
            raise ValueError(f"num_draws must be at least 1, got {num_draws}")
        if bank is None and (kinds, per_kind) != (None, None):
            raise ValueError("kinds and per_kind choose from a bank, and there is none; give bank, or leave them out")
        if bank is not None and classes is None:
            raise ValueError("a bank holds texts of classes, and there are none; give classes")
        names = None if classes is None else read_lines(classes, "classes")
        if names is not None and num_classes is not None and len(names) != num_classes:
            source = classes if isinstance(classes, str) else "the list of classes"
            raise ValueError(f"{source} names {len(names)} classes, but num_classes={num_classes}; "
                             "give the class list of the data set")
        clip = CLIPHead(arch)
        if loss is None and loss_cls is None:
            loss = "softmax" if clip.logit_bias is None else "sigmoid"
        super().__init__(num_classes if names is None else len(names), tower_of(arch).width,
                         loss_cls or dict(type=LOSSES[loss]), average_clips=average_clips, **kwargs)
        self.arch = arch
        self.pretrained = pretrained
        self.num_draws = num_draws
        self.frozen_text = frozen_text
        self.pool = pool
        self.score = score
        self.draw_seed = draw_seed
        self.clip = clip
        self.encoding = dict(tokens_at_once=tokens_at_once, checkpointing=grad_checkpointing)
        self.share_texts = share_texts
        self.clip.text.requires_grad_(not frozen_text)
        for part in self.clip.image_parts():
            part.requires_grad_(not frozen_visual)
        self.register_load_state_dict_pre_hook(refuse_other_sizes)
        self.next_draw = 0
        self._tokenize = partial(tokenize, arch=arch)
        self.texts: Texts | None = None
        if names is not None:
            templates = read_lines(templates, "templates") if templates else ()
            bank = None if bank is None else read_bank(bank)
            self.texts = texts_of_classes(names, self._tokenize, templates, bank, kinds, per_kind)
        if text_offsets:
            if self.texts is None:
                raise ValueError("text_offsets are those of classes, and there are none; give classes")
            self.clip.learn_offsets(self.texts)

    @property
    def text_tokens(self) -> Tensor | None:
        """Token ids of the texts, ``(C, M, context)``, on the CPU; None where there are none."""
        return None if self.texts is None else self.texts.tokens

    @property
    def class_names(self) -> list[str] | None:
        """The classes in label order; None where texts were given without names."""
        return None if self.texts is None or self.texts.names is None else list(self.texts.names)

    @property
    def text_source(self) -> dict:
        """What a run's record says of its texts."""
        return {} if self.texts is None else dict(self.texts.source)

    def init_weights(self) -> None:
        """Load the pretrained weights; a run does not go on without them."""
        super().init_weights()
        if self.pretrained:
            path = resolve_pretrained(self.pretrained, self.arch)
            load_strict(self.clip, head_weights(read_state_dict(path)), f"text tower of {path}")

    def train(self, mode: bool = True) -> ContrastiveTextHead:
        """A frozen text tower stays in evaluation mode."""
        super().train(mode)
        self.clip.text.train(mode and not self.frozen_text)
        return self

    def set_texts(self, texts: Sequence[Sequence[str]] | Sequence[str] | Tensor) -> None:
        """Set what the classes are, and how many.

        Args:
            texts: ``M`` strings for each of ``C`` classes, one string for each class, or token ids
                ``(C, M, context)`` or ``(C, context)``.

        Raises:
            ValueError: Classes with different numbers of texts or none, no class at all, or token ids of another shape.
        """
        self.texts = texts_as_given(texts, self._tokenize, self.clip.context_length)
        self.num_classes = len(self.texts)

    def frame_features(self, tokens: Tensor) -> Tensor:
        """Unit embeddings of frames, by ``pool``: ``(B, T, L, D) -> (B, T, E)``.

        Raises:
            ValueError: The mean over tokens is asked for, but the neck hands on class tokens alone.
        """
        return self.clip.frame_features(tokens, self.pool)

    def video_features(self, tokens: Tensor) -> Tensor:
        """Mean over frames of their unit embeddings: ``(B, T, L, D) -> (B, E)``."""
        return self.frame_features(tokens).mean(dim=1)

    def text_features(self) -> Tensor:
        """Unit embeddings of the texts in play: ``(C, K, E)`` of a draw in training, ``(C, M, E)`` in evaluation.

        Without gradients, and in training with a frozen text tower, they are kept, and made anew when texts or weights
        are not those they were made from.
        """
        if self.texts is None:
            raise ValueError("the head has no texts; give classes=... in the config or call set_texts")
        draw = self._draw() if self.training else slice(None)
        if torch.is_grad_enabled() and not (self.training and self.frozen_text):
            features = self.clip.text_features(self.text_tokens[:, draw], share=self.training and self.share_texts,
                                               **self.encoding)
            return self.clip.moved(features, self.texts)
        return self.clip.kept_text_features(self.texts, **self.encoding)[:, draw]

    def logits(self, video: Tensor, text: Tensor) -> Tensor:
        """``exp(logit_scale) * <v, t>``: ``(B, E), (C, K, E) -> (B, K, C)``, float32 whatever runs under autocast."""
        return self.clip.logits(video, text)

    def forward(self, x: Tensor, **kwargs) -> Tensor:
        """Tokens ``(B, T, L, D)`` of backbone or neck -> logits ``(B, K, C)``; ``K = M`` in evaluation."""
        return self.logits(self.video_features(x), self.text_features())

    def loss_by_feat(self, cls_scores: Tensor, data_samples: list) -> dict:
        """Equation 9: the loss (hard or soft targets, label smoothing) for each draw, averaged over draws."""
        draws = [super(ContrastiveTextHead, self).loss_by_feat(draw, data_samples) for draw in cls_scores.unbind(1)]
        return {name: torch.stack([losses[name] for losses in draws]).mean(0) for name in draws[0]}

    def predict_by_feat(self, cls_scores: Tensor, data_samples: list) -> list:
        """Equation 10 over descriptions, then the host's average over views."""
        return super().predict_by_feat(class_scores(cls_scores, self.score), data_samples)

    def _draw(self) -> Tensor:
        """``K`` of ``M`` description numbers, the same for all classes, given by seed and number of the draw.

        ``DrawTextsHook`` sets the number to the iteration; without it draws are numbered as they come.
        """
        generator = torch.Generator().manual_seed((self.draw_seed << 32) + self.next_draw)
        self.next_draw += 1
        return torch.randperm(self.text_tokens.shape[1], generator=generator)[:self.num_draws]
