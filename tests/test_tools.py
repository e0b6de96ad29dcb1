"""The command lines, as a user types them: training, testing, killing, resuming, two processes."""
import os
import pickle
import socket
import subprocess
import sys
import time

import claver_mm_cli
import numpy as np
import pytest
import torch
from toy import ROOT, TINY, scalars, toy_config

SIZES = {"train_dataloader.dataset.indices": 16, "val_dataloader.dataset.indices": 4,
         "test_dataloader.dataset.indices": 5,
         "model.cls_head.bank": None}  # written out, it doubles what MMEngine formats, in each process seven times
pytestmark = pytest.mark.usefixtures("one_thread")
ENV = dict(os.environ, OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore")


@pytest.fixture
def config_file(motion_videos, tmp_path):
    """Writes a toy config to a file of its own."""
    def write(**changes):
        cfg = toy_config("claver_b16_kmct_k400", motion_videos, tmp_path / "unused", **{**SIZES, **changes})
        cfg.pop("work_dir")
        cfg.dump(tmp_path / "toy.py")
        return tmp_path / "toy.py"
    return write


def run(*arguments, cwd=None, ok=True):
    command = [str(argument) for argument in arguments]
    if command[0].endswith(".py"):
        command.insert(0, sys.executable)
    with socket.socket() as free:  # another program of this machine may hold torchrun's usual port
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = dict(ENV, PATH=f"{os.path.dirname(sys.executable)}:{ENV['PATH']}", PORT=str(port))
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900)
    assert (result.returncode == 0) is ok, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


def claver(*arguments):
    """Exit status of the command, run in this process, which has imported the host already."""
    return claver_mm_cli.main([str(argument) for argument in arguments])


def losses(work_dir):
    return [entry["loss"] for entry in scalars(work_dir) if "loss" in entry]


def test_train_then_test_from_any_folder(config_file, motion_videos, tmp_path):
    config = config_file()
    run(ROOT / "tools/train.py", config, "--seed", 3, "--auto-scale-lr", "--cfg-options",
        "auto_scale_lr.base_batch_size=4", cwd=tmp_path)
    work_dir = tmp_path / "work_dirs/toy"
    assert "seed=3" in (work_dir / "toy.py").read_text()
    assert [entry["lr"] for entry in scalars(work_dir) if "lr" in entry][0] == pytest.approx(2 * 12e-8)
    output = run(ROOT / "tools/test.py", config, work_dir / "epoch_1.pth", "--dump", tmp_path / "scores.pkl",
                 "--show-dir", tmp_path / "drawn", "--interval", 5, cwd=tmp_path)
    assert "acc/top1" in output
    scores = pickle.loads((tmp_path / "scores.pkl").read_bytes())
    listed = [line.rsplit(" ", 1) for line in (motion_videos / "val.txt").read_text().splitlines()[:5]]
    assert [(entry["video"], int(entry["gt_label"])) for entry in scores] == [
        (str(motion_videos / path), int(label)) for path, label in listed], "DumpResults knew no video by its name"
    assert torch.allclose(scores[0]["pred_score"].sum(), torch.tensor(1.0))
    drawn = {path.relative_to(tmp_path / "drawn").parts[0] for path in (tmp_path / "drawn").rglob("*.png")}
    assert drawn == {"0_0"}, "one of five videos was asked for"


def test_mixed_precision_trains_without_a_gpu(config_file, tmp_path):
    assert claver("train", config_file(), "--amp", "--work-dir", tmp_path / "amp") == 0
    assert np.isfinite(losses(tmp_path / "amp")).all()
    assert "AmpOptimWrapper" in (tmp_path / "amp/toy.py").read_text()


def test_two_processes_train_as_one_of_the_same_total_batch(config_file, tmp_path):
    """Mixup pairs clips within a process, so it is off here; everything else draws by sample.

    SGD, because AdamW blows rounding up to a whole step where a gradient is zero (the bias of keys).
    """
    config = config_file(**{"model.data_preprocessor.blending": None, "train_cfg.max_epochs": 2,
                            "optim_wrapper.optimizer": dict(_delete_=True, type="SGD", lr=0.1, weight_decay=0.001)})
    assert claver("train", config, "--work-dir", tmp_path / "one") == 0
    run("bash", ROOT / "tools/dist_train.sh", config, 2, "--work-dir", tmp_path / "two",
        "--cfg-options", "train_dataloader.batch_size=4")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 4
    weights = [torch.load(tmp_path / name / "epoch_2.pth", weights_only=True)["state_dict"] for name in ("one", "two")]
    assert np.allclose(one, two, rtol=1e-5), (one, two)
    for key, value in weights[0].items():
        assert torch.allclose(value, weights[1][key], atol=2e-6), key


