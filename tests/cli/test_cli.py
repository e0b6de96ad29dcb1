"""The command ``claver``: a table of sub-commands, one exit status for a user's mistake, nothing heavy for help."""
from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys

import claver_mm_cli
import pytest
from claver_mm_cli import options
from mmengine.config import Config
from toy import ROOT

from claver_mm.catalog import find_config


def test_every_command_has_a_module_with_help_and_a_run():
    for name in claver_mm_cli.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            claver_mm_cli.main([name, "--help"])
        assert ended.value.code == 0


def test_ls_names_the_shipped_configs(capsys):
    assert claver_mm_cli.main(["ls", "*l14*kmct*", "--json"]) == 0
    names = json.loads(capsys.readouterr().out)
    assert names and all("l14" in name and "kmct" in name for name in names)
    assert claver_mm_cli.main(["ls", "nothing"]) == claver_mm_cli.MISTAKE
    assert "claver ls: error: no shipped config is called like 'nothing'" in capsys.readouterr().err


def test_cp_writes_a_leaf_that_inherits_and_never_over_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert claver_mm_cli.main(["cp", "claver_motion", "mine.py"]) == 0
    assert Config.fromfile("mine.py").model.cls_head.type == "ContrastiveTextHead"
    assert claver_mm_cli.main(["cp", "claver_b16_k400", "mine.py"]) == claver_mm_cli.MISTAKE
    assert "mine.py" in capsys.readouterr().err
    assert claver_mm_cli.main(["cp", "mine.py", "other.py"]) == claver_mm_cli.MISTAKE
    assert "file of yours" in capsys.readouterr().err


@pytest.mark.parametrize("lines, status, says", [
    ([["--help"], ["ls"], *([name, "--help"] for name in claver_mm_cli.COMMANDS)], 0, []),
    ([["recognize", "--config", "x"], ["masks", "a.jpg"], ["check-prompts", "bank.yaml"]], claver_mm_cli.MISTAKE,
     ["claver recognize", "claver masks", "claver check-prompts"])], ids=["help and lists", "mistakes"])
def test_what_needs_no_model_imports_neither_torch_nor_the_host(lines, status, says):
    """Every command cost 7 to 8 s of CPU, -h included, 93 % of it imports."""
    code = ("import sys, claver_mm_cli\n"
            f"for line in {lines}:\n"
            "    try: found = claver_mm_cli.main(line)\n"
            "    except SystemExit as end: found = end.code\n"
            f"    assert (found or 0) == {status}, (line, found)\n"
            "heavy = {'torch', 'mmengine', 'open_clip', 'numpy'} & set(sys.modules)\n"
            "sys.exit(f'imported: {heavy}' if heavy else 0)")
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == says


def test_names_that_help_knows_are_those_of_the_package():
    """Help imports nothing, so that these names stand twice."""
    from claver_mm_cli import analyze, check_data, lists, masks, options, protocol
    from claver_mm_cli.explain import FORMATS, PAGE_WIDTH

    from claver_mm.attention import PATTERNS
    from claver_mm.engine.studies import STUDIES
    from claver_mm.explain import pictures, shuffling
    from claver_mm.language import KINDS
    from claver_mm.protocols import DEVIATIONS, PROTOCOLS, SHOTS
    from claver_mm.video.decode import DECODERS
    assert options.KINDS == KINDS and masks.PATTERNS == tuple(PATTERNS) and check_data.DECODERS == tuple(DECODERS)
    assert protocol.PROTOCOLS == PROTOCOLS and protocol.DEVIATIONS == tuple(DEVIATIONS) and lists.SHOTS == SHOTS
    assert analyze.TOKENS == shuffling.TOKENS and set(STUDIES) == {"shuffling", "order", "rank"}
    assert FORMATS[:3] == tuple(suffix.lstrip(".") for suffix in pictures.PICTURES)
    assert PAGE_WIDTH == pictures.PAGE_WIDTH


def test_a_mistake_is_one_line_and_a_fault_of_other_code_keeps_its_traceback(capsys):
    parser = argparse.ArgumentParser("claver x")

    def ours(args):
        find_config("nothing")

    def theirs(args):
        json.loads("no json")

    assert claver_mm_cli.call(ours, None, parser) == claver_mm_cli.MISTAKE
    assert capsys.readouterr().err.startswith("claver x: error: no config at nothing")
    with pytest.raises(json.JSONDecodeError):
        claver_mm_cli.call(theirs, None, parser)


def test_output_that_head_has_cut_off_is_no_error():
    """The reader's end was called an error."""
    command = f"({sys.executable} -m claver_mm_cli ls; echo $? >&2) | true"
    done = subprocess.run(["bash", "-c", command], env=os.environ, capture_output=True, text=True)
    assert done.stderr.split() == [str(claver_mm_cli.UNREAD)]


def test_options_of_mmengines_kind_are_parsed_as_there_and_add_up():
    parser = argparse.ArgumentParser()
    options.add_changes(parser, "a=1")
    args = parser.parse_args(["--cfg-options", "a.b=[1,2]", "c=x", "--cfg-options", "d=None", "e=True"])
    assert options.changes(args.cfg_options) == {"a.b": [1, 2], "c": "x", "d": None, "e": True}
    assert options.changes([]) == {}
    with pytest.raises(ValueError, match="takes KEY=VALUE, got 'seed'"):
        options.changes(["seed"])


def test_every_tool_of_mmaction2s_shape_is_a_door():
    doors = {path.stem: path.read_text() for path in (ROOT / "tools").glob("*.py") if "from door" in path.read_text()}
    assert {"train", "test", "recognize", "explain", "get_cost", "make_lists", "check_dataset", "check_prompts",
            "generate_prompts", "convert_checkpoint", "analyze", "run_protocol", "draw_masks",
            "make_motion_videos"} == set(doors)
    entered = [re.search(r'enter\("([\w-]+)"\)', text)[1] for text in doors.values()]
    assert set(entered) <= set(claver_mm_cli.COMMANDS) and len(set(entered)) == len(entered)
