"""Texts to token ids, by the tokenizer that a text tower was trained with.

Pure: imports torch and open_clip, nothing of ``mm*``.
"""
from __future__ import annotations

import json
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor

from .architectures import LOCAL_DIR, Arch, folder_of, model_config, shown_arch, written_config

CLIPTokenizer: TypeAlias = SimpleTokenizer | HFTokenizer
"""CLIP's own, or one of the Hugging Face kind; both clean a text in their own way (``clean``) first."""
FILES = "tokenizer.json, tokenizer_config.json and special_tokens_map.json"
KNOWN = ("clean", "strip_sep_token", "language", "reduction_mask", "additional_special_tokens", "use_fast")
"""What ``tokenizer_kwargs`` of a model config may say. transformers takes ``trust_remote_code`` at the same place, and
a config that comes from somewhere could have code run by it."""


def tokenize(texts: list[str], arch: Arch) -> Tensor:
    """Token ids ``(N, context)`` of texts by the tokenizer of an architecture.

    Texts that do not fit the context with their end markers are cut there, and texts of which the vocabulary knows
    nothing all become the same: a warning of either counts them and names the first.

    Raises:
        ValueError: The tokenizer cannot be had, or is not that of the text tower: ids beyond its vocabulary, or an end
            mark that it does not read a text at.
    """
    text_cfg = model_config(arch)["text_cfg"]
    tokenizer = tokenizer_of(arch)
    context = text_cfg.get("context_length", 77)
    if isinstance(tokenizer, SimpleTokenizer) and text_cfg.get("vocab_size", 49408) < tokenizer.vocab_size:
        raise ValueError(f"the text tower knows {text_cfg['vocab_size']} tokens, CLIP's tokenizer has "
                         f"{tokenizer.vocab_size}; give token ids instead of strings")
    if not texts:
        return torch.zeros(0, context, dtype=torch.long)
    tokens = tokenizer(texts, context_length=context)
    full = _may_be_cut(tokens, tokenizer).tolist()
    counts = {text: _count(text, tokenizer) for text, is_full in zip(texts, full) if is_full}
    cut = [text for text in texts if counts.get(text, 0) > context]
    if cut:
        warnings.warn(f"text of {counts[cut[0]]} tokens is cut to the context of {context}: {_first_of(cut, texts)}",
                      stacklevel=2)
    unknown = [text for text, is_unknown in zip(texts, _unknown(tokens, tokenizer).tolist()) if is_unknown]
    if unknown:
        warnings.warn(f"the tokenizer of {shown_arch(arch)} knows no part of {_first_of(unknown, texts)}; such texts "
                      "are all one to the model", stacklevel=2)
    if not text_cfg.get("hf_model_name"):  # such a tower comes with its own vocabulary, and is read in its own way
        _check_tokens(tokens, texts, tokenizer, text_cfg)
    return tokens


def _first_of(found: list[str], texts: list[str]) -> str:
    return repr(found[0]) + (f", and {len(found) - 1} more of {len(texts)}" if found[1:] else "")


def _may_be_cut(tokens: Tensor, tokenizer: CLIPTokenizer) -> Tensor:
    """Which texts may be as long as the context: ``(N, context) -> (N,)``; others are shorter for certain.

    The last place alone does not say: CLIPA blanks the end mark that stands there (``strip_sep_token``), SigLIP pads
    with its end mark, and under ``tokenizer_mode="clips"`` every text ends with a mark for the class.
    """
    padding = 0 if isinstance(tokenizer, SimpleTokenizer) else tokenizer.tokenizer.pad_token_id
    return (tokens[:, -2:] != padding).any(dim=1)


def _unknown(tokens: Tensor, tokenizer: CLIPTokenizer) -> Tensor:
    """Which texts are nothing but the mark of what a vocabulary does not know; bytes, as CLIP's has them, it knows."""
    if isinstance(tokenizer, SimpleTokenizer) or tokenizer.tokenizer.unk_token_id is None:
        return torch.zeros(len(tokens), dtype=torch.bool)
    unknown = tokens == tokenizer.tokenizer.unk_token_id
    marks = tokenizer.tokenizer.all_special_ids + [0] * tokenizer.strip_sep_token  # with which it blanks
    return unknown.any(dim=1) & torch.isin(tokens, torch.tensor(marks)).all(dim=1)


