"""Prompt banks: reading and choosing."""
import json
import random
import time

import pytest
from toy import ROOT

from claver_mm.language import KINDS, read_bank, read_lines
from claver_mm.language.bank import write_bank

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


BOMB = "".join(f"{name}: &{name} [{', '.join([f'*{before}'] * 9 if before else ['x'] * 9)}]\n"
               for before, name in zip(["", *"abcdefgh"], "abcdefghi"))
WIDE = "a: &a [" + "x, " * 10 ** 4 + "]\n" + "".join(f"b{number}: *a\n" for number in range(100))


@pytest.mark.parametrize("name, content, says", [
    ("b.yaml", BOMB, "b: an entry of text is no text"), ("b.yaml", WIDE, "more than 30,000 texts, those of aliases"),
    ("b.yaml", "a: " + "[" * 10 ** 5, "b.yaml cannot be read: "), ("b.json", "[" * 10 ** 5, "nested too deeply"),
    ("b.yaml", "a: &a [x]\nb:\n  <<: *a\n", "<< merges nothing into a bank; give a class .* by an alias"),
    ("b.yaml", "a: !!python/object/apply:os.getcwd []\n", "the tag tag:yaml.org,2002:python/object/apply:os.getcwd "),
    ("b.yaml", "a: [!!binary aGk=]\n", "b.yaml:1: a: an entry of text has the tag"),
    ("b.yaml", "a: [x]\n---\nb: [x]\n", "b.yaml cannot be read: .*single document"),
    ("b.yaml", "a: [\"\x1b[2J\"]\n", "b.yaml cannot be read: .*control characters"),
    ("b.yaml", "a: [x\0]\n", "holds NUL bytes; is it a text file"), ("b.csv", "class,text\na,\0\n", "holds NUL bytes"),
    ("b.json", "", "b.json cannot be read: line 1, column 1: Expecting value"),
    ("b.json", '{"a": ["x",\n]}', "line 2, column 1: a comma after the last entry"),
    ("b.json", '{"a": ["x"],\n}', "line 2, column 1: a comma after the last entry"),
    ("b.json", '{"a": ["x"],\n "b": ["y"],\n "a": ["z"]}', "b.json:3: a: stands in line 1 already"),
    ("b.json", '{"a": {"synonym": ["x"],\n "synonym": ["y"]}}', "b.json:2: a: synonym stands there twice"),
    ("b.json", '{"a": 290,\n "b": null}', "b.json:1: a: an entry of text is no text: 290; .*\nb.json:2: b: .*null"),
    ("b.json", '{"a": ["x", true]}', "an entry of text is no text: true"), ("b.json", '{"a": NaN}', "no text: NaN"),
    ("b.json", '{"a": ["x", ["y"]]}', "an entry of text is no text"), ("b.json", "[1]", "must be a mapping"),
    ("b.json", '{"a": ' + "9" * 10 ** 5 + "}", "is no text: 9+... "),
    ("b.json", '{"": ["x"]}', "a class without a name"),
    ("b.json", '{"a": ["\\ud83c"]}', "b.json:1: a: half of a surrogate pair"),
    ("b.csv", 'class,text\na,"x\n', "b.csv cannot be read: after line 1: unexpected end"),
    ("b.csv", 'class,text\na,"x"y\n', "after line 1: .*; quotes within a text are written twice"),
    ("b.csv", "class,text\na," + "x" * 10 ** 6 + "\n", "field larger than field limit"),
    ("b.csv", "class,text,text\na,x,y\n", "b.csv:1: the head line: must name .* once each"),
    ("b.csv", "class;text\na;x\n", "must name the columns class, text"),
    ("b.yaml", "\n".join(f"a: [x{number}]" for number in range(10 ** 4)), "and 9979 problems more"),
    ("b.yaml", "a: [x]\n\"" + "b" * 1000 + "\": [{c: d}]\n", r"b{80}\.\.\. \(920 characters more\)"),
])
def test_a_hostile_bank_is_refused_at_once_and_in_few_words(tmp_path, monkeypatch, name, content, says):
    """Alias bombs took all memory, some errors had millions of characters, JSON was read as YAML, which took numbers
    for texts and refused what ``json.dump`` writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("claver_mm.language.bank.MOST_ROWS", 30_000)
    written(tmp_path, name, content)
    began = time.process_time()
    with pytest.raises(ValueError, match=says) as error:
        read_bank(name)
    assert time.process_time() - began < 20 and len(str(error.value)) < 8000
    assert str(error.value).replace("\n", "").isprintable()


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_bytes("a: [x]".encode("utf-16"))
    with pytest.raises(ValueError, match="b.yaml is no text in UTF-8"):
        read_bank(path)
    with path.open("wb") as file:
        file.truncate(2 ** 30)
    with pytest.raises(ValueError, match="b.yaml has 1024 MiB, a bank at most 32"):
        read_bank(path)


@pytest.mark.parametrize("bank, says", [
    ({2: ["x"]}, "the bank:0: 2: a class name is no text; put it in quotes"),
    ({False: ["x"]}, "False: a class name is no text"), ({"a": {1: ["x"]}}, "a: the kind 1 is no text"),
    ({"a": [1]}, r"text must be a list of texts, got \[1\]"), ({"a": b""}, "must be a list of texts, got b''"),
    ({"a": ["x", None] * 10 ** 6}, r"got \['x', None, .*\.\.\.\]$"), ({"a": ["\ud800"]}, "half of a surrogate pair")])
def test_a_mapping_whose_names_or_texts_are_no_texts_is_refused(bank, says):
    """Keys that were numbers or booleans became texts."""
    with pytest.raises(ValueError, match=says) as error:
        read_bank(bank)
    assert len(str(error.value)) < 400


def test_json_is_what_json_gives(tmp_path):
    """Characters beyond U+FFFF are two escapes in JSON, which a YAML parser refuses."""
    bank = read_bank(written(tmp_path, "b.json", json.dumps({
        "no": {"a": ["\U0001f3c3 runs", 'says "go"\n: - x'], "b": []}, "2": ["a\\"]}, indent=1)))
    assert bank.entries["no"] == {"a": (("\U0001f3c3 runs", 4), ('says "go"\n: - x', 5)), "b": ()}
    assert bank.entries["2"] == {"text": (("a\\", 10),)} and bank.lines == {"no": 2, "2": 9}


def test_a_text_of_several_lines_in_a_csv_stands_where_it_begins(tmp_path):
    bank = read_bank(written(tmp_path, "b.csv", 'class,text\na,"x\ny ""z"""\nb,w\n'))
    assert bank.entries == {"a": {"text": (('x\ny "z"', 2),)}, "b": {"text": (("w", 4),)}}


