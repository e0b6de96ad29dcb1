"""Prompt banks: reading and choosing."""
import json

import pytest
from toy import ROOT

from claver_mm.language import KINDS, read_bank, read_lines

TEXTS = {"jumping": {"synonym": ["leaping off the ground", "hopping up"], "body_parts": ["Knees bend."]},
         "brush_hair": {"synonym": ["combing tresses", "drawing a brush, slowly: twice"],
                        "body_parts": ["A wrist turns."]}}
YAML = """\
jumping:
  synonym:
    - leaping off the ground
    - hopping up
  body_parts:
    - Knees bend.
brush_hair:
  synonym:
    - combing tresses
    - "drawing a brush, slowly: twice"
  body_parts: [A wrist turns.]
"""
CSV = """\
class,kind,text
jumping,synonym,leaping off the ground
jumping,synonym,hopping up
jumping,body_parts,Knees bend.
brush_hair,synonym,combing tresses
brush_hair,synonym,"drawing a brush, slowly: twice"
brush_hair,body_parts,A wrist turns.
"""


def written(tmp_path, name: str, content: str):
    (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path / name


@pytest.mark.parametrize("suffix, content", [(".yaml", YAML), (".json", json.dumps(TEXTS)), (".csv", CSV),
                                             (".csv", "\ufeff" + CSV)],
                         ids=["yaml", "json", "csv", "csv of a spreadsheet"])
def test_a_bank_is_the_same_in_every_format(tmp_path, suffix, content):
    bank, given = read_bank(written(tmp_path, f"bank{suffix}", content)), read_bank(TEXTS)
    assert bank.texts(["brush_hair", "jumping"]) == given.texts(["brush_hair", "jumping"]) == [
        ["combing tresses", "drawing a brush, slowly: twice", "A wrist turns."],
        ["leaping off the ground", "hopping up", "Knees bend."]]
    assert bank.digest == given.digest != read_bank({"jumping": TEXTS["jumping"]}).digest
    assert bank.kinds == ("synonym", "body_parts")


def test_texts_know_their_lines(tmp_path):
    yaml, csv = (read_bank(written(tmp_path, name, content)) for name, content in (("b.yaml", YAML), ("b.csv", CSV)))
    assert [text.line for text in yaml.entries["brush_hair"]["synonym"]] == [9, 10]
    assert [text.line for text in csv.entries["brush_hair"]["synonym"]] == [5, 6]
    assert yaml.lines["brush_hair"] == 7


def test_kinds_and_numbers_are_chosen():
    bank = read_bank(TEXTS)
    assert bank.texts(["jumping"], kinds=["body_parts", "synonym"], per_kind=1) == [
        ["Knees bend.", "leaping off the ground"]]
    assert bank.texts(["jumping"], kinds=()) == [[]]


def test_classes_are_found_by_their_readable_names():
    assert read_bank(TEXTS).texts(["Brush hair"], kinds=["body_parts"]) == [["A wrist turns."]]
    assert read_bank({"BabyCrawling": ["a baby on all fours"]}).texts(["baby_crawling"]) == [["a baby on all fours"]]


def test_words_that_yaml_takes_for_values_stay_texts(tmp_path):
    bank = read_bank(written(tmp_path, "b.yaml", "no:\n  - 100\n  - yes\n2020: [null]\n"))
    assert bank.texts(["no"]) == [["100", "yes"]] and bank.texts(["2020"]) == [["null"]]


@pytest.mark.parametrize("how, says", [
    (dict(classes=["jumping", "flying"]), "no texts for 1 of 2 classes: 'flying'; add them"),
    (dict(classes=["jumping"], kinds=["haiku"]), "no texts of the kind 'haiku'; it has synonym, body_parts"),
    (dict(classes=["jumping"], kinds="synonym"), r"kinds='synonym' is one string; give a list, \['synonym'\]"),
    (dict(classes=["jumping"], per_kind=2), "class 'jumping' has 1 texts of the kind 'body_parts', 2 are asked for"),
    (dict(classes=["jumping"], per_kind=0), "per_kind must be at least 1"),
])
def test_what_a_bank_cannot_give_is_named(how, says):
    with pytest.raises(ValueError, match=says):
        read_bank(TEXTS).texts(**how)


def test_classes_with_fewer_texts_are_named():
    bank = read_bank({"a": ["x", "y"], "b": ["z"]})
    with pytest.raises(ValueError, match="'b' has 1 texts of the kind 'text', 2 are asked for.*set per_kind=1"):
        bank.texts(["a", "b"])
    assert bank.texts(["a", "b"], per_kind=1) == [["x"], ["z"]]


@pytest.mark.parametrize("name, content, says", [
    ("b.yaml", "a: [x]\nb: [y]\na: [z]\n", "b.yaml:3: a: stands in line 1 already"),
    ("b.yaml", "a:\n  - first: second\n", "b.yaml:2: a: an entry of text is no text; does it hold ': '"),
    ("b.yaml", "a:\n  synonym: [x]\n  synonym: [y]\n", "b.yaml:3: a: synonym stands there twice"),
    ("b.yaml", "- a\n", "must be a mapping"),
    ("b.yaml", "", "must be a mapping"),
    ("b.yaml", "a: [x\n", "b.yaml cannot be read"),
    ("b.json", '{"a": ["x"]', "b.json cannot be read"),
    ("b.yaml", "a:\n  synonym:\nb: [x]\n", "b.yaml:2: a: an entry of synonym is empty"),
    ("b.yaml", "a:\n  -\n  - x\n", "b.yaml:2: a: an entry of text is empty"),
    ("b.yaml", "a:\n  [b]: [x]\n", "b.yaml cannot be read: a name is no text; put it in quotes\n.*line 2"),
    ("b.csv", "klass,text\na,x\n", "b.csv:1: the head line: must name the columns class, text"),
    ("b.csv", "class,text\na,x, y\n", "b.csv:2: a: not a class and a text; a text with a comma needs quotes"),
    ("b.csv", "class,text\na,\n", "b.csv:2: a: not a class and a text"),
    ("b.csv", "class,text\n", "holds no class"),
    ("b.txt", "a", "a bank is a file in .yaml, .json or .csv"),
])
def test_a_broken_bank_is_named_with_its_line(tmp_path, name, content, says):
    """A kind without texts became one empty text, a name in brackets ``TypeError: unhashable type``."""
    with pytest.raises(ValueError, match=says):
        read_bank(written(tmp_path, name, content))
    with pytest.raises(FileNotFoundError, match="no prompt bank at nowhere.yaml"):
        read_bank("nowhere.yaml")


@pytest.mark.parametrize("bank, classes, number, per_kind", [
    ("kinetics", "kinetics400", 400, 4), ("kinetics", "kinetics600", 600, 4), ("ucf101", "ucf101", 101, 4),
    ("hmdb51", "hmdb51", 51, 6)])
def test_the_banks_of_the_project_serve_their_data_sets(bank, classes, number, per_kind):
    names = read_lines(ROOT / f"prompts/classes/{classes}.txt", "classes")
    texts = read_bank(ROOT / f"prompts/{bank}.yaml").texts(names, KINDS)
    assert (len(texts), {len(entry) for entry in texts}) == (number, {3 * per_kind})
    assert len({text for entry in texts for text in entry}) == number * 3 * per_kind


def test_classes_that_kinetics600_renamed_share_their_texts():
    bank = read_bank(ROOT / "prompts/kinetics.yaml")
    old, new = bank.texts(["tying tie", "tying necktie"])
    assert old == new
