"""What a model costs, counted on the model itself, without its weights: parameters and multiply-accumulates.

Pure: torch and the pure parts of this package.
Letters: ``B`` clips, ``T`` frames, ``L`` tokens of a frame, ``S = T * L``, ``D`` width, ``N`` texts, ``n`` tokens of a
text, ``C`` classes, ``M`` descriptions of a class, ``K`` of them drawn for a training step.

A recogniser is run on tensors that have shapes and no data, so that what is counted is what runs, in seconds whatever
its size. A multiply-accumulate is a multiplication and its addition; papers of this field call it a FLOP. Those of
convolutions and matrix products are counted; what works number by number (norms, activations, softmax) is not.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from .attention.patterns import check_pattern
from .language.encoder import encode_texts
from .temporal import KroneckerAttention, KroneckerTransformer

aten = torch.ops.aten
CONVOLUTIONS = (aten.convolution,)
LINEAR_MAPS = (aten.mm, aten.addmm)
PARTS = {
    "backbone.": "image tower",
    "neck.": "temporal neck",
    "cls_head.clip.text.": "text tower",
    "cls_head.clip.logit_": "logit scale",
    "cls_head.clip.": "pooling and projection",
    "cls_head.": "head",
}
"""Parts of a recogniser by the beginning of their parameters' names; the first that fits counts."""


class WeightsOnMeta(TorchFunctionMode):
    """As ``torch.device("meta")``, for floating-point tensors without data of their own, which is what weights begin
    as.

    Numbers that constructors read (``linspace`` of drop-path rates) and token ids are made as ever.
    """
    FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        dtype = kwargs.get("dtype") or torch.get_default_dtype()
        if func in self.FACTORIES and kwargs.get("device") is None and dtype.is_floating_point:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def build_without_weights(build: Callable[[], nn.Module]) -> nn.Module:
    """What ``build()`` gives, with all parameters and buffers on the meta device, in evaluation mode."""
    with WeightsOnMeta():
        model = build()
    return model.to("meta").eval()


def parameters(model: nn.Module, trainable: bool = False) -> dict[str, int]:
    """Parameters by part of a recogniser, all or the trainable ones."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = next((part for start, part in PARTS.items() if name.startswith(start)), None)
        if part is None:
            raise ValueError(f"parameter {name} of {type(model).__name__} lies in none of {', '.join(PARTS)}; costs "
                             "are counted for recognisers of a backbone, a neck and a head")
        counts[part] = counts.get(part, 0) + parameter.numel() * (parameter.requires_grad or not trainable)
    return counts


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates by kind: ``maps`` are the linear maps around attention, ``products`` its two products of
    queries with keys and of weights with values; convolutions within MLPs, as FastViT has them, are MLPs'."""
    convolutions: int = 0
    mlps: int = 0
    maps: int = 0
    products: int = 0
    other: int = 0

    def __add__(self, more: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(more))))

    def __sub__(self, less: Work) -> Work:
        return Work(*(a - b for a, b in zip(astuple(self), astuple(less))))

    @property
    def total(self) -> int:
        """All kinds together."""
        return sum(astuple(self))


def allowed_pairs(pattern: str, num_frames: int, L: int) -> int:
    """Pairs of query and key whose products a pattern needs; a patch under ``class_token`` needs none."""
    check_pattern(pattern)
    T, S = num_frames, num_frames * L
    return {"kmt": S * (S - L) + S, "kmct": S * (S - L) // 2 + S, "joint": S * S, "spatial": T * L * L,
            "pipeline": L * T * T, "class_token": T * T}[pattern]


