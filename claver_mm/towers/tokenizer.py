"""Texts to token ids, by the tokenizer that a text tower was trained with.

Pure: imports torch and open_clip, nothing of ``mm*``.
"""
from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import lru_cache

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from torch import Tensor

from .architectures import PAPER_ARCHS, Arch, model_config


def tokenize(texts: list[str], arch: Arch) -> Tensor:
    """Token ids ``(N, context)`` of texts by the tokenizer of an architecture.

    Texts that do not fit the context with their end markers are cut there, with a warning that counts them and names
    the first.

    Raises:
        ValueError: The tokenizer cannot be had, or is not that of the text tower: ids beyond its vocabulary, or an end
            mark that it does not read a text at.
    """
    text_cfg = model_config(arch)["text_cfg"]
    tokenizer = tokenizer_of(arch)
    context = text_cfg.get("context_length", 77)
    if isinstance(tokenizer, open_clip.SimpleTokenizer) and text_cfg.get("vocab_size", 49408) < tokenizer.vocab_size:
        raise ValueError(f"the text tower knows {text_cfg['vocab_size']} tokens, CLIP's tokenizer has "
                         f"{tokenizer.vocab_size}; give token ids instead of strings")
    if not texts:
        return torch.zeros(0, context, dtype=torch.long)
    tokens = tokenizer(texts, context_length=context)
    full = tokens[:, -1] != _padding(tokenizer)  # others are shorter than the context
    counts = {text: count_tokens(text, arch) for text, is_full in zip(texts, full.tolist()) if is_full}
    cut = [text for text in texts if counts.get(text, 0) > context]
    if cut:
        more = f", and {len(cut) - 1} more of {len(texts)}" if cut[1:] else ""
        warnings.warn(f"text of {counts[cut[0]]} tokens is cut to the context of {context}: {cut[0]!r}{more}",
                      stacklevel=2)
    if "hf_model_name" not in text_cfg:  # such a tower comes with its own vocabulary, and is read in its own way
        _check_tokens(tokens, texts, tokenizer, text_cfg)
    return tokens


def _padding(tokenizer: Callable) -> int | None:
    return 0 if isinstance(tokenizer, open_clip.SimpleTokenizer) else tokenizer.tokenizer.pad_token_id


def _end_mark(tokenizer: Callable) -> int | None:
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return tokenizer.eot_token_id
    hub = tokenizer.tokenizer
    return hub.sep_token_id if hub.eos_token_id is None else hub.eos_token_id


def _check_tokens(tokens: Tensor, texts: list[str], tokenizer: Callable, text_cfg: dict) -> None:
    vocabulary = text_cfg.get("vocab_size", 49408)
    name = text_cfg.get("hf_tokenizer_name") or "CLIP's own"
    if tokens.max() >= vocabulary or tokens.min() < 0:
        raise ValueError(f"the text tower knows {vocabulary} tokens, the tokenizer ({name}) gives {tokens.max()}; set "
                         "hf_tokenizer_name and vocab_size of text_cfg to those that the tower was trained with")
    pool = text_cfg.get("pool_type", "argmax")
    if pool == "eos":
        end = text_cfg.get("eos_id", 2)
    elif pool == "argmax" and not text_cfg.get("tokenizer_mode"):
        end = _end_mark(tokenizer)
    else:
        return
    ends = (tokens == end).any(dim=1) if pool == "eos" else tokens.amax(dim=1) == (-1 if end is None else end)
    if not ends.all():
        text = texts[int((~ends).nonzero()[0])]
        where = f"its mark {end} (eos_id)" if pool == "eos" else f"its highest token, which is not the end mark {end}"
        raise ValueError(f"the text tower reads a text at {where}, but the tokenizer ({name}) gives {text[:60]!r} no "
                         "such end: set hf_tokenizer_name, pool_type and eos_id of text_cfg to those that the tower "
                         "was trained with")


def count_tokens(text: str, arch: Arch | None = None) -> int:
    """Tokens of a text with its end markers, uncut, by the tokenizer of an architecture; by CLIP's own when None."""
    tokenizer = _clip_tokenizer("{}") if arch is None else tokenizer_of(arch)
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return len(tokenizer.encode(text)) + 2
    return len(tokenizer.tokenizer(tokenizer.clean_fn(text)).input_ids)


def tokenizer_of(arch: Arch) -> Callable:
    """open_clip's tokenizer of an architecture: the one that its ``text_cfg`` names in ``hf_tokenizer_name`` (of the
    Hugging Face hub, or a folder with its files), with its ``tokenizer_kwargs``; else CLIP's own.

    Raises:
        ValueError: The tokenizer cannot be had.
    """
    text_cfg = {} if isinstance(arch, str) else arch["text_cfg"]
    name = arch if isinstance(arch, str) else text_cfg.get("hf_tokenizer_name")
    how = dict(text_cfg.get("tokenizer_kwargs") or {})
    try:
        if isinstance(arch, str):
            return _named_tokenizer(PAPER_ARCHS.get(arch, arch))
        if name:
            return _hub_tokenizer(name, text_cfg.get("tokenizer_mode"), json.dumps(how, sort_keys=True))
        return _clip_tokenizer(json.dumps(how, sort_keys=True))
    except Exception as error:  # of the hub, of its offline mode, of a folder, or of a package that is not there
        why = " ".join(str(error).split())[:300]
        raise ValueError(f"the tokenizer of {name!r} cannot be had ({why}); save it where there is a network "
                         "(transformers' save_pretrained) and give the folder as hf_tokenizer_name in text_cfg, or "
                         "give token ids instead of strings") from error


@lru_cache(maxsize=8)
def _named_tokenizer(name: str) -> Callable:
    return open_clip.get_tokenizer(name)


@lru_cache(maxsize=8)
def _hub_tokenizer(name: str, mode: str | None, how: str) -> Callable:
    return HFTokenizer(name, tokenizer_mode=mode, **json.loads(how))


@lru_cache(maxsize=8)
def _clip_tokenizer(how: str) -> Callable:
    return open_clip.SimpleTokenizer(**json.loads(how))
