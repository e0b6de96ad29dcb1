"""The benchmark of the data path runs, and its paths agree."""
import importlib.util
import json
import sys

import cv2
import pytest
import torch
from toy import ROOT

pytest.importorskip("av", reason="PyAV writes the videos: pip install av")


def test_stock_and_ours_give_the_same_pixels_and_the_table_says_so(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("benchmark_data", ROOT / "tools/benchmark_data.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(sys, "argv", ["benchmark_data", "--sizes", "96x64", "--frames", "4", "--turns", "2", "--out",
                                      str(tmp_path)])
    threads = torch.get_num_threads(), cv2.getNumThreads()
    tool.main()
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])
    stock, same, rough, bound = json.loads((tmp_path / "data.json").read_text())["rows"]
    assert (stock["path"], stock["ratios"]) == ("stock", [1, 1, 1])
    assert same["mean"] < 0.01 and same["largest"] <= 4
    assert 0 < rough["mean"] < 5
    assert bound["path"] == "bound" and bound["decode"] > 0
    assert (tmp_path / "data.md").read_text() in capsys.readouterr().out
