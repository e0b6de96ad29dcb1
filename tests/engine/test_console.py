"""What a run shows on the screen, and what it leaves to its log file."""
import contextlib
import io
import json
import logging
import re
from types import SimpleNamespace

import pytest
import torch
from toy import ROOT, toy_config

from claver_mm.engine import console
from claver_mm.engine.launch import build_runner, run_config


def shown_by(work) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as screen:
        work()
    return screen.getvalue()


def toy(videos, work_dir, **changes):
    return toy_config("claver_motion", videos, work_dir, **{
        "experiment_name": str(work_dir).replace("/", "_"),  # by default a time in seconds, which others may share
        "train_dataloader.dataset.indices": 16, "val_dataloader.dataset.indices": 4,
        "test_dataloader.dataset.indices": 4, "train_cfg.max_epochs": 3, "train_cfg.val_begin": 2,
        "default_hooks.checkpoint.interval": 1, **changes})


def log_of(work_dir) -> str:
    return max(work_dir.glob("*/*.log"), key=lambda path: path.stat().st_mtime_ns).read_text()


@pytest.fixture(scope="module")
def training(motion_videos, tmp_path_factory):
    """(work folder, screen) of three epochs, the last two validated."""
    folder = tmp_path_factory.mktemp("console") / "run"
    return folder, shown_by(lambda: build_runner(toy(motion_videos, folder)).train())


def test_the_first_epoch_stands_within_the_first_lines(training):
    """It stood at line 490, behind environment, config, hooks and every single parameter."""
    lines = training[1].splitlines()
    assert next(number for number, line in enumerate(lines) if line.startswith("epoch 1/3")) < 12
    assert len(lines) < 50


def test_the_screen_begins_with_what_runs_on_what(training):
    folder, screen = training
    lines = screen.replace("runs on", "runs_on").splitlines()[:9]
    head = dict(re.split(r"\s+", line, maxsplit=1) for line in lines)
    assert head["train"].endswith("claver_motion.py") and head["weights"] == "random"
    model, size = head["model"].split("; ")
    assert model == "Recognizer3D of CLIPBackbone, KMTNeck, ContrastiveTextHead"
    assert re.fullmatch(r"1\.\d\d M parameters, all trained", size)
    assert head["classes"].startswith("8: moving left, moving right") and head["videos"] == "train 16, val 4"
    assert head["runs_on"] == "cpu, 1 process, 1 threads" and head["length"] == "3 epochs of 2 steps, 8 clips each"
    assert head["folder"] == str(folder) and head["log"] == str(next(folder.glob("*/*.log")))


def test_an_epoch_has_one_line_with_its_loss_and_the_time_to_go(training):
    first, second, third = [line for line in training[1].splitlines() if line.startswith("epoch ")]
    assert re.fullmatch(r"epoch 1/3  loss \d\.\d{4}  lr \S+  \d+\.\d clips/s  0:\d\d:\d\d to go", first)
    assert re.search(r"clips/s  acc/top1 \d\.\d{4}  acc/mean1 \d\.\d{4}  best so far  0:\d\d:\d\d to go$", second)
    assert third.startswith("epoch 3/3") and "acc/top1" in third and "to go" not in third
    losses = [json.loads(line)["loss"] for path in training[0].glob("*/vis_data/scalars.json")
              for line in path.read_text().splitlines() if "loss" in line]
    # the smoothing of the file's lines goes over 20 steps, so the first two are means over one step and over both
    assert float(re.search(r"loss (\S+)", first)[1]) == pytest.approx(losses[1], abs=1e-4)


def test_a_training_ends_with_its_best_checkpoint_and_the_worst_classes(training):
    folder, screen = training
    assert re.search(r"the best of them, \d\.\d{4}, is " + re.escape(f"{folder}/best_acc_top1_epoch_"), screen)
    report = next(folder.glob("val_*.json"))
    assert "worst classes" in screen and screen.rstrip().endswith(str(report))
    assert json.loads(report.read_text())["videos"] == 4


def test_a_checkpoint_is_kept_once(training):
    """Each was written a second time under the name of its hash; the two last ones and the best weights are enough."""
    folder = training[0]
    best = next(folder.glob("best_*.pth"))
    assert {path.name for path in folder.glob("*.pth")} == {"epoch_2.pth", "epoch_3.pth", best.name}
    assert "optimizer" in torch.load(folder / "epoch_3.pth", weights_only=True)
    assert "optimizer" not in torch.load(best, weights_only=True)


def test_the_log_file_keeps_everything(training):
    folder, screen = training
    log = log_of(folder)
    for text in ("System environment", "Config:", "Hooks will be executed"):
        assert text in log and text not in screen
    for text in ("Epoch(train) [1][2/2]", "Epoch(val) [2]"):  # the screen is no terminal here
        assert text in log and text in screen
    assert all(line in log for line in screen.splitlines())


def test_a_resumed_training_says_after_what(motion_videos, training, tmp_path):
    folder = training[0]
    screen = shown_by(lambda: build_runner(toy(motion_videos, tmp_path, **{
        "resume": True, "load_from": str(folder / "epoch_2.pth")})).train())
    assert f"weights  resumed from {folder}/epoch_2.pth, after epoch 2 and step 4" in screen
    assert "epoch 3/3  loss" in screen and "epoch 2/3  loss" not in screen


