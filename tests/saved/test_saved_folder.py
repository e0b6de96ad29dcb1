"""A recogniser as one folder: what is loaded from it answers as what was saved."""
from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
import torch
from local_tokenizers import as_siglips
from safetensors import safe_open
from small import TOWERS

from claver_mm import Recognizer
from claver_mm.saved.folder import written
from claver_mm.settings.keys import plain
from claver_mm.towers.architectures import tower_of
from claver_mm.towers.head import class_tokens_suffice


def same_answers(one: Recognizer, other: Recognizer, video, labels=None) -> None:
    for views in ("config", "one"):
        expected = {entry.label: entry.score for entry in one.recognize(video, labels, views=views)}
        found = {entry.label: entry.score for entry in other.recognize(video, labels, views=views)}
        assert expected.keys() == found.keys()
        assert max(abs(found[label] - score) for label, score in expected.items()) <= 1e-6
    assert torch.allclose(one.embed(video), other.embed(video), atol=1e-6)


def test_a_folder_answers_as_the_recogniser_that_was_saved(recognizer, folder, video):
    loaded = Recognizer.from_pretrained(folder, device="cpu")
    same_answers(recognizer, loaded, video)
    same_answers(recognizer, loaded, video, ["juggling balls", "diving cliff"])
    texts, own = loaded.texts(), recognizer.texts()
    assert (texts.names, texts.strings, texts.digest) == (own.names, own.strings, own.digest)
    assert len({round(entry.score, 7) for entry in loaded.recognize(video)}) > 1
    assert str(folder) in str(loaded) and "kmt over 4 frames of 32x32 pixels" in str(loaded)


@pytest.mark.parametrize("kind, neck", [("clip", "temporal"), ("siglip", "temporal"), ("convnext", "temporal"),
                                        ("coca", "mean"), ("pe", "mean"), ("resnet", "mean")])
def test_towers_of_every_kind_are_saved(kind, neck, build, video, tmp_path):
    name = "claver_b16_kmct_k400" if neck == "temporal" else "ablations/components_clip_mean"
    suffice = class_tokens_suffice(tower_of(TOWERS[kind]))
    changes = {"model.neck.depth": 1, "model.neck.embed_dims": 64, "model.neck.class_tokens_only": suffice}
    changes = changes if neck == "temporal" else {}
    recognizer = build(name, json.loads(json.dumps(TOWERS[kind])), **changes)
    recognizer.save_pretrained(tmp_path / "it")
    loaded = Recognizer.from_pretrained(tmp_path / "it", device="cpu")
    assert (loaded.claver.temporal is None) == (neck == "mean")
    same_answers(recognizer, loaded, video)


def test_settings_of_the_parts_are_kept(build, video, tmp_path):
    recognizer = build("claver_motion", **{
        "model.cls_head.score": "similarity", "model.cls_head.pool": "mean", "model.cls_head.num_draws": 3,
        "model.neck.pattern": "pipeline", "model.neck.type": "TemporalNeck", "model.neck.class_tokens_only": False,
        "model.neck.mlp_ratio": 2.0, "model.test_cfg": dict(max_testing_views=2), "model.backbone.frozen": True})
    recognizer.threshold = 0.3
    recognizer.save_pretrained(tmp_path / "it")
    loaded = Recognizer.from_pretrained(tmp_path / "it", device="cpu")
    assert loaded.threshold == 0.3 and loaded.claver.score == "similarity" and loaded.head.num_draws == 3
    assert loaded.claver.temporal.pattern == "pipeline" and loaded.model.backbone.frozen
    assert loaded.model.test_cfg["max_testing_views"] == 2
    same_answers(recognizer, loaded, video)
    again = loaded.save_pretrained(tmp_path / "again")
    first, second = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("it", again.name))
    assert first == second


def test_a_setting_that_would_be_lost_is_named(recognizer, tmp_path, monkeypatch):
    monkeypatch.setitem(recognizer.config.model.neck, "warmth", 3)
    with pytest.raises(ValueError, match=r"model.neck.warmth=3 cannot be saved"):
        recognizer.save_pretrained(tmp_path / "it")
    assert not list(tmp_path.iterdir())


def test_a_step_of_chance_is_not_saved(build, tmp_path):
    recognizer = build("claver_motion")
    recognizer.config.val_dataloader.dataset.pipeline.append(dict(type="Flip"))
    with pytest.raises(ValueError, match="the pipeline.7 is 'Flip', and not one of the steps"):
        recognizer.save_pretrained(tmp_path / "it")


