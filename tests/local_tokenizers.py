"""Small tokenizers of the Hugging Face kind, made here: nothing is downloaded."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

WORDS = ("a", "cat", "dog", "runs")


def _save(folder: Path, tokenizer: Tokenizer, ends: str, marks: Sequence[str], **tokens: str) -> str:
    known = [(mark, tokenizer.token_to_id(mark)) for mark in marks]
    tokenizer.post_processor = processors.TemplateProcessing(single=ends, special_tokens=known)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens).save_pretrained(folder)
    return str(folder)


def _words(*marks: str, unknown: str) -> Tokenizer:
    words = {word: index for index, word in enumerate([*marks, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def end_marked(folder: Path) -> str:
    """Padding 0, end mark 1, what is unknown 2, words from 3."""
    return _save(folder, _words("<pad>", "<end>", "<unknown>", unknown="<unknown>"), "$A <end>", ["<end>"],
                 pad_token="<pad>", eos_token="<end>", unk_token="<unknown>")


def as_siglips(folder: Path) -> str:
    """As T5's of SigLIP: what is unknown 0, end mark 1, which is the padding too, words from 2."""
    return _save(folder, _words("<unk>", "</s>", unknown="<unk>"), "$A </s>", ["</s>"], pad_token="</s>",
                 eos_token="</s>", unk_token="<unk>")


def as_berts(folder: Path) -> str:
    """Padding 0, what is unknown 1, class mark 2, separator 3, begin 4, end 5, words from 6."""
    marks = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[BOS]", "[EOS]")
    return _save(folder, _words(*marks, unknown="[UNK]"), "[CLS] $A [SEP]", ["[CLS]", "[SEP]"], pad_token="[PAD]",
                 unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", bos_token="[BOS]", eos_token="[EOS]")


def of_any_script(folder: Path, lines: Sequence[str], vocabulary: int = 400) -> str:
    """Pieces of bytes, learned from some lines; marks as of XLM-RoBERTa: begin 0, padding 1, end 2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<s>", "<pad>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return _save(folder, tokenizer, "<s> $A </s>", ["<s>", "</s>"], pad_token="<pad>", bos_token="<s>",
                 eos_token="</s>")