def _end_mark(tokenizer: CLIPTokenizer) -> int | None:
    if isinstance(tokenizer, SimpleTokenizer):
        return tokenizer.eot_token_id
    hub = tokenizer.tokenizer
    return hub.sep_token_id if hub.eos_token_id is None else hub.eos_token_id


def _check_tokens(tokens: Tensor, texts: list[str], tokenizer: CLIPTokenizer, text_cfg: dict) -> None:
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
    return _count(text, _clip_tokenizer("{}") if arch is None else tokenizer_of(arch))


def _count(text: str, tokenizer: CLIPTokenizer) -> int:
    if isinstance(tokenizer, SimpleTokenizer):
        return len(tokenizer.encode(text)) + 2
    clips = tokenizer.tokenizer_mode == "clips"  # gives begin, end and class marks of its own, three
    ids = tokenizer.tokenizer(tokenizer.clean_fn(text), add_special_tokens=not clips, verbose=False).input_ids
    return len(ids) + 3 * clips


def context_of(arch: Arch) -> int:
    """Tokens that the text tower of an architecture takes."""
    return model_config(arch)["text_cfg"].get("context_length", 77)


def tokenizer_of(arch: Arch) -> CLIPTokenizer:
    """open_clip's tokenizer of an architecture: the one that its ``text_cfg`` names in ``hf_tokenizer_name`` (of the
    Hugging Face hub, or a folder with its files), for ``local-dir:FOLDER`` from the files in that folder; else CLIP's
    own. Either with the ``tokenizer_kwargs`` of ``text_cfg``, such as ``clean``, SigLIP's canonical form of texts.

    Raises:
        ValueError: The tokenizer cannot be had; the message says which files it needs, and where. Or an argument of it
            that is not ``KNOWN``.
    """
    text_cfg = written_config(arch)["text_cfg"]
    odd = [key for key in text_cfg.get("tokenizer_kwargs") or () if key not in KNOWN]
    if odd:
        raise ValueError(f"tokenizer_kwargs of {shown_arch(arch)} say {odd[0]!r}, which a model config may not; it may "
                         f"say {', '.join(KNOWN)}")
    name, how = text_cfg.get("hf_tokenizer_name"), json.dumps(text_cfg.get("tokenizer_kwargs") or {}, sort_keys=True)
    if not name:
        return _clip_tokenizer(how)
    local = isinstance(arch, str) and arch.startswith(LOCAL_DIR)
    source = str(folder_of(str(arch))) if local else name
    try:
        return _hub_tokenizer(source, text_cfg.get("tokenizer_mode"), how)
    except Exception as error:  # of the hub, of its offline mode, of a folder, or of a package that is not there
        why = " ".join(str(error).split())[:300]
        raise ValueError(f"the tokenizer {source!r} of {shown_arch(arch)} cannot be had ({why}); "
                         f"{_way_out(source, local)}, or give token ids instead of strings") from error


def _way_out(source: str, local: bool) -> str:
    if local or Path(source).is_dir():
        return f"put its files, {FILES}, into that folder (transformers' save_pretrained writes them)"
    return (f"load it where there is a network, and copy the folder models--{source.replace('/', '--')} of the hub's "
            f"cache into that of this machine; or save its files, {FILES}, into a folder (transformers' "
            "save_pretrained), and name that as hf_tokenizer_name in the text_cfg of a model config")


@lru_cache(maxsize=8)
def _hub_tokenizer(source: str, mode: str | None, how: str) -> HFTokenizer:
    # said, since transformers asks at the terminal whether code that comes with a tokenizer shall run
    return HFTokenizer(source, tokenizer_mode=mode, trust_remote_code=False, **json.loads(how))


@lru_cache(maxsize=8)
def _clip_tokenizer(how: str) -> SimpleTokenizer:
    return SimpleTokenizer(**json.loads(how))
