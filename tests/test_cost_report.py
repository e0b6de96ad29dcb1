"""``claver cost``: configs read, costs told as tables, texts and JSON."""
import json

import pytest
from claver_mm_cli import MISTAKE, main
from mmengine.config import Config
from toy import ROOT, TINY

from claver_mm import cost_report


def test_frames_of_the_command_line_take_the_place_of_the_configs():
    cfg = cost_report.read_for_costs("claver_b16_k400", 32, {"model.cls_head.bank": None})
    assert cfg.model.neck.num_frames == 32
    assert cost_report.view_of(cfg, "train").frames == 32
    assert cost_report.view_of(cfg, "test") == (4, 3, 32, (224, 224), "NCTHW")
    stock = cost_report.read_for_costs("tsn_r50_kmt_k400", 16)
    assert cost_report.shape_of(cost_report.view_of(stock, "train"), 2) == (2, 16, 3, 224, 224)


@pytest.mark.parametrize("steps, message", [
    ([("UniformSample", "clip_len", 8), ("CenterCrop", "crop_size", 8), ("FormatShape", "input_format", "NPTCHW")],
     "layout 'NPTCHW'"),
    ([("CenterCrop", "crop_size", 8), ("FormatShape", "input_format", "NCTHW")], "clip_len"),
    ([("UniformSample", "clip_len", 8), ("FormatShape", "input_format", "NCTHW")], "fixed size")])
def test_a_pipeline_that_does_not_tell_its_view_is_refused(steps, message):
    pipeline = [{"type": kind, name: value} for kind, name, value in steps]
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    with pytest.raises(ValueError, match=message):
        cost_report.view_of(cfg, "test")


def run(*arguments):
    return main(["cost", *map(str, arguments)])


def test_the_command_prints_json_with_latency(capsys):
    config = ROOT / "configs/claver_motion.py"
    assert run(config, "--latency", 2, "--device", "cpu", "--batch", 3, "--json") == 0
    costs = json.loads(capsys.readouterr().out)[str(config)]
    assert costs["frames"] == 4 and costs["text"]["texts"] == [8, 3]
    assert costs["macs"]["executed"] < costs["macs"]["whole"]
    assert costs["latency"]["batch"] == 3 and costs["latency"]["passes"] == 2 and costs["latency"]["median_ms"] > 0


def test_configs_of_equal_costs_share_a_row(capsys, tmp_path):
    config = ROOT / "configs/claver_motion.py"
    (tmp_path / "twin.py").write_text(f"_base_ = [{str(config)!r}]")
    assert run(config, tmp_path / "twin.py", ROOT / "configs/claver_motion_mean.py") == 0  # no neck
    tables = [table.splitlines() for table in capsys.readouterr().out.strip().split("\n\n")]
    assert [len(table) for table in tables] == [4, 4]
    assert all("claver_motion, " in table[2] and "twin |" in table[2] for table in tables)
    assert all(len({row.count("|") for row in table}) == 1 for table in tables)


def test_one_config_is_described_in_full(capsys):
    assert run(ROOT / "configs/claver_motion.py") == 0
    assert "published convention" in capsys.readouterr().out


def test_a_tower_as_it_is_has_costs_without_those_of_a_training(capsys, tmp_path):
    """It was refused as no whole config, and with it the line that counts all of them."""
    (tmp_path / "tower.py").write_text('_base_ = "claver_mm::claver/zero_shot/tower.py"\n'
                                       f"model = dict(arch=dict({TINY!r}, _delete_=True), pretrained=None, "
                                       'classes=["a", "b"])')
    assert run(tmp_path / "tower.py", "--frames", 3, "--json") == 0
    costs = json.loads(capsys.readouterr().out)[str(tmp_path / "tower.py")]
    assert costs["frames"] == 3 and costs["macs"]["executed"] == costs["macs"]["whole"] > 0
    assert costs["training_batch"] is costs["activation_bytes"] is None
    assert run(tmp_path / "tower.py") == 0
    assert "activations" not in capsys.readouterr().out
    assert run(tmp_path / "tower.py", ROOT / "configs/claver_motion_mean.py") == 0
    row, = (line for line in capsys.readouterr().out.splitlines() if "tower | 2 x" in line)
    assert row.endswith("| - " * 6 + "|")


def test_a_config_that_is_not_there_or_no_leaf_is_named(capsys):
    assert run("claver_motoin") == MISTAKE
    said = capsys.readouterr().err
    assert said.startswith("claver cost: error: no config at claver_motoin, and none of that name is shipped; ")
    assert "claver_motion" in said
    assert run(ROOT / "configs/_base_/plugin.py") == MISTAKE
    assert "plugin.py: no whole config" in capsys.readouterr().err