def test_two_processes_test_every_video_once(config_file, tmp_path):
    """Five videos, batches of two: the published validation drops the last batch."""
    config = config_file()
    assert claver("train", config, "--work-dir", tmp_path / "run") == 0
    checkpoint = tmp_path / "run/epoch_1.pth"
    assert claver("test", config, checkpoint, "--dump", tmp_path / "one.pkl", "--work-dir", tmp_path / "one") == 0
    run("bash", ROOT / "tools/dist_test.sh", config, checkpoint, 2, "--dump", tmp_path / "two.pkl",
        "--work-dir", tmp_path / "two")
    one, two = (pickle.loads((tmp_path / f"{name}.pkl").read_bytes()) for name in ("one", "two"))
    assert len(one) == len(two) == 5
    for first, second in zip(one, two):
        assert torch.allclose(first["pred_score"], second["pred_score"], atol=1e-6)


def test_a_run_killed_in_an_epoch_resumes_from_its_last_checkpoint(config_file, tmp_path, capsys):
    config = config_file(**{"train_cfg.max_epochs": 3})
    work_dir = tmp_path / "run"
    slow = tmp_path / "slow.py"  # stops for good in the second epoch
    slow.write_text(f"_base_ = ['{config}']\ncustom_imports = dict(imports=['claver_mm', 'stall'])\n"
                    "custom_hooks = _base_.custom_hooks + [dict(type='Stall')]\n")
    (tmp_path / "stall.py").write_text(
        "import time\nfrom mmengine.hooks import Hook\nfrom mmengine.registry import HOOKS\n"
        "@HOOKS.register_module()\nclass Stall(Hook):\n"
        "    def after_train_iter(self, runner, *args, **kwargs):\n"
        "        if runner.epoch == 1:\n            time.sleep(600)\n")
    process = subprocess.Popen([sys.executable, ROOT / "tools/train.py", slow, "--work-dir", work_dir],
                               env=dict(ENV, PYTHONPATH=f"{tmp_path}:{ENV.get('PYTHONPATH', '')}"),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 900
    try:
        while not (work_dir / "last_checkpoint").exists():
            assert process.poll() is None and time.monotonic() < deadline, "no checkpoint was written"
            time.sleep(0.2)
        time.sleep(1)
    finally:
        process.kill()
        process.wait()
    assert (work_dir / "epoch_1.pth").exists() and not (work_dir / "epoch_2.pth").exists()
    capsys.readouterr()
    assert claver("train", config, "--work-dir", work_dir, "--resume") == 0
    assert "after epoch 1 and step 2" in capsys.readouterr().out
    assert claver("train", config, "--work-dir", tmp_path / "whole") == 0
    killed, whole = (torch.load(folder / "epoch_3.pth", weights_only=True)["state_dict"]
                     for folder in (work_dir, tmp_path / "whole"))
    assert all(torch.equal(value, whole[key]) for key, value in killed.items())


@pytest.mark.parametrize("arguments, says", [
    (["train", "nowhere.py"], "claver train: error: no config at nowhere.py"),
    (["train", "claver_motion", "--cfg-options", "seed"], "--cfg-options takes KEY=VALUE, got 'seed'"),
    (["train", "slowonly_r50_kmt_k400", "--cfg-options", "optim_wrapper.type=ApexOptimWrapper", "--amp"],
     "cannot be combined with optim_wrapper.type='ApexOptimWrapper'"),
    (["test", "claver_b16_k400", "x.pth", "--dump", "scores.txt"], "should end in .pkl"),
    (["convert", "nowhere.pth", "out.pth"], "no weights file at nowhere.pth"),
])
def test_bad_arguments_are_named(arguments, says, capsys):
    """In several ways: usage and a message, a message alone, a traceback."""
    assert claver(*arguments) == claver_mm_cli.MISTAKE
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1


def test_a_published_checkpoint_is_converted_and_tested(config_file, tmp_path, capsys):
    from test_weights import PublishedCLAVER
    torch.save({"model": PublishedCLAVER(TINY, 8, True).state_dict()}, tmp_path / "published.pth")
    config = config_file()
    assert claver("convert", tmp_path / "published.pth", tmp_path / "ours.pth", "--config", config) == 0
    assert "fit" in capsys.readouterr().out
    assert claver("test", config, tmp_path / "ours.pth", "--work-dir", tmp_path / "test") == 0
    assert "acc/top1" in next((tmp_path / "test").rglob("*.log")).read_text()