def count(model: nn.Module, *args: Tensor, parts: tuple[str, ...] = ("",), every_pair: bool = False) -> list[Work]:
    """Work of ``model(*args)``, on the meta device.

    Temporal attention under a mask is counted by its allowed pairs, since how many blocked pairs are computed beside
    them depends on the backend, and the fastest ones compute none.

    Args:
        parts: Names of the submodules whose work is wanted, one by one; ``""`` is the model.
        every_pair: Count the blocked pairs too, as attention under a dense mask computes them.

    Raises:
        ValueError: The model reads values, or cannot take inputs of these shapes.
    """
    masked: dict[str, int] = {}

    def note(name: str) -> Callable:
        def see(pattern: str, x: Tensor, num_frames: int, class_tokens_only: bool = False) -> None:
            if pattern in ("kmt", "kmct") and not class_tokens_only:
                B, S, D = x.shape
                pairs = S * S if every_pair else allowed_pairs(pattern, num_frames, S // num_frames)
                masked[name] = masked.get(name, 0) + 2 * B * D * pairs
        return lambda attention, args, kwargs, _: see(attention.pattern, *args, **kwargs)

    root = type(model).__name__
    hooks = [module.register_forward_hook(note(f"{root}.{name}"), with_kwargs=True)
             for name, module in model.named_modules() if isinstance(module, KroneckerAttention)]
    try:
        with _frozen_inputs(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(*args)
    except (NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{root} cannot be run on tensors without data, inputs {[tuple(x.shape) for x in args]}, so "
                         f"its work cannot be counted: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    counts = {name: {op: flops // 2 for op, flops in ops.items()} for name, ops in counter.get_flop_counts().items()}
    kinds = dict(_kinds(model, root))
    return [_work(counts, masked, kinds, f"{root}.{part}".rstrip(".")) for part in parts]


@contextmanager
def _frozen_inputs(model: nn.Module) -> Iterator[None]:
    """Without gradients of the parameters that are inputs of modules: the counter follows those of inputs, and fails
    over a parameter, as the query of attention pooling is."""
    inputs = [parameter for module in model.modules() if any(True for _ in module.children())
              and not isinstance(module, nn.MultiheadAttention)  # its own are weights
              for parameter in module.parameters(recurse=False) if parameter.requires_grad]
    try:
        for parameter in inputs:
            parameter.requires_grad = False
        yield
    finally:
        for parameter in inputs:
            parameter.requires_grad = True


def _kinds(module: nn.Module, name: str) -> Iterator[tuple[str, str]]:
    """Names of the outermost MLPs and attentions in a module, open_clip's, timm's and this package's."""
    for own, child in module.named_children():
        below = f"{name}.{own}"
        if own == "mlp":
            yield below, "mlp"
        elif own == "attn" or type(child).__name__.endswith("Attention"):
            yield below, "attention"
        else:
            yield from _kinds(child, below)


def _work(counts: dict[str, dict], masked: dict[str, int], kinds: dict[str, str], part: str) -> Work:
    """Work below one module, by the kinds of the modules in it."""
    own = counts.get(part, {})
    convolutions = sum(own.get(op, 0) for op in CONVOLUTIONS)
    mlps = maps = products = by_pairs = 0
    for name, kind in kinds.items():
        ops = counts.get(name, {})
        if not name.startswith(f"{part}.") or not ops:
            continue
        linear, all_of_it = sum(ops.get(op, 0) for op in LINEAR_MAPS), sum(ops.values())
        convolved = sum(ops.get(op, 0) for op in CONVOLUTIONS)
        convolutions -= convolved
        if kind == "mlp":
            mlps += all_of_it
        else:
            maps += linear + convolved
            products += all_of_it - linear - convolved
            by_pairs += masked.get(name, all_of_it - linear - convolved)
    return Work(convolutions, mlps, maps, by_pairs, sum(own.values()) - convolutions - mlps - maps - products)


class VideoSide(nn.Module):
    """The part of a recogniser that sees videos: all of it, but for the texts of a contrastive head."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.reads_texts = hasattr(model.cls_head, "video_features")

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeddings ``(B, E)`` or scores of ``inputs``, shaped as the recogniser takes them."""
        if self.reads_texts:
            head: Any = self.model.cls_head
            return head.video_features(self.model(inputs, stage="neck"))
        return self.model(inputs, stage="head")


def video_work(model: nn.Module, inputs: Tensor, all_tokens: bool = False, every_pair: bool = False) -> dict[str, Work]:
    """Work of image tower, temporal neck and head on clips.

    Args:
        inputs: What the recogniser takes, on the meta device.
        all_tokens: Let the last temporal block compute all tokens, even where class tokens alone are read.
        every_pair: See ``count``.
    """
    with _all_tokens(model, all_tokens):
        image, temporal, whole = count(VideoSide(model), inputs, parts=("model.backbone", "model.neck", ""),
                                       every_pair=every_pair)
    return {"image tower": image, "temporal neck": temporal, "head": whole - image - temporal}


@contextmanager
def _all_tokens(model: nn.Module, on: bool) -> Iterator[None]:
    necks = [module for module in model.modules() if isinstance(module, KroneckerTransformer)]
    before = [neck.class_tokens_only for neck in necks]
    try:
        for neck in necks:
            neck.class_tokens_only = neck.class_tokens_only and not on
        yield
    finally:
        for neck, value in zip(necks, before):
            neck.class_tokens_only = value


class TextSide(nn.Module):
    """``encode_texts`` as a module, which keeps the shapes ``(N, n)`` of the batches that went through the tower."""

    def __init__(self, tower: nn.Module, tokens_at_once: int) -> None:
        super().__init__()
        self.tower, self.tokens_at_once = tower, tokens_at_once
        self.batches: list[tuple[int, int]] = []

    def forward(self, tokens: Tensor) -> Tensor:
        """``(N, context) -> (N, E)``."""
        self.batches = []
        hook = self.tower.register_forward_pre_hook(lambda _, inputs: self.batches.append(tuple(inputs[0].shape)))
        try:
            return encode_texts(self.tower, tokens, self.tokens_at_once)
        finally:
            hook.remove()


@dataclass(frozen=True)
class TextWork:
    """Multiply-accumulates of the text tower, forward.

    ``step`` and ``evaluation`` are what ``encode_texts`` computes: texts as long as they are, equal ones once. A step
    is the mean over draws that together draw each description once, as far as ``K`` divides ``M``. ``uncut`` is the
    same with every text at the tower's whole context. ``batches`` are the shapes ``(N, n)`` of the draw with most
    tokens.
    """
    one_uncut: Work
    step: int = 0
    step_uncut: int = 0
    evaluation: int = 0
    evaluation_uncut: int = 0
    batches: tuple[tuple[int, int], ...] = ()


def text_work(tower: Any, text_tokens: Tensor | None, num_draws: int, tokens_at_once: int,
              frozen: bool = False) -> TextWork:
    """Work of the text side.

    Args:
        tower: The text tower, on the meta device.
        text_tokens: ``(C, M, context)``, with data; None where the classes have no texts yet.
        num_draws: ``K``.
        tokens_at_once: See ``encode_texts``.
        frozen: The tower is not trained, so that a training step finds all features kept.
    """
    one, = count(tower, torch.zeros(1, tower.context_length, dtype=torch.long, device="meta"))
    if text_tokens is None:
        return TextWork(one)
    side = TextSide(tower, tokens_at_once)
    C, M, _ = text_tokens.shape
    evaluation = count(side, text_tokens.flatten(0, 1))[0].total
    if frozen:
        return TextWork(one, evaluation=evaluation, evaluation_uncut=C * M * one.total)
    K = min(num_draws, M)
    order = torch.randperm(M, generator=torch.Generator().manual_seed(0))
    steps, batches = [], []
    for draw in order[:M // K * K].split(K):
        steps.append(count(side, text_tokens[:, draw].flatten(0, 1))[0].total)
        batches.append(tuple(side.batches))
    return TextWork(one, sum(steps) // len(steps), C * K * one.total, evaluation, C * M * one.total,
                    max(batches, key=lambda shapes: sum(N * n for N, n in shapes)))
