"""Token shuffling, the paper's test for spatiotemporal homogenization (section 5, appendix B, table 9, figure 6).

The tokens of all frames of a clip are thrown together in random order: before the temporal embedding is added
(PreTE), so that a token gets the embedding of the frame that it lands in, or after it (PostTE), so that it keeps its
own. A model that answers as before has not used where its tokens lie. Joint attention cannot: it has no mask, and what
it makes of a set of tokens does not depend on their order. The Kronecker masks read the frame of a token off its place.

Pure: imports nothing of ``mm*``.
Letters: ``B`` clips, ``T`` frames, ``L`` tokens of a frame (prefix tokens first), ``S = T * L``, ``D`` width.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..randomness import mixed_seed
from ..temporal import KroneckerTransformer
from .twin import hooked

PLACES = ("before", "after")
TOKENS = ("patches", "all")


@contextmanager
def shuffle_tokens(transformer: KroneckerTransformer, place: str = "before", tokens: str = "patches",
                   seed: int = 0, num_prefix: int = 1) -> Iterator[None]:
    """Inside, the transformer gets the tokens of every clip of this thread in a random order over all its frames.

    Every clip has a permutation of its own, given by ``seed`` and the clip's number since the beginning of the
    context. So the same clips in the same order are shuffled alike, in batches of any size.

    Args:
        transformer: Its tokens are shuffled; a forward pre-hook does it, which is gone afterwards whatever happens.
        place: ``before`` the temporal embedding is added (PreTE) or ``after`` (PostTE).
        tokens: ``patches``: class tokens stay. The paper does not say whether they move, but that PostTE shuffling
            leaves the similarity under joint attention as it is, which is so only where they stay: the head reads the
            first slot of every frame, and with ``all`` it would read whatever came to lie there, patches for the
            most part. ``all`` is for features without class tokens, such as maps of a ResNet.
        seed: Of all permutations.
        num_prefix: Tokens of a frame that are no patches: its class token, or none (``Tower.num_prefix``).

    Under ``class_token`` patches never enter the blocks: with ``patches``, nothing is shuffled after the embedding,
    and what is shuffled before it the head does not read.

    Raises:
        ValueError: An unknown ``place`` or ``tokens``, or a module of another kind or compiled.
    """
    for name, value, known in (("place", place, PLACES), ("tokens", tokens, TOKENS)):
        if value not in known:
            raise ValueError(f"unknown {name} {value!r}; one of {', '.join(known)}")
    if not isinstance(transformer, KroneckerTransformer):
        raise ValueError(f"tokens of a KroneckerTransformer can be shuffled, got {type(transformer).__name__}; of a "
                         "model's neck give neck.transformer")
    clips = 0

    def shuffled(x: Tensor, T: int) -> Tensor:
        """``(B, S, D)``, each clip in its order."""
        nonlocal clips
        orders = [token_order(x.shape[1], T, tokens, mixed_seed(seed, clips + b), num_prefix) for b in range(len(x))]
        clips += len(x)
        return x.gather(1, torch.stack(orders).to(x.device).unsqueeze(2).expand_as(x))

    def before(x: Tensor) -> tuple[tuple, dict]:
        return (shuffled(x.flatten(1, 2), x.shape[1]).view_as(x),), {}

    def after(x: Tensor, num_frames: int, *rest: object, **named: object) -> tuple[tuple, dict]:
        return (shuffled(x, num_frames), num_frames, *rest), named

    module, change = (transformer, before) if place == "before" else (transformer.resblocks[0], after)
    with hooked([(module, lambda _, args, kwargs: change(*args, **kwargs))], before=True):
        yield


def token_order(num_tokens: int, num_frames: int, tokens: str, seed: int, num_prefix: int = 1) -> Tensor:
    """Which token comes to lie at each place of a clip: a permutation of ``0 .. S-1``, ``(S,)``, on the CPU."""
    order = torch.arange(num_tokens)
    moving = order[order % (num_tokens // num_frames) >= num_prefix] if tokens == "patches" else order.clone()
    generator = torch.Generator().manual_seed(seed)
    order[moving] = moving[torch.randperm(len(moving), generator=generator)]
    return order