def test_a_planted_link_is_not_written_through(tmp_path):
    """``OUT.unfinished``, which anybody could have put there, was followed."""
    victim = written(tmp_path, "victim", "mine")
    for name in ("bank.yaml.unfinished", "bank.yaml"):
        (tmp_path / name).symlink_to(victim)
    write_bank(TEXTS, tmp_path / "bank.yaml")
    assert victim.read_text() == "mine" and read_bank(tmp_path / "bank.yaml").digest == read_bank(TEXTS).digest


@pytest.mark.parametrize("name, content", [("b.yaml", YAML), ("b.json", json.dumps(TEXTS, indent=1)), ("b.csv", CSV)])
def test_a_mutated_bank_is_read_or_refused_in_few_words(tmp_path, name, content):
    draw, pieces = random.Random(0), ["[", "]", "{", "}", ":", ",", '"', "'", "\n", "\n- ", "&a ", "*a", "!!x ", "\x1b",
                                      "\0", "\\ud800", "<<: ", "#", "\u202e", "\t", "null", "1e9", "\r", "|", "? ", "%",
                                      "\ufeff"]
    for _ in range(200):
        text = content
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(text) + 1)
            text = text[:at] + draw.choice([*pieces, ""]) + text[at + draw.choice([0, 0, 1, 5]):]
        try:
            bank = read_bank(written(tmp_path, name, text))
        except ValueError as error:
            assert len(str(error)) < 4000 and str(error).replace("\n", "").isprintable(), text
        else:
            assert all(isinstance(text, str) for entry in bank.entries.values() for some in entry.values()
                       for text, _ in some) and bank.digest
