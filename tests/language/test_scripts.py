"""Labels in any script stay as they are written, and are told apart by a tokenizer that knows their bytes."""
import unicodedata

import pytest
import torch
from toy import TINY

from claver_mm.language import ACTION_TEMPLATES, check_bank, class_texts, read_bank, read_lines, readable
from claver_mm.language.checks import bare, odd_characters
from claver_mm.language.texts import read_labels, texts_of_classes
from claver_mm.messages import shown
from claver_mm.towers.head import CLIPHead
from claver_mm.towers.tokenizer import count_tokens, tokenize

NAMES = ["sauter à la corde", "прыгать через скакалку", "القفز بالحبل", "دوچرخه\u200cسواری", "रस्सी कूदना",
         "跳绳", "縄跳びをする"]
"""To skip with a rope, in French, Russian, Arabic, Hindi, Chinese and Japanese; and to cycle in Persian, with a
non-joiner within the word."""
OTHERS = ["nager", "плавать", "السباحة", "तैरना", "游泳", "水泳"]
HINDI = "कि", "की"
"""Two syllables that differ in their vowel sign alone."""


@pytest.fixture(scope="module")
def arch(tmp_path_factory) -> dict:
    """A small tower that is not causal, with a tokenizer learned from some labels of each script."""
    pytest.importorskip("transformers")
    from local_tokenizers import of_any_script
    folder = of_any_script(tmp_path_factory.mktemp("any"), [*NAMES, *OTHERS] * 3)
    return dict(TINY, text_cfg=dict(context_length=64, vocab_size=400, width=32, heads=2, layers=2, pool_type="last",
                                    no_causal_mask=True, hf_tokenizer_name=folder))


@pytest.mark.parametrize("name", [*NAMES, *OTHERS], ids=ascii)
def test_a_name_is_readable_and_shown_as_it_is_written(name):
    """The non-joiner of Persian words was shown as an escape, and called odd."""
    assert readable(name) == readable(name.replace(" ", "_")) == shown(name) == name
    assert not odd_characters(name)


@pytest.mark.parametrize("text", ["a\u200cb", "\u200cس", "س\u200d", "\u202eس", "س\u200fa"], ids=ascii)
def test_what_hides_or_turns_other_text_is_shown_as_an_escape_still(text):
    assert "\\u20" in shown(text) and odd_characters(text)


def test_names_whose_letters_and_marks_stand_apart_are_the_same_names():
    """As folders on a Mac are called: a bank did not know them."""
    apart = unicodedata.normalize("NFD", "がんばる")
    bank = read_bank({"がんばる": ["x"]})
    assert apart != "がんばる" and bank.texts([apart]) == [["x"]]


def test_camel_case_is_read_in_every_script_that_has_cases():
    assert readable("БегТрусцой") == "бег трусцой"


def test_files_and_templates_keep_names_of_any_script(tmp_path):
    (tmp_path / "labels.txt").write_text("\n".join(NAMES), encoding="utf-8")
    assert read_lines(tmp_path / "labels.txt", "labels") == read_labels(NAMES)[0] == NAMES
    assert [texts[1] for texts in class_texts(NAMES)] == [f"a video of {name}." for name in NAMES]
    russian = "видео: {}"
    assert class_texts(NAMES, [russian])[1] == [russian.replace("{}", NAMES[1])]


@pytest.mark.parametrize("templates", [ACTION_TEMPLATES, ("{}",), ("видео: {}", "{}")],
                         ids=["English", "none", "Russian"])
def test_labels_of_many_scripts_are_classes_apart(arch, templates):
    from claver_mm.towers.tokenizer import tokenizer_of

    def ids(texts):
        return tokenize(texts, arch)

    texts = texts_of_classes(NAMES, ids, templates)
    place = templates.index("{}")
    assert texts.names == tuple(NAMES) and [own[place] for own in texts.strings] == NAMES
    decode = tokenizer_of(arch).tokenizer.decode
    assert [decode(tokens[place], skip_special_tokens=True) for tokens in texts.tokens] == NAMES
    assert [texts.find(name, ids) for name in NAMES] == list(range(7)) and texts.find(OTHERS[1], ids) is None
    features = CLIPHead(arch).eval().text_features(texts.tokens)[:, place]
    assert torch.pdist(features).min() > 1e-3
    beside = texts.beside(OTHERS, ids)
    assert beside.main_text(12) == OTHERS[5] and len(beside) == 13


@pytest.mark.parametrize("names", [HINDI, ("跳绳", "跳繩"), ("كتب", "ك\u064fتب")],
                         ids=ascii)
def test_names_that_differ_in_one_sign_are_two_classes(arch, names):
    for own in (arch, TINY):
        assert len(texts_of_classes(names, lambda texts, own=own: tokenize(texts, own), ("{}",))) == 2


def test_names_in_two_ways_to_compose_them_are_one_class(arch):
    names = ["がんばる", unicodedata.normalize("NFD", "がんばる")]
    with pytest.raises(ValueError, match="are one to the model"):
        texts_of_classes(names, lambda texts: tokenize(texts, arch))


def test_texts_that_differ_in_vowel_signs_are_no_repetition():
    """Vowel signs of Hindi, Thai and others were taken for punctuation: a bank had "problems" that were none."""
    assert bare(HINDI[0]) != bare(HINDI[1])
    bank = read_bank({"a": [HINDI[0]], "b": [HINDI[1]]})
    assert check_bank(bank, {"list": ["a", "b"]}, count_tokens) == []
