"""Contrastive text head: class texts through CLIP's text encoder against the video (paper equations 3, 9 and 10).

Letters: ``B`` clips, ``T`` frames, ``L`` tokens of a frame, ``D`` width, ``E`` embedding size, ``C`` classes, ``M``
descriptions of a class, ``K`` of them drawn for one training step.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from mmaction.models.heads import BaseHead
from mmaction.registry import MODELS
from mmengine.logging import MessageHub
from torch import Tensor
from torch.distributed.tensor import DTensor

from ..clip import Arch, CLIPHead, tokenize, vision_width
from ..language.bank import read_bank
from ..language.encoder import TOKENS_AT_ONCE
from ..language.prompts import ACTION_TEMPLATES, class_texts, read_lines
from ..weights import head_weights, load_strict, read_state_dict, refuse_other_sizes, resolve_pretrained

SCORES = ("prob", "similarity")
POOLS = ("class_token", "mean")


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
        pretrained: Weights file or open_clip tag for text tower, ``ln_post``, projection and logit scale, loaded by
            ``init_weights``; that of the backbone.
        num_draws: ``K`` of equation 9; all ``M`` where there are no more.
        frozen_text: Train nothing of the text tower.
        frozen_visual: Train nothing of ``ln_post`` and projection, the image tower's part that lies here.
        grad_checkpointing: Trade time for activation memory of the text tower: that of one batch of texts remains.
        tokens_at_once: Tokens of a batch of texts.
        share_texts: In distributed training each rank encodes its part of the texts of a step.
        pool: What stands for a frame: its class token, or the mean over its tokens, which patterns without exchange
            between tokens of a frame need (``pipeline``, paper section 3.2).
        score: ``prob``: softmax over classes for each description, mean over descriptions (published code);
            ``similarity``: sum of similarities over descriptions (equation 10).
        draw_seed: Seed of the draws; draw number ``n`` of a run is the same on every rank and after a resume.
        loss_cls, label_smooth_eps, topk, average_clips: As in every head of MMAction2. ``average_clips`` averages
            the views of a clip: ``prob`` their probabilities, ``score`` their logits (log-probabilities or
            similarities).

    Raises:
        ValueError: Class list and ``num_classes`` differ, a template without ``{}``, an unknown ``score``, a bank that
            has not as many texts for every class, a bank without classes, kinds without a bank, or neither templates
            nor bank.
        FileNotFoundError: A file of classes, templates or texts does not exist.
    """

    def __init__(self, arch: Arch, classes: str | Sequence[str] | None = None, num_classes: int | None = None,
                 templates: str | Sequence[str] | None = ACTION_TEMPLATES, bank: str | Mapping | None = None,
                 kinds: Sequence[str] | None = None, per_kind: int | None = None, pretrained: str | None = None,
                 num_draws: int = 5, frozen_text: bool = False, frozen_visual: bool = False,
                 grad_checkpointing: bool = False, tokens_at_once: int = TOKENS_AT_ONCE, share_texts: bool = True,
                 pool: str = "class_token", score: str = "prob", draw_seed: int = 0,
                 average_clips: str | None = "prob", **kwargs) -> None:
        if score not in SCORES:
            raise ValueError(f"unknown score {score!r}; one of {', '.join(SCORES)}")
        if pool not in POOLS:
            raise ValueError(f"unknown pool {pool!r}; one of {', '.join(POOLS)}")
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
        super().__init__(num_classes if names is None else len(names), vision_width(arch),
                         average_clips=average_clips, **kwargs)
        self.arch = arch
        self.class_names: list[str] | None = None
        self.text_source: dict = {}  # what a run's record says of its texts
        self.pretrained = pretrained
        self.num_draws = num_draws
        self.frozen_text = frozen_text
        self.pool = pool
        self.score = score
        self.draw_seed = draw_seed
        self.clip = CLIPHead(arch)
        self.encoding = dict(tokens_at_once=tokens_at_once, checkpointing=grad_checkpointing)
        self.share_texts = share_texts
        self.clip.text.requires_grad_(not frozen_text)
        self.clip.ln_post.requires_grad_(not frozen_visual)
        self.clip.proj.requires_grad_(not frozen_visual)
        self.register_load_state_dict_pre_hook(refuse_other_sizes)
        self.text_tokens: Tensor | None = None  # (C, M, context), on the CPU: lengths are read without a GPU's waiting
        self._cached: tuple | None = None
        self._draws = 0
        if names is not None:
            texts = class_texts(names, read_lines(templates, "templates") if templates else ())
            source: dict = dict(templates=len(texts[0]))
            if bank is not None:
                bank = read_bank(bank)
                further = bank.texts(names, kinds, per_kind)
                texts = [own + more for own, more in zip(texts, further)]
                chosen = bank.kinds if kinds is None else kinds
                source.update(bank=bank.source, bank_sha256=bank.digest,
                              kinds={kind: len(bank.texts(names, [kind], per_kind)[0]) for kind in chosen})
            if not texts[0]:
                raise ValueError("neither templates nor bank: the classes have no texts")
            self.set_texts(texts)
            self.class_names, self.text_source = names, source

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
        if isinstance(texts, str):
            raise ValueError(f"texts={texts!r} is one string; give a list with a text, or several, for each class")
        if not len(texts):
            raise ValueError("no texts: at least one class is needed")
        if isinstance(texts, Tensor):
            context = self.clip.text.context_length
            if texts.ndim not in (2, 3) or texts.shape[-1] != context:
                raise ValueError(f"token ids of shape {tuple(texts.shape)}; "
                                 f"expected (C, M, {context}) or (C, {context})")
            tokens = texts if texts.ndim == 3 else texts.unsqueeze(1)
        else:
            texts = [[entry] if isinstance(entry, str) else list(entry) for entry in texts]
            counts = [len(entry) for entry in texts]
            if len(set(counts)) != 1:
                odd = next(i for i, count in enumerate(counts) if count != counts[0])
                raise ValueError(f"class 0 has {counts[0]} texts, class {odd} ({texts[odd][:1]}) has {counts[odd]}; "
                                 "every class needs the same number")
            if not counts[0]:
                raise ValueError("no texts: the classes have none; at least one for each is needed")
            flat = tokenize([text for entry in texts for text in entry], self.arch)
            tokens = flat.unflatten(0, (len(texts), counts[0]))
        self.num_classes, self.class_names = len(tokens), None
        self.text_source = dict(set_by="set_texts")
        self.text_tokens = tokens.cpu()

    def frame_features(self, tokens: Tensor) -> Tensor:
        """Unit embeddings of frames, by ``pool``: ``(B, T, L, D) -> (B, T, E)``.

        Raises:
            ValueError: The mean over tokens is asked for, but the neck hands on class tokens alone.
        """
        if self.pool == "mean":
            if tokens.shape[2] == 1:
                raise ValueError("pool='mean' reads all tokens, the neck gives class tokens alone; set "
                                 "class_tokens_only=False on the neck")
            tokens = tokens.mean(dim=2, keepdim=True)
        return self.clip.frame_features(tokens)

    def video_features(self, tokens: Tensor) -> Tensor:
        """Mean over frames of their unit embeddings: ``(B, T, L, D) -> (B, E)``."""
        return self.frame_features(tokens).mean(dim=1)

    def text_features(self) -> Tensor:
        """Unit embeddings of the texts in play: ``(C, K, E)`` of a draw in training, ``(C, M, E)`` in evaluation.

        Without gradients, and in training with a frozen text tower, they are kept, and made anew when texts or weights
        are not those they were made from.
        """
        if self.text_tokens is None:
            raise ValueError("the head has no texts; give classes=... in the config or call set_texts")
        draw = self._draw() if self.training else slice(None)
        if torch.is_grad_enabled() and not (self.training and self.frozen_text):
            return self.clip.text_features(self.text_tokens[:, draw], share=self.training and self.share_texts,
                                           **self.encoding)
        return self._kept_features()[:, draw]

    @torch.no_grad()
    def _kept_features(self) -> Tensor:
        weights = self._fingerprint()
        if self._cached is None or self._cached[0] != weights or not torch.equal(self._cached[1], self.text_tokens):
            features = self.clip.text_features(self.text_tokens, **self.encoding)
            self._cached = (weights, self.text_tokens.clone(), features)
        return self._cached[2]

    def logits(self, video: Tensor, text: Tensor) -> Tensor:
        """``exp(logit_scale) * <v, t>``: ``(B, E), (C, K, E) -> (B, K, C)``, float32 whatever runs under autocast."""
        with torch.autocast(video.device.type, enabled=False):
            return self.clip.logit_scale.float().exp() * torch.einsum("be,cke->bkc", video.float(), text.float())

    def forward(self, x: Tensor, **kwargs) -> Tensor:
        """Tokens ``(B, T, L, D)`` of backbone or neck -> logits ``(B, K, C)``; ``K = M`` in evaluation."""
        return self.logits(self.video_features(x), self.text_features())

    def loss_by_feat(self, cls_scores: Tensor, data_samples: list) -> dict:
        """Equation 9: the host's loss (hard or soft targets, label smoothing) for each draw, averaged over draws."""
        draws = [super(ContrastiveTextHead, self).loss_by_feat(draw, data_samples) for draw in cls_scores.unbind(1)]
        return {name: torch.stack([losses[name] for losses in draws]).mean(0) for name in draws[0]}

    def predict_by_feat(self, cls_scores: Tensor, data_samples: list) -> list:
        """Equation 10 over descriptions, then the host's average over views."""
        if self.score == "prob":
            scores = cls_scores.log_softmax(dim=-1).logsumexp(dim=1) - math.log(cls_scores.shape[1])
        else:
            scores = cls_scores.sum(dim=1)
        return super().predict_by_feat(scores, data_samples)

    def _draw(self) -> Tensor:
        """``K`` of ``M`` description numbers, the same for all classes, given by seed and training iteration."""
        M = self.text_tokens.shape[1]
        iteration = MessageHub.get_current_instance().get_info("iter", self._draws)
        self._draws += 1
        generator = torch.Generator().manual_seed((self.draw_seed << 32) + iteration)
        return torch.randperm(M, generator=generator)[:self.num_draws]

    def _fingerprint(self) -> tuple:
        """The bits of every weight that text features depend on, summed up, and the precision they are made in.

        Version counters of tensors would be cheaper, but writes through ``.data`` (EMA hooks) do not move them.
        """
        weights = [weight.detach() for weight in (*self.clip.text.parameters(), *self.clip.text.buffers())]
        sharded = any(isinstance(weight, DTensor) for weight in weights)  # then each rank sums up its part
        sums = torch.stack([_bit_sum(weight.to_local() if isinstance(weight, DTensor) else weight)
                            for weight in weights])
        if sharded:
            sums *= torch.distributed.get_rank() + 1
            torch.distributed.all_reduce(sums)
        device = self.clip.logit_scale.device
        precision = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
        return (device, precision, *sums.flatten().tolist())


def _bit_sum(x: Tensor) -> Tensor:
    """Two sums of the bit patterns of a tensor, by row and by column, each weighted by its number; int64, wrapping.

    Weighted both ways, so that a permutation along either axis shows.
    """
    bits = x.contiguous().view({8: torch.int64, 4: torch.int32, 2: torch.int16}[x.element_size()])
    bits = bits.reshape(-1, x.shape[-1]) if x.ndim > 1 else bits.reshape(-1, 1)
    sums = (bits.sum(dim=1, dtype=torch.int64), bits.sum(dim=0, dtype=torch.int64))
    return torch.stack([(part * torch.arange(1, len(part) + 1, device=x.device)).sum() for part in sums])
