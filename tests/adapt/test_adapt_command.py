"""``claver adapt``: from a folder to a recogniser that another process opens, and on to a fine-tuning of everything."""
import json
import subprocess
import sys

import pytest
import torch
from claver_mm_cli import MISTAKE, main
from claver_mm_cli.adapt import say

from claver_mm.engine.configs import read_config
from claver_mm.engine.launch import build_runner


@pytest.fixture(scope="module")
def trained_tower(tower, tmp_path_factory):
    """Config and weights of a tower as files."""
    folder = tmp_path_factory.mktemp("tower")
    tower.config.dump(folder / "tower.py")
    torch.save(tower.model.state_dict(), folder / "tower.pth")
    return folder / "tower.py", folder / "tower.pth"


def call(*words):
    return main([str(word) for word in ("adapt", *words)])


@pytest.fixture(scope="module")
def done(trained_tower, own_videos, tmp_path_factory):
    root = tmp_path_factory.mktemp("done")
    config, weights = trained_tower
    status = call(own_videos, "--config", config, "--checkpoint", weights, "--out", root / "mine", "--cache",
                  root / "cache", "--epochs", 2, "--depth", 1, "--finetune-config", root / "further.py",
                  "--workers", 0)
    assert status == 0
    return root


def test_the_folder_holds_recogniser_report_and_record(done):
    names = {path.name for path in (done / "mine").iterdir()}
    assert names == {"config.json", "model.safetensors", "texts.json", "README.md", "metafile.yml", "record.json",
                     "report.html", "report.json"}
    report = json.loads((done / "mine/report.json").read_text())
    assert report["held_out"] == 8 and not report["clips"][0]["video"].startswith("/")
    assert f"{100 * report['accuracy']:.1f}" in (done / "mine/report.html").read_text()
    assert "clips" not in json.loads((done / "mine/record.json").read_text())


def test_another_process_opens_it_and_gives_the_reported_scores(done, own_videos):
    report = json.loads((done / "mine/report.json").read_text())
    code = ("import sys, json\nfrom claver_mm import Recognizer\n"
            "recognizer = Recognizer.from_pretrained(sys.argv[1], device='cpu')\n"
            "print(json.dumps([dict(recognizer.recognize(video, views='one')) for video in sys.argv[2:]]))")
    clips = report["clips"][:2]
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", code, done / "mine",
                             *(own_videos / clip["video"] for clip in clips)], capture_output=True, text=True,
                            cwd=done, env={"HF_HUB_OFFLINE": "1", "PATH": "", "PYTHONPATH": ":".join(sys.path)})
    assert answer.returncode == 0, answer.stderr[-2000:]
    for clip, scores in zip(clips, json.loads(answer.stdout.splitlines()[-1])):
        assert scores[clip["label"]] == pytest.approx(clip["probability"], abs=2e-3)


def test_everything_is_trained_further_by_the_config_that_was_written(done, tmp_path):
    small = {"train_dataloader.batch_size": 8, "train_cfg.max_epochs": 1, "train_dataloader.num_workers": 0,
             "train_dataloader.persistent_workers": False, "val_dataloader.num_workers": 0,
             "val_dataloader.persistent_workers": False, "work_dir": str(tmp_path)}
    runner = build_runner(read_config(done / "further.py", small))
    assert (len(runner.train_dataloader.dataset), len(runner.val_dataloader.dataset)) == (24, 8)
    learning = {name.split(".")[0] for name, p in runner.model.named_parameters() if p.requires_grad}
    assert learning == {"backbone", "neck", "cls_head"}
    start = {name: value.clone() for name, value in runner.model.named_parameters()}
    runner.train()
    changed = [name for name, value in runner.model.named_parameters() if not value.equal(start[name])]
    assert {name.split(".")[0] for name in changed} == {"backbone", "neck", "cls_head"}


def test_a_dry_run_looks_says_and_trains_nothing(trained_tower, own_videos, tmp_path, capsys):
    config, weights = trained_tower
    status = call(own_videos, "--config", config, "--checkpoint", weights, "--out", tmp_path / "mine", "--cache",
                  tmp_path / "cache", "--dry-run")
    said = capsys.readouterr().out
    assert status == 0 and not (tmp_path / "mine").exists()
    assert "24 clips to learn from, 8 held out" in said and "are yet to be encoded" in said
    assert sum(path.suffix == ".safetensors" for path in (tmp_path / "cache").rglob("*")) <= 2


@pytest.mark.parametrize("words, says", [
    (["--held-out", "1"], "at least 0 and below 1"), (["--tokens", "grid"], "not 'grid'"),
    (["--pattern", "foo"], "unknown attention pattern 'foo'"), (["--alpha", "2"], "at least 0 and below 1")])
def test_what_cannot_be_is_said(words, says, trained_tower, own_videos, tmp_path, capsys):
    config, weights = trained_tower
    arguments = (own_videos, "--config", config, "--checkpoint", weights, "--out", tmp_path / "mine", "--cache",
                 tmp_path / "cache", *words)
    try:
        assert call(*arguments) == MISTAKE
    except SystemExit as stopped:  # argparse's own
        assert stopped.code == MISTAKE
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("there", ["clips.csv", "clips.py", "clips"])
def test_a_list_of_ones_own_is_not_written_over_by_that_of_the_finetuning(there, trained_tower, tmp_path, capsys):
    """The list beside the config, NAME.csv, took the place of one with which the training was called."""
    config, weights = trained_tower
    (tmp_path / there).write_text("mine")
    asked = tmp_path / there if there == "clips" else tmp_path / "clips.py"
    assert call(tmp_path / "clips.csv", "--config", config, "--checkpoint", weights, "--out", tmp_path / "mine",
                "--finetune-config", asked) == MISTAKE
    assert ("ends in .py" if there == "clips" else f"{there} is there already") in capsys.readouterr().err
    assert (tmp_path / there).read_text() == "mine"


def test_options_of_a_temporal_part_beside_none_are_refused(trained_tower, own_videos, tmp_path, capsys):
    config, weights = trained_tower
    assert call(own_videos, "--config", config, "--checkpoint", weights, "--out", tmp_path / "mine", "--pattern",
                "none", "--width", 32) == MISTAKE
    assert "--pattern none asks for none" in capsys.readouterr().err


def test_names_that_are_no_text_are_printed_as_escapes(capsys):
    say("left out: caf\udce9.mp4")
    assert capsys.readouterr().out == "left out: caf\\udce9.mp4\n"


def test_a_folder_of_other_things_is_not_written_into(trained_tower, own_videos, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    config, weights = trained_tower
    assert call(own_videos, "--config", config, "--checkpoint", weights, "--out", tmp_path) == MISTAKE
    assert "holds other things than a saved recogniser" in capsys.readouterr().err
