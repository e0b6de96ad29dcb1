"""The command ``claver``: a table of sub-commands, one exit status for a user's mistake, nothing heavy for help."""
from __future__ import annotations

import json
import os
import subprocess
import sys

import claver_mm_cli
import pytest
from mmengine.config import Config


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


def test_help_and_lists_import_neither_torch_nor_the_host():
    """Every command cost 7 to 8 s of CPU, -h included, 93 % of it imports."""
    code = ("import sys, claver_mm_cli\n"
            "for line in (['--help'], ['cp', '--help'], ['ls']):\n"
            "    try: claver_mm_cli.main(line)\n"
            "    except SystemExit: pass\n"
            "heavy = {'torch', 'mmengine', 'open_clip', 'numpy'} & set(sys.modules)\n"
            "sys.exit(f'imported: {heavy}' if heavy else 0)")
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
