"""Prompt banks: reading, choosing, checking."""
import json
import subprocess
import sys

import pytest
from toy import ROOT

from claver_mm.clip import count_tokens
from claver_mm.language import KINDS, check_bank, read_bank, read_lines

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
    ("b.csv", "klass,text\na,x\n", "b.csv:1: the head line: must name the columns class, text"),
    ("b.csv", "class,text\na,x, y\n", "b.csv:2: a: not a class and a text; a text with a comma needs quotes"),
    ("b.csv", "class,text\n", "holds no class"),
    ("b.txt", "a", "a bank is a file in .yaml, .json or .csv"),
])
def test_a_broken_bank_is_named_with_its_line(tmp_path, name, content, says):
    with pytest.raises(ValueError, match=says):
        read_bank(written(tmp_path, name, content))
    with pytest.raises(FileNotFoundError, match="no prompt bank at nowhere.yaml"):
        read_bank("nowhere.yaml")


BAD = """\
jumping:
  synonym:
    - Leaping high
    - ""
    - "odd \u200b space"
  body_parts:
    - {long}
running:
  synonym:
    - leaping high!
    -  going fast  again
unknown:
  synonym: [x, y]
""".replace("going fast  again", '"going fast  again"')


def test_every_fault_of_a_bank_is_found_with_its_line_and_class(tmp_path):
    bank = read_bank(written(tmp_path, "bad.yaml", BAD.format(long="walk " * 80)))
    problems = check_bank(bank, {"classes.txt": ["jumping", "running", "flying"]}, count_tokens,
                          kinds=("synonym", "body_parts"), at_least=1)
    found = {(problem.line, problem.name): problem.message for problem in problems}
    assert [str(problem) for problem in problems if problem.name == "unknown"] == [
        f"{tmp_path}/bad.yaml:12: unknown: no class of classes.txt",
        f"{tmp_path}/bad.yaml:12: unknown: 0 texts of the kind 'body_parts', 1 are needed"]
    assert found[4, "jumping"] == "synonym: an empty text"
    assert found[5, "jumping"].startswith("synonym: odd characters U+200B")
    assert found[7, "jumping"].startswith("body_parts: 82 tokens, 77 fit: 'walk walk")
    assert found[8, "running"] == "0 texts of the kind 'body_parts', 1 are needed"
    assert found[11, "running"] == "synonym: white space to spare in 'going fast  again'"
    assert [problem.message for problem in problems if problem[1:3] == (10, "running")] == [
        "2 texts of the kind 'synonym', but 'jumping' has 3",
        "synonym: 'leaping high!' stands in line 3 (jumping) already"]
    assert [str(problem) for problem in problems][-1] == f"classes.txt:3: flying: no texts in {tmp_path}/bad.yaml"


def test_a_good_bank_has_no_fault():
    bank = read_bank({"a": {"synonym": ["x one", "y two"]}, "b": {"synonym": ["z three", "caf\u00e9 four"]}})
    assert check_bank(bank, {"list": ["a", "b"]}, count_tokens, kinds=("synonym",), at_least=2) == []


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


def run_tool(*args) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-W", "ignore", str(ROOT / "tools/check_prompts.py"), *map(str, args)],
                          capture_output=True, text=True)


def test_the_tool_passes_the_banks_of_the_project_and_sums_them_up():
    result = run_tool()
    assert result.returncode == 0 and result.stdout.endswith("0 problems\n"), result.stdout + result.stderr
    table = (ROOT / "prompts/README.md").read_text()
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4 * 3 and all(row in table for row in rows), "prompts/README.md has an old table"


def test_the_tool_names_the_faults_of_a_bank_and_fails(tmp_path):
    bank, classes = written(tmp_path, "bank.csv", CSV), written(tmp_path, "classes.txt", "jumping\nflying\n")
    result = run_tool(bank, "--classes", classes, "--kinds", "synonym", "--at-least", 2)
    assert result.returncode == 1
    assert f"{bank}:5: brush_hair: no class of {classes}" in result.stdout
    assert f"{classes}:2: flying: no texts in {bank}" in result.stdout
    assert run_tool(tmp_path / "none.yaml", "--classes", classes).returncode == 2