def test_where_the_videos_of_the_training_lay_is_nobodys_business(build, tmp_path):
    recognizer = build("claver_motion")
    recognizer.config.test_dataloader.dataset.pipeline[0].backend_args = dict(backend="petrel", key="secret")
    folder = recognizer.save_pretrained(tmp_path / "it")
    said = "".join(path.read_text() for path in folder.iterdir() if path.suffix != ".safetensors")
    assert "secret" not in said and recognizer.config.work_dir not in said
    assert recognizer.config.test_dataloader.dataset.ann_file not in said


PROCESS = """
import sys
import numpy as np
from claver_mm import Recognizer
recognizer = Recognizer.from_pretrained(sys.argv[1], device="cpu")
for label, score in recognizer.recognize(np.load(sys.argv[2])):
    print(repr(score), label)
"""


def test_another_process_needs_neither_net_nor_training_data(recognizer, folder, video, tmp_path):
    np.save(tmp_path / "video.npy", video)
    moved = folder.rename(tmp_path / "moved, with a space")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "nothing")}
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", PROCESS, moved, tmp_path / "video.npy"],
                         capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = {label: float(score) for score, label in (line.split(maxsplit=1) for line in ran.stdout.splitlines())}
    expected = {entry.label: entry.score for entry in recognizer.recognize(video)}
    assert found.keys() == expected.keys()
    assert max(abs(found[label] - score) for label, score in expected.items()) <= 1e-6


def test_a_tokenizer_of_its_own_travels_along(build, video, tmp_path):
    arch = json.loads(json.dumps(TOWERS["siglip"]))
    arch["text_cfg"].update(hf_tokenizer_name=as_siglips(tmp_path / "tokenizer"), vocab_size=49408)
    recognizer = build("ablations/components_clip_mean", arch, **{
        "model.cls_head.classes": ["a cat runs", "a dog runs"], "model.cls_head.bank": None})
    folder = recognizer.save_pretrained(tmp_path / "it")
    (tmp_path / "tokenizer").rename(tmp_path / "gone")
    loaded = Recognizer.from_pretrained(folder, device="cpu")
    same_answers(recognizer, loaded, video)
    same_answers(recognizer, loaded, video, ["a dog", "a cat"])
    assert str(tmp_path / "gone") not in (folder / "config.json").read_text()


def test_weights_that_share_memory_are_each_written(recognizer, tmp_path, monkeypatch):
    weights = recognizer.model.state_dict()
    names = [name for name in weights if name.endswith("resblocks.0.ln_1.weight")]
    weights[names[0]] = weights[names[1]] = weights[names[0]][:]
    monkeypatch.setattr(recognizer.model, "state_dict", lambda: weights)
    folder = recognizer.save_pretrained(tmp_path / "it")
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(weights)


def test_a_folder_is_replaced_and_what_is_not_ours_stays(recognizer, folder, build):
    (folder / ".git").mkdir()
    (folder / ".git/HEAD").write_text("ref: refs/heads/main\n")
    recognizer.save_pretrained(folder, record=dict(seed=1))
    assert json.loads((folder / "record.json").read_text()) == dict(seed=1)
    tower = build("claver_motion_mean")
    tower._own = None
    tower.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".git", "README.md", "config.json", "metafile.yml", "model.safetensors"]
    assert Recognizer.from_pretrained(folder, device="cpu").claver.temporal is None


def test_other_peoples_folders_are_left_alone(recognizer, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(FileExistsError, match="work holds other things than a saved recogniser"):
        recognizer.save_pretrained(tmp_path / "work")
    with pytest.raises(NotADirectoryError, match="config.json is a file"):
        recognizer.save_pretrained(tmp_path / "work/config.json")
    assert [path.name for path in tmp_path.rglob("*")] == ["work", "config.json"]


def test_an_error_leaves_the_folder_as_it_was(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OSError, match="no room"), written(folder) as new:
        (new / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "no room")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.skipif(os.name == "nt", reason="no such bits on Windows")
def test_others_may_read_what_the_umask_lets_them(folder):
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert len(set(modes.values())) == 1, modes


def test_a_config_of_the_host_comes_out_of_it(recognizer, folder, motion_videos):
    from claver_mm.engine.configs import read_config
    config = read_config(folder, {"data_root": str(motion_videos)})
    assert config.load_from == str(folder / "model.safetensors")
    assert config.test_dataloader.dataset.ann_file == str(motion_videos / "val.txt")
    assert plain(config.test_dataloader.dataset.pipeline) == plain(recognizer.config.test_dataloader.dataset.pipeline)
    assert [step.type for step in config.train_dataloader.dataset.pipeline] == [
        "OpenVideo", "UniformSample", "DecodeFrames", "Resize", "RandomCrop", "FormatShape", "PackActionInputs"]
