"""What the README says can be done, done."""
import re

import torch
from local_tower import write_tower
from mmaction.registry import MODELS
from test_weights import PublishedCLAVER
from toy import ROOT, TINY, toy_config

from claver_mm.engine.configs import read_config
from claver_mm.engine.launch import build_runner

README = (ROOT / "README.md").read_text()


def test_the_library_example_runs(motion_videos, tmp_path, monkeypatch):
    """At toy size: the same lines, with a small config, small frames and a small published checkpoint."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "convert_official" in block)
    toy_config("claver_b16_kmct_k400", motion_videos, tmp_path / "unused").dump(tmp_path / "toy.py")
    torch.save(PublishedCLAVER(TINY, 8, True).state_dict(), tmp_path / "published.pth")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code.replace("configs/claver_b16_kmct_k400.py", "toy.py").replace("224", "32"), names)
    assert names["feats"].shape == (1, 8, 1, 64)
    assert names["frame_features"].shape == (1, 8, 32)
    assert names["logits"].shape == (1, 1, 2)


def test_the_first_lines_recognise_a_video_without_training(motion_videos, tmp_path, monkeypatch, capsys):
    """With a small tower in a folder in the place of the one that would be downloaded."""
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    write_tower(tmp_path)
    video = motion_videos / (motion_videos / "val.txt").read_text().split()[0]
    monkeypatch.chdir(tmp_path)
    exec(code.replace("open_clip:PE-Core-L-14-336/meta", f"local-dir:{tmp_path}").replace("video.mp4", str(video)), {})
    assert "Recognition(label=" in capsys.readouterr().out


def test_the_three_lines_recognise_a_video(motion_videos, tmp_path, monkeypatch, capsys):
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "Recognizer(" in block)
    cfg = toy_config("claver_b16_k400", motion_videos, tmp_path / "unused")
    cfg.dump(tmp_path / "toy.py")
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / "epoch_60.pth")
    video = motion_videos / (motion_videos / "val.txt").read_text().split()[0]
    monkeypatch.chdir(tmp_path)
    exec(code.replace('"claver_b16_k400"', '"toy.py"').replace("video.mp4", str(video)), {})
    assert "Recognition(label=" in capsys.readouterr().out


def test_the_neck_snippet_trains_from_any_folder(motion_videos, tmp_path, monkeypatch):
    """It worked in ``configs/`` alone, and died on names of videos with spaces."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "slowonly" in block)
    folder = tmp_path / "an empty folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    video = motion_videos / (motion_videos / "train.txt").read_text().split()[0]
    (folder / "air drumming.mp4").symlink_to(video)
    (folder / "list.txt").write_text("air drumming.mp4 3\n" * 2)
    (folder / "my config.py").write_text(code)
    options = {"work_dir": "runs", "train_cfg.max_epochs": 1, "model.backbone.pretrained": None,
               "model.backbone.depth": 50, "train_dataloader.batch_size": 2, "val_dataloader": None, "val_cfg": None,
               "val_evaluator": None}
    for split in ("train", "test"):
        options |= {f"{split}_dataloader.{key}": value for key, value in (
            ("num_workers", 0), ("persistent_workers", False), ("dataset.ann_file", "list.txt"),
            ("dataset.data_prefix", dict(video=".")))}
    cfg = read_config("my config.py", options)
    for step in cfg.train_dataloader.dataset.pipeline:
        if "scale" in step:
            step.scale = (-1, 36) if step.scale[0] == -1 else (32, 32)
    build_runner(cfg).train()
    assert (folder / "runs/epoch_1.pth").exists()


def test_every_file_that_the_readme_names_is_there():
    names = re.findall(r"(?:configs|tools|claver_mm|docs)/[\w./@-]+\.(?:py|sh|png)|(?<=`)\w+_k400\.py", README)
    assert len(names) > 10
    for name in names:
        assert (ROOT / name).exists() or (ROOT / "configs" / name).exists(), name
