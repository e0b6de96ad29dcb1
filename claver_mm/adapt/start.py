"""What a training on one's own videos starts from: a recogniser with classes, texts that can learn, a temporal part
that is nothing yet."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..language.shipped import find_bank
from ..protocols.views import read_view
from ..randomness import drawing_from
from ..recognizer import Recognizer
from ..settings.keys import plain
from ..towers.head import class_tokens_suffice

OFFSETS = "clip.text_offsets"
DEPTH, WIDEST = 2, 256
"""Blocks and width of a temporal part, unless told: a branch beside the tokens, of some million weights behind any
tower."""
EMBEDDING_STD = 0.5
"""Of the temporal embedding of such a branch. A time that can be told from the start, as in ``claver_motion.py``: the
branch is zero at first by its projection, so that nothing need be small within."""


@dataclass(frozen=True)
class Temporal:
    """The temporal part that stands behind a tower which has none."""

    pattern: str | None = None
    """``kmt``, ``kmct`` and so on; None for that of what is kept of a clip, ``kmt`` mostly."""
    depth: int | None = None
    """Blocks; 2 when None."""
    embed_dims: int | None = None
    """Width; that of the tower, but 256 at most, when None."""


def started(recognizer: Recognizer, classes: Sequence[str], temporal: Temporal | None, *,
            text_offsets: bool = True, token_grid: int | None = None,
            templates: Sequence[str] | None = None, seed: int = 0) -> Recognizer:
    """A recogniser of other classes, with the answers that ``recognizer`` gives now: what is added is zero at first.

    Args:
        recognizer: Stays as it is; the image and text towers are shared.
        classes: In label order.
        temporal: Behind a tower without one; a recogniser that has a temporal part keeps it, and trains it further.
            With None none is added, and one that is there stays as it is.
        text_offsets: Let the texts of classes learn, from what ``recognizer`` has learnt of them; else they stay so.
        token_grid: What the temporal part sees of a frame, see ``CLIPBackbone``; as ``recognizer`` has it when None.
            Towers that read all tokens of a frame give other answers then.
        seed: Of what is drawn in the temporal part.
        templates: Put around the names of classes; those of ``recognizer`` when None, or where it has none those of
            any other labels. Beside them stand the texts of a shipped bank that knows all of them, where
            ``recognizer`` takes such. Classes that are all its own keep the texts that it has from a bank.

    Raises:
        ValueError: Classes that cannot be told apart, a temporal part that does not fit the tower, or another than
            ``recognizer`` has.
    """
    model = plain(recognizer.config.model)
    model["backbone"]["frozen"] = True
    if token_grid is not None:
        model["backbone"]["token_grid"] = token_grid
    head = model["cls_head"]
    learnt = recognizer.head.clip.text_offsets is not None
    head.update(classes=list(classes), frozen_text=True, frozen_visual=True, text_offsets=text_offsets or learnt)
    _set_texts(head, recognizer, classes, templates)
    state = {name: value for name, value in recognizer.model.state_dict().items() if not name.endswith(OFFSETS)}
    if temporal is not None and model.get("neck"):
        _check_same(temporal, recognizer)
    elif temporal is not None:
        arch, tower = head["arch"], recognizer.claver.clip.tower
        width = min(WIDEST, tower.width) if temporal.embed_dims is None else temporal.embed_dims
        model["neck"] = dict(
            type="TemporalNeck", arch=arch, pattern=temporal.pattern or "kmt", depth=temporal.depth or DEPTH,
            embed_dims=None if width == tower.width else width, embedding_std=EMBEDDING_STD,
            num_frames=read_view(recognizer.steps("one")).frames, zero_init_residual=width == tower.width,
            class_tokens_only=class_tokens_suffice(tower, recognizer.head.pool))
        with DefaultScope.overwrite_default_scope("mmaction"), drawing_from(seed):
            neck = MODELS.build(dict(model["neck"]))
        state |= {f"neck.{name}": value for name, value in neck.state_dict().items()}
    if head["text_offsets"]:
        state[f"cls_head.{OFFSETS}"] = torch.zeros(len(classes), recognizer.head.clip.embed_dim)
    config = dict(default_scope="mmaction", model=model)
    for split, views in (("val", "one"), ("test", "config")):
        config[f"{split}_dataloader"] = dict(batch_size=8, num_workers=2, dataset=dict(
            type="ActionVideoDataset", pipeline=recognizer.steps(views), test_mode=True))
    begun = Recognizer(Config(config), state, recognizer.claver.device)
    begun._prompts_of_known_labels, begun._tower = recognizer._prompts_of_known_labels, recognizer._tower
    if learnt:
        begun.head.clip.take_offsets(recognizer.head.clip)
    trained = (("temporal.", "project.") if temporal is not None else ()) + ((OFFSETS,) if text_offsets else ())
    for name, parameter in begun.claver.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    return begun


def _set_texts(head: dict, recognizer: Recognizer, classes: Sequence[str], templates: Sequence[str] | None) -> None:
    """Say in the settings of a head where the texts of classes come from."""
    own, had_bank = recognizer._own, head.get("bank") is not None
    for key in ("num_classes", "bank", "kinds", "per_kind"):
        head.pop(key, None)
    if templates is not None:
        head["templates"] = list(templates)
    elif had_bank and set(classes) <= set(own.names):
        texts = dict(zip(*own.named[:2]))
        head.update(templates=None, bank={name: list(texts[name]) for name in classes})
        return
    elif not head.get("templates", True):
        del head["templates"]
    bank = find_bank(classes) if recognizer._prompts_of_known_labels else None
    if bank is not None:
        head["bank"] = bank


def _check_same(temporal: Temporal, recognizer: Recognizer) -> None:
    """``ValueError`` where another temporal part is asked for than a recogniser has, which is trained further."""
    has = recognizer.claver.temporal
    for what, asked, own in (("pattern", temporal.pattern, has.pattern), ("depth", temporal.depth, len(has.resblocks)),
                             ("width", temporal.embed_dims, has.temporal_embedding.shape[2])):
        if asked not in (None, own):
            raise ValueError(f"the recogniser has a temporal part already, which is trained further: its {what} is "
                             f"{own} and cannot become {asked}; leave {what} out, or start from the tower")
