"""One explained video-text pair, ready to be drawn.

Pure: imports nothing of ``mm*``.
Letters: ``T`` frames, ``H, W`` pixels, ``h, w`` patches of a frame down and across: the grid of the image tower's
tokens.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from open_clip import SimpleTokenizer
from torch import Tensor

from ..towers.architectures import Arch
from ..towers.tokenizer import tokenizer_of


@dataclass
class Explanation:
    """What a similarity rests on; maps and words without unit, none below zero."""

    text: str
    words: list[tuple[str, float]] | None
    """Words of the text and their relevance, as the tokenizer tells words (and punctuation) apart; None where the text
    tower's attention cannot be read."""
    similarity: float
    """Cosine of video and text."""
    against: tuple[str, ...]
    """Texts that the relevance sets this one apart from; none for the similarity itself."""
    ranked: list[tuple[str, float]]
    """Likeliest labels and their probabilities."""
    frames: np.ndarray
    """As the model saw them, before normalisation: RGB, uint8, ``(T, H, W, 3)``."""
    frame_numbers: list[int]
    """Where they lie in the video, ``T``."""
    spatial: np.ndarray | None
    """Relevance of patches within each frame, image tower alone, ``(T, h, w)``; None where the tower has no attention
    that can be read."""
    temporal: np.ndarray
    """Relevance of patches in the temporal transformer alone, ``(T, h, w)``."""
    combined: np.ndarray | None
    """Relevance of patches through both, ``(T, h, w)``; None where ``spatial`` is."""
    frame_relevance: np.ndarray
    """Relevance of whole frames in the temporal transformer, ``(T,)``."""
    label: str | None = None
    """The label in ``ranked`` that the text stands for; None where it is the text itself."""

    @property
    def absent(self) -> list[str]:
        """What is not explained, and why, in words."""
        return [f"no {what}: the {tower} tower has no attention that can be read" for what, tower, value in (
            ("spatial map", "image", self.spatial), ("words", "text", self.words)) if value is None]

    def save(self, path: str | Path, **how: Any) -> None:
        """Write what the suffix says: a picture, a film, or a page that needs nothing beside it.

        Args:
            path: ``.png``, ``.pdf``, ``.svg``, ``.mp4`` or ``.html``.
            how: Arguments of ``draw_explanation`` (``width``, ``max_frames``) or ``write_film``
                (``frames_per_second``).

        Raises:
            ValueError: Another suffix.
            OSError: The file cannot be written.
        """
        from .film import write_film
        from .page import write_page
        from .pictures import PICTURES, draw_explanation
        suffix = Path(path).suffix.lower()
        writers: dict[str, Callable[..., object]] = {
            **dict.fromkeys(PICTURES, draw_explanation), ".mp4": write_film, ".html": write_page}
        if suffix not in writers:
            raise ValueError(f"{path}: unknown kind of file; one of {', '.join(writers)}")
        writers[suffix](self, path, **how)


def words_of(tokens: Tensor, relevance: Tensor | Sequence[float], arch: Arch) -> list[tuple[str, float]]:
    """Relevance of words: the sum over their tokens, without the marks of start and end.

    Args:
        tokens: Token ids of a text, ``(context,)``.
        relevance: Of each token, ``(context,)``.
        arch: The architecture, which names the tokenizer.

    A piece that begins with a space begins a word, whichever marks a tokenizer writes spaces with; CLIP's own marks
    where words end, and punctuation is a word to it.
    """
    tokenizer: Any = tokenizer_of(arch)
    ids, shares = tokens.tolist(), list(map(float, relevance))
    if isinstance(tokenizer, SimpleTokenizer):
        return _words_of_clip(tokenizer, ids, shares)
    hub = tokenizer.tokenizer
    marks = {hub.bos_token_id, hub.eos_token_id, hub.sep_token_id, hub.cls_token_id, hub.pad_token_id}
    words: list[tuple[list[int], float]] = []
    before = ""
    pieces: list[int] = []
    for token, share in zip(ids, shares):
        if token in marks:
            continue
        pieces.append(token)
        text = hub.decode(pieces, clean_up_tokenization_spaces=False)
        begins = not before.strip() or text[len(before.rstrip()):][:1].isspace()
        if not words or (begins and hub.decode(words[-1][0]).strip()):
            words.append(([], 0.0))
        words[-1] = [*words[-1][0], token], words[-1][1] + share
        before = text
    return [(hub.decode(own).strip(), value) for own, value in words]


def _words_of_clip(tokenizer: SimpleTokenizer, ids: list[int], shares: list[float]) -> list[tuple[str, float]]:
    words: list[tuple[str, float]] = []
    pieces: list[int] = []
    value = 0.0
    for token, share in zip(ids, shares):
        if token == tokenizer.sot_token_id:
            continue
        ends = token == tokenizer.eot_token_id
        if not ends:
            pieces.append(token)
            value += share
        if pieces and (ends or tokenizer.decoder[token].endswith("</w>")):
            words.append((tokenizer.decode(pieces).strip(), value))
            pieces, value = [], 0.0
        if ends:
            break
    return words
