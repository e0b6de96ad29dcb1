"""Words of texts under tokenizers and text towers of other kinds than CLIP's."""
import pytest
import torch
from small import TOWERS
from tiny_claver import clips_of
from torch import nn

from claver_mm.explain.explanation import words_of
from claver_mm.explain.relevance import relevance
from claver_mm.language.encoder import read_positions
from claver_mm.model import create_model

MARKS = ["<pad>", "<end>", "<unknown>"]
PIECES = {"SentencePiece": ["▁a", "▁red", "▁", "7", "▁turn", "ing"], "byte-level BPE": ["a", "Ġred", "Ġ", "7", "Ġturn",
                                                                                       "ing"],
          "WordPiece": ["a", "red", "7", "turn", "##ing"], "CLIP's": ["a</w>", "red</w>", "7</w>", "turn", "ing</w>"]}


def saved_tokenizer(kind, folder) -> str:
    """A tokenizer of the Hugging Face hub's kind, which knows ``PIECES`` after ``MARKS``; pieces are given as ids, so
    that nothing but its way of writing them matters."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models
    vocabulary = {piece: number for number, piece in enumerate([*MARKS, *PIECES[kind]])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unknown>"))
    tokenizer.decoder = {"SentencePiece": decoders.Metaspace(), "byte-level BPE": decoders.ByteLevel(),
                         "WordPiece": decoders.WordPiece(), "CLIP's": decoders.BPEDecoder()}[kind]
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>",
                                         unk_token="<unknown>").save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("kind", PIECES)
def test_pieces_become_words_whichever_way_a_tokenizer_writes_spaces(kind, tmp_path):
    arch = dict(embed_dim=8, vision_cfg={}, text_cfg=dict(hf_tokenizer_name=saved_tokenizer(kind, tmp_path)))
    count = len(PIECES[kind])
    tokens = torch.tensor([*range(3, 3 + count), 1, 0, 0])
    words = words_of(tokens, [1.0] * count + [100.0] * 3, arch)
    assert [word for word, _ in words] == ["a", "red", "7", "turning"]
    assert [value for _, value in words] == [1, 1, count - 4, 2]  # a space of its own belongs to the word after it


def test_a_word_that_the_tokenizer_does_not_know_keeps_its_relevance(tmp_path):
    arch = dict(embed_dim=8, vision_cfg={}, text_cfg=dict(hf_tokenizer_name=saved_tokenizer("SentencePiece", tmp_path)))
    assert words_of(torch.tensor([3, 5, 2, 4, 1]), [1, 2, 4, 8, 16], arch) == [("a", 1), ("<unknown>", 6), ("red", 8)]


@pytest.mark.parametrize("text, expected", [
    ({}, [2, 3]), (dict(pool_type="eos", eos_id=7), [1, 0]), (dict(pool_type="last"), [4, 4]),
    (dict(pool_type="first"), [0, 0]), (dict(embed_cls=True), [5, 5]),
    (dict(pool_type="last", no_causal_mask=True), [4, 4])], ids=str)
def test_a_text_is_read_where_the_tower_reads_it(text, expected):
    """Where the gradient of open_clip's own tower is, behind its last block."""
    from open_clip.transformer import TextTransformer
    tower = TextTransformer(5, 20, 16, 2, 1, output_dim=8, **text)
    tokens = torch.tensor([[3, 7, 9, 0, 0], [3, 4, 5, 9, 0]])
    assert read_positions(tower, tokens).tolist() == expected
    seen = []
    tower.transformer.register_forward_hook(lambda module, args, output: seen.append(output))
    gradient, = torch.autograd.grad(tower(tokens).square().sum(), seen)
    assert [row.nonzero().flatten().tolist() for row in gradient.abs().sum(2)] == [[place] for place in expected]


def test_a_text_tower_of_another_library_has_no_relevance_of_words(tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.BertConfig(vocab_size=20, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                            intermediate_size=32, max_position_embeddings=24).save_pretrained(tmp_path)
    text = dict(hf_model_name=str(tmp_path), hf_tokenizer_name="none", hf_proj_type="linear")
    torch.manual_seed(0)
    model = create_model(dict(TOWERS["clip"], text_cfg=text), num_frames=4, depth=1)
    nn.init.normal_(model.temporal.temporal_embedding)
    tokens = torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]])
    found = relevance(model, clips_of(model), tokens)
    assert found.text is None and found.combined.shape == (2, 4, 4, 4) and (found.combined.flatten(1).amax(1) > 0).all()
    video = model.video_features(clips_of(model))
    torch.testing.assert_close(found.similarity, (video * model.text_features(tokens)).sum(1).detach())
