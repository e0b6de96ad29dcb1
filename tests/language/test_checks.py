"""Checking prompt banks, from Python and by claver check-prompts."""
import json

import pytest
from claver_mm_cli import main
from toy import ROOT, TINY

from claver_mm.language import check_bank, read_bank
from claver_mm.towers.tokenizer import count_tokens

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
    (tmp_path / "bad.yaml").write_text(BAD.format(long="walk " * 80), encoding="utf-8")
    bank = read_bank(tmp_path / "bad.yaml")
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


def test_a_class_in_two_spellings_is_found(tmp_path):
    """Whichever came last served every third spelling, without a word."""
    (tmp_path / "bank.yaml").write_text("brush_hair: [combing]\nBrushHair: [stroking]\n")
    bank = read_bank(tmp_path / "bank.yaml")
    assert [str(problem) for problem in check_bank(bank, {"list": ["brush hair"]}, count_tokens, kinds=())] == [
        f"{tmp_path}/bank.yaml:2: BrushHair: is the class of line 1 (brush_hair) in another spelling, with other texts"]


def test_what_may_be_meant_is_a_note():
    bank = read_bank({"a": {"synonym": ["x one", "X one!", "turned by 90\u00b0"], "own": ["far  out"]},
                      "b": {"synonym": ["y", "z", "w"], "own": ["v"]}, "more": ["u"]})
    problems = check_bank(bank, {"list": ["a", "b"]}, count_tokens)
    assert {problem.message.partition(" stands")[0] for problem in problems if problem.note} == {
        "no class of list", "synonym: 'X one!'", "synonym: signs U+00B0 in 'turned by 90\u00b0'",
        "own: white space to spare in 'far  out'"}
    assert all(problem.note for problem in problems) and ": note: no class" in "".join(map(str, problems))


def test_a_text_of_great_length_is_not_given_to_the_tokenizer():
    """It took minutes over a word of a million letters."""
    problems = check_bank(read_bank({"a": ["x" * 10 ** 6]}), {"list": ["a"]}, lambda text: 1 / 0)
    assert [problem.message[:42] for problem in problems] == ["text: 1000000 characters, 77 tokens fit: 'x"[:42]]
    assert len(str(problems[0])) < 400


@pytest.fixture
def tool(capsys):
    """Runs claver check-prompts in this process: exit status, and what it said."""
    def run(*arguments):
        status = main(["check-prompts", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out + said.err
    return run


def test_the_tool_passes_the_banks_of_the_project_and_sums_them_up(tool):
    status, said = tool()
    assert status == 0 and said.endswith("0 problems\n"), said
    table = (ROOT / "prompts/README.md").read_text()
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4 * 3 and all(row in table for row in rows), "prompts/README.md has an old table"


def test_no_shipped_text_is_cut_at_32_tokens(tool):
    """The context of PE-Core, which took every fiftieth text without its end."""
    status, said = tool("--arch", "PE-Core-B-16")
    assert status == 0 and said.endswith("0 problems\n"), said


def test_the_tool_names_every_text_that_an_architecture_would_cut(tool, tmp_path):
    (tmp_path / "bank.yaml").write_text(f"jumping: [{'hop ' * 30}]\nrunning: [{'run ' * 31}]\n")
    (tmp_path / "classes.txt").write_text("jumping\nrunning\n")
    given = tmp_path / "bank.yaml", "--classes", tmp_path / "classes.txt"
    status, said = tool(*given, "--arch", "PE-Core-B-16")
    assert status == 1 and "bank.yaml:2: running: text: 33 tokens, 32 fit" in said and said.endswith("1 problem\n")
    assert tool(*given)[0] == tool(*given, "--arch", "PE-Core-bigG-14-448")[0] == 0
    assert tool(*given, "--arch", "PE-Core-B-16", "--context", 33)[0] == 0
    status, said = tool(*given, "--arch", "no-such-tower")
    assert status == 2 and "unknown architecture 'no-such-tower'" in said


def test_the_tool_counts_by_the_tokenizer_of_the_architecture(tool, tmp_path):
    pytest.importorskip("transformers")
    from local_tokenizers import end_marked
    config = dict(TINY, text_cfg=dict(TINY["text_cfg"], context_length=5, hf_tokenizer_name="hub", vocab_size=7))
    (tmp_path / "open_clip_config.json").write_text(json.dumps(dict(model_cfg=config)))
    end_marked(tmp_path)
    (tmp_path / "bank.yaml").write_text("jumping: [a cat runs]\nrunning: [a a cat runs dog]\n")
    (tmp_path / "classes.txt").write_text("jumping\nrunning\n")
    status, said = tool(tmp_path / "bank.yaml", "--classes", tmp_path / "classes.txt",
                        "--arch", f"local-dir:{tmp_path}")
    assert status == 1 and "running: text: 6 tokens, 5 fit" in said and said.endswith("1 problem\n")


def test_the_tool_names_the_faults_of_a_bank_and_fails(tool, tmp_path):
    bank, classes = tmp_path / "bank.csv", tmp_path / "classes.txt"
    bank.write_text("class,kind,text\njumping,synonym,hopping up\nbrush_hair,synonym,combing tresses\n")
    classes.write_text("jumping\nflying\n")
    status, said = tool(bank, "--classes", classes, "--kinds", "synonym", "--at-least", 1)
    assert status == 1 and said.endswith("2 problems\n")
    assert f"{bank}:3: brush_hair: no class of {classes}" in said
    assert f"{classes}:2: flying: no texts in {bank}" in said


@pytest.mark.parametrize("name, content", [
    ("bank.csv", "class,text\njumping,up\nflying,with wings\nrunning,fast\nsitting,on a chair\n"),
    ("bank.yaml", "jumping: {a: [up], b: [x, y]}\nflying: {a: [with wings], b: [z, w]}\n"
                  "running: {a: [fast], b: [q, r]}\nsitting: {a: [on a chair], b: [s, t]}\nmore: {c: [u]}\n")])
def test_a_sound_bank_of_a_users_own_has_no_problem(tool, tmp_path, name, content):
    """Four classes without the kinds of the project were "12 problems"."""
    (tmp_path / name).write_text(content)
    (tmp_path / "classes.txt").write_text("jumping\nflying\nrunning\nsitting\n")
    status, said = tool(tmp_path / name, "--classes", tmp_path / "classes.txt")
    assert status == 0 and said.endswith("0 problems\n"), said
    assert ("1 note\n" in said) == (name == "bank.yaml")


@pytest.mark.parametrize("bank, lists, says", [
    ("none.yaml", ["classes.txt"], "no prompt bank at none.yaml"),
    ("bank.yaml", ["none.txt"], "no file of classes at none.txt"),
    ("bank.txt", ["classes.txt"], "bank.txt: a bank is a file in .yaml, .json or .csv"),
    ("bank.yaml", None, "give a bank and the class lists it is for"),
])
def test_the_tool_says_what_it_cannot_read(tool, tmp_path, monkeypatch, bank, lists, says):
    monkeypatch.chdir(tmp_path)
    for name, content in (("bank.yaml", "jumping: [up]"), ("bank.txt", "jumping"), ("classes.txt", "jumping")):
        (tmp_path / name).write_text(content)
    status, said = tool(bank, *(["--classes", *lists] if lists else []))
    assert status == 2 and says in said and "Traceback" not in said