def test_a_test_shows_its_views_and_its_numbers(motion_videos, training, tmp_path):
    cfg = toy(motion_videos, tmp_path, load_from=str(training[0] / "epoch_3.pth"))
    screen = shown_by(lambda: build_runner(cfg).test())
    assert "videos   test 4, 4 clips x 3 crops of 4 frames each" in screen
    assert re.search(r"test: acc/top1 \d\.\d{4}  acc/mean1 \d\.\d{4}  in 0:00:\d\d", screen)
    assert "worst" in screen and str(next(tmp_path.glob("test_*.json"))) in screen


def test_long_parts_speak_up_where_the_screen_is_no_terminal(motion_videos, tmp_path):
    """A small data set showed nothing for minutes: fewer steps than the logger's interval have no line."""
    cfg = toy(motion_videos, tmp_path, **{"train_cfg.max_epochs": 1, "train_cfg.val_begin": 1})
    next(hook for hook in cfg.custom_hooks if hook.type == "ConsoleHook").every = 0.0
    screen = shown_by(lambda: build_runner(cfg).train())
    assert re.search(r"epoch 1/1: step 1 of 2  loss \d\.\d{4}  0:00:\d\d to go", screen)
    assert re.search(r"epoch 1/1, validation: step 1 of 2  0:00:\d\d to go", screen)


def test_lines_of_progress_keep_their_distance(monkeypatch):
    said, now = [], [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    progress = console.Progress(said.append, "test", 100, 30.0)
    for done in range(1, 101):
        now[0] = 10.0 * done
        progress.reach(done)
    assert said[0] == "test: step 3 of 100  0:16:10 to go" and len(said) == 33


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_and_no_lines(monkeypatch):
    said, screen = [], Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    progress = console.Progress(said.append, "epoch 1/3", 2, 0.0)
    progress.bar.mininterval = 0
    progress.reach(1, "loss 2.0000")
    progress.reach(2)
    progress.close()
    assert "epoch 1/3:  50%" in screen.getvalue() and "loss 2.0000" in screen.getvalue() and not said
    assert screen.getvalue().endswith("\r"), "it is wiped at its end"


def test_warnings_and_errors_come_through_and_what_the_host_says_in_vain_does_not(motion_videos, tmp_path):
    def work() -> None:
        runner = build_runner(toy(motion_videos, tmp_path))
        runner.logger.info("a parameter")
        runner.logger.warning("a video is missing")
        runner.logger.error("it broke")
        runner.logger.warning('"FileClient" will be deprecated in future. Please use io functions in https://')
    screen = shown_by(work)
    assert "WARNING" in screen and "a video is missing" in screen and "it broke" in screen
    assert "a parameter" not in screen and "FileClient" not in screen
    assert "a parameter" in log_of(tmp_path) and "FileClient" in log_of(tmp_path)


def test_the_level_of_the_config_holds_for_both(motion_videos, tmp_path):
    screen = shown_by(lambda: build_runner(toy(motion_videos, tmp_path, log_level="ERROR")).test())
    assert screen == "" and log_of(tmp_path) == ""


def test_verbose_shows_the_whole_log(motion_videos, tmp_path):
    config = tmp_path / "toy.py"
    toy(motion_videos, tmp_path / "run").dump(config)
    cfg = run_config(config, show_log=True)
    cfg.work_dir = str(tmp_path / "run")
    screen = shown_by(lambda: build_runner(cfg).test())
    assert "System environment" in screen and "Epoch(test) [2/2]" in screen and "worst classes" in screen
    assert "ConsoleHook" not in [hook.type for hook in cfg.custom_hooks]


def test_every_leaf_shows_its_run_this_way():
    from mmengine.config import Config
    for name in ("claver_b16_k400", "claver_motion", "tsn_r50_kmt_k400"):
        assert console.is_calm(Config.fromfile(ROOT / f"configs/{name}.py"))


def test_a_loop_without_epochs_has_a_line_for_each_validation(motion_videos, tmp_path):
    cfg = toy(motion_videos, tmp_path, train_cfg=dict(
        _delete_=True, type="IterBasedTrainLoop", max_iters=4, val_interval=2), param_scheduler=None)
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != "SeedEpochHook"]
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=4)
    cfg.train_dataloader.sampler.type = "InfiniteSampler"
    screen = shown_by(lambda: build_runner(cfg).train())
    assert "length   4 steps, 8 clips each" in screen
    lines = [line for line in screen.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["2/4", "4/4"] and all("acc/top1" in line for line in lines)


def test_weights_are_said_by_where_they_come_from():
    model = torch.nn.ModuleDict({name: torch.nn.Identity() for name in ("backbone", "neck", "cls_head")})
    model["backbone"].pretrained = "openai"
    model["neck"].init_cfg = dict(type="Pretrained", checkpoint="resnet.pth")
    model["cls_head"].init_cfg = [dict(type="Normal")]
    runner = SimpleNamespace(iter=0, checkpoint=None, _load_from=None)
    assert console._weights(runner, model, "train") == "backbone: openai, neck: resnet.pth"


def test_nothing_is_shown_twice():
    logger = SimpleNamespace(handlers=[logging.StreamHandler(), logging.NullHandler()])
    once = list(console.calm(logger).handlers)
    assert console.calm(logger).handlers == once and isinstance(once[0], console.Console)
