"""Texts of classes as a value."""
from functools import partial

import pytest
import torch
from toy import TINY

from claver_mm.clip import tokenize
from claver_mm.language import read_bank
from claver_mm.language.texts import listed, read_labels, texts_as_given, texts_of_classes

ids = partial(tokenize, arch=TINY)
BANK = {"BabyCrawling": ["a baby on all fours"], "chess": ["two players at a board"]}


def test_a_value_knows_its_names_its_texts_and_their_source():
    texts = texts_of_classes(list(BANK), ids, ["a {}"], read_bank(BANK))
    assert texts.names == ("BabyCrawling", "chess") and texts.tokens.shape == (2, 2, 24)
    assert texts.strings[0] == ("a baby crawling", "a baby on all fours")
    assert torch.equal(texts.tokens[1], ids(["a chess", "two players at a board"]))
    assert texts.source["templates"] == 1 and texts.source["kinds"] == {"text": 1}
    assert texts.source["bank_sha256"] == read_bank(BANK).digest


def test_equal_texts_have_equal_digests_and_others_have_not():
    one, two = (texts_as_given([["a", "b"], ["c", "d"]], ids, 24) for _ in range(2))
    assert one.digest == two.digest != texts_as_given([["a", "b"], ["c", "e"]], ids, 24).digest
    assert texts_as_given(one.tokens.flatten(0, 1), ids, 24).digest != one.digest  # 4 classes, not 2


def test_a_value_is_no_view_of_what_it_was_made_from():
    tokens = ids(["a", "b"])
    texts = texts_as_given(tokens, ids, 24)
    tokens.zero_()
    assert texts.tokens.any()


def test_token_ids_made_in_inference_mode_can_be_trained_with():
    with torch.inference_mode():
        given = texts_as_given(ids(["a", "b"]), ids, 24), texts_of_classes(["a", "b"], ids)
    assert not any(texts.tokens.is_inference() for texts in given)


@pytest.mark.parametrize("names", [["BabyCrawling", "baby crawling"], ["brush_hair", "brush hair"], ["Run", "run"],
                                   ["caf\xe9", "cafe\u0301"], ["rock &amp; roll", "rock & roll"]])
def test_classes_that_are_one_to_the_model_are_refused(names):
    """They shared their probability, so that another class won."""
    with pytest.raises(ValueError, match="are one to the model") as caught:
        texts_of_classes([*names, "chess"], ids)
    assert all(repr(name) in str(caught.value) for name in names)


@pytest.mark.parametrize("templates", [["{}"], ["a video of {}"]])
def test_a_name_of_which_the_tokenizer_leaves_nothing_is_refused(templates):
    with pytest.raises(ValueError, match="the tokenizer leaves nothing of '&nbsp;'"):
        texts_of_classes(["chess", "&nbsp;"], ids, templates)


def test_a_class_is_found_by_what_its_name_is_to_the_model():
    texts = texts_of_classes(["ApplyEyeMakeup", "chess"], ids, ["a {}", "{}"])
    assert [texts.find(text, ids) for text in ("ApplyEyeMakeup", "apply eye makeup", "Chess", "chess set")] == [
        0, 0, 1, None]
    assert texts.main_text(0) == "apply eye makeup"
    assert texts_of_classes(["ApplyEyeMakeup"], ids, ["a {}"]).main_text(0) == "a apply eye makeup"


def test_texts_beside_are_taken_word_for_word():
    texts = texts_of_classes(["chess"], ids, ["a {}", "{}"]).beside(["JumpingJack high"], ids)
    assert texts.names == ("chess", "JumpingJack high") and texts.main_text(1) == "JumpingJack high"
    assert torch.equal(texts.tokens[1], ids(["JumpingJack high"] * 2))
    with pytest.raises(ValueError, match="'chess' stands"):
        texts.beside(["chess"], ids)


@pytest.mark.parametrize("labels, says", [
    ("running", "labels='running' is one string; give a list"), ([], "no labels"), (["a", "a"], "'a' stands"),
    (["a", " "], "entry 2: empty"), (["chess", float("nan")], "entry 2: nan is a float, not a text"),
    (["chess", None], "entry 2: None"), ([1, 2], "entry 1: 1 is a int"), (5, "labels must be a list of names"),
    ({0: "abseiling", 1: "chess"}, "named by text, got the int 0"), ({False: ["no"]}, "the bool False"),
])
def test_labels_that_cannot_be_ranked_are_named(labels, says):
    """Numbers passed for names by ``str``; what is no text died in ``strip``."""
    with pytest.raises(ValueError, match=says):
        read_labels(labels)


def test_blank_lines_of_a_file_are_no_labels(tmp_path):
    (tmp_path / "labels.txt").write_text("chess\n\n  \nrunning\n")
    assert read_labels(tmp_path / "labels.txt") == (["chess", "running"], None)


def test_a_bank_that_was_written_anew_is_read_anew(tmp_path):
    for names in ("{a: [x], b: [y]}", "{a: [x], c: [y]}"):
        (tmp_path / "bank.yaml").write_text(names)
        assert read_labels(tmp_path / "bank.yaml")[0] == [names[1], names[9]]
    with pytest.raises(FileNotFoundError, match="nowhere.yaml"):
        read_labels(tmp_path / "nowhere.yaml")


def test_a_list_of_texts_is_a_list_of_texts():
    assert listed([], "extra") == [] and listed((" a\n", "b"), "extra") == ["a", "b"]
    with pytest.raises(ValueError, match="extra='ab' is one string"):
        listed("ab", "extra")
    with pytest.raises(ValueError, match="one string; give a list of templates"):
        texts_of_classes(["chess"], ids, "a {}")
