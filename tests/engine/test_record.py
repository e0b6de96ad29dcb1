"""What a run says that it ran on."""
import hashlib
import json
import shutil
import subprocess
import tarfile
from types import SimpleNamespace

import pytest
import torch
import yaml
from toy import toy_config

from claver_mm.engine import record
from claver_mm.engine.launch import build_runner
from claver_mm.language import KINDS, read_bank


def small_config(videos, work_dir, **changes):
    bank = work_dir.parent / "bank.yaml"
    names = (videos / "classes.txt").read_text().splitlines()
    bank.write_text(yaml.safe_dump({name: {kind: [f"{name}, {kind} {i}" for i in range(2)] for kind in KINDS}
                                    for name in names}))
    return toy_config("claver_b16_k400", videos, work_dir, **{
        "model.cls_head.bank": str(bank), "train_dataloader.dataset.indices": 8, "val_dataloader.dataset.indices": 2,
        "test_dataloader.dataset.indices": 3, "model.cls_head.kinds": ["synonym", "body_parts"], **changes})


@pytest.fixture(scope="module")
def run(motion_videos, tmp_path_factory):
    """(work folder, record of a training, record of a test of its checkpoint, metrics of the test)."""
    folder = tmp_path_factory.mktemp("record") / "run"
    folder.mkdir()
    build_runner(small_config(motion_videos, folder, **{"optim_wrapper.accumulative_counts": 2})).train()
    metrics = build_runner(small_config(motion_videos, folder, load_from=str(folder / "epoch_1.pth"))).test()
    trained, tested = [path for path in sorted(folder.glob("run_*.json"), key=lambda path: "test" in path.name)]
    return folder, json.loads(trained.read_text()), json.loads(tested.read_text()), metrics


def test_classes_and_prompts_are_named_with_their_digests(run, motion_videos):
    names = (motion_videos / "classes.txt").read_text().splitlines()
    for entry in run[1:3]:
        assert entry["classes"] == dict(count=8, names=names,
                                        sha256=hashlib.sha256("\n".join(names).encode()).hexdigest())
        prompts = entry["prompts"]
        assert prompts["kinds"] == dict(synonym=2, body_parts=2) and prompts["templates"] == 12
        assert (prompts["texts_per_class"], prompts["draws"], prompts["score"]) == (16, 5, "prob")
        assert prompts["bank_sha256"] == read_bank(run[0].parent / "bank.yaml").digest
    assert run[1]["prompts"] == run[2]["prompts"]


def test_data_sets_are_named_with_the_hash_of_their_list(run, motion_videos):
    trained, tested = run[1]["datasets"], run[2]["datasets"]
    assert set(trained) == {"train", "val"} and set(tested) == {"test"}
    for (entry,), lines, count in ((trained["train"], "train", 8), (trained["val"], "val", 2),
                                   (tested["test"], "val", 3)):
        path = motion_videos / f"{lines}.txt"
        assert entry == dict(annotation=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                             samples=count, files=count, missing=0)


def test_views_batch_and_rates_are_named(run):
    assert run[1]["views"] == run[2]["views"] == dict(clips=4, crops=3, frames=8)
    assert run[1]["batch"] == dict(per_process=8, accumulated=2, total=16)
    assert {(group["group"], round(group["lr"], 9)) for group in run[1]["learning_rates"]} == {
        ("rest (decay)", 12e-6), ("rest (no decay)", 12e-6), ("neck (decay)", 12e-5), ("neck (no decay)", 12e-5)}
    weights = torch.load(run[0] / "epoch_1.pth", weights_only=True)["state_dict"]
    counted = sum(value.numel() for name, value in weights.items() if "attn_mask" not in name)
    assert sum(group["parameters"] for group in run[1]["learning_rates"]) == counted
    assert (run[1]["seed"], run[1]["world_size"], run[1]["optimizer"]) == (0, 1, "AdamW")
    assert "batch" not in run[2]


def test_a_test_names_its_weights_and_its_metrics(run):
    path = run[0] / "epoch_1.pth"
    assert run[1]["weights"] == []
    assert run[2]["weights"] == [dict(part="model", path=str(path),
                                      sha256=hashlib.sha256(path.read_bytes()).hexdigest())]
    assert run[2]["metrics"] == pytest.approx(run[3])


def test_versions_are_those_of_the_packages(run):
    assert run[1]["versions"]["torch"] == torch.__version__.partition("+")[0]
    named = {"python", "mmengine", "mmaction2", "open_clip_torch", "av", "decord", "claver_mm"}
    assert named <= set(run[1]["versions"])


def test_the_log_has_the_record(run):
    log = "".join(path.read_text() for path in run[0].glob("*/*.log"))
    assert '"bank_sha256"' in log and '"token_ids_sha256"' in log


def test_files_that_are_not_there_are_counted(tmp_path):
    (tmp_path / "there.mp4").touch()
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(tmp_path / "there.mp4", "there.mp4")
    there = {str(tmp_path / name) for name in ("there.mp4", "shard.tar/there.mp4")}
    gone = {str(tmp_path / name) for name in ("gone.mp4", "nowhere/gone.mp4", "shard.tar/gone.mp4", "no.tar/gone.mp4")}
    assert record.missing_files(there | gone) == sorted(gone)


def test_the_commit_is_named_and_whether_the_tree_differs(tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
                       check=True, capture_output=True)
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    assert "no git working tree" in record.commit(tmp_path)["reason"]
    git("init")
    (tmp_path / "__init__.py").write_text("one\n")
    assert record.commit(tmp_path)["commit"] is None, "a package that merely lies inside another project's tree"
    git("add", ".")
    git("commit", "-m", "one")
    first = record.commit(tmp_path)
    assert len(first["commit"]) == 40 and first["dirty"] is False
    (tmp_path / "__init__.py").write_text("two\n")
    assert record.commit(tmp_path) == dict(commit=first["commit"], dirty=True)


def test_absent_git_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert record.commit() == dict(commit=None, reason="git is not installed")


def test_pretrained_weights_are_named_in_the_order_of_loading(tmp_path):
    (tmp_path / "clip.pt").write_bytes(b"image and text")
    (tmp_path / "run.pth").write_bytes(b"all")
    model = torch.nn.ModuleDict(dict(backbone=torch.nn.Identity(), neck=torch.nn.Identity()))
    model["backbone"].pretrained = str(tmp_path / "clip.pt")
    model["backbone"].arch = dict(embed_dim=8, vision_cfg={}, text_cfg={})
    model["neck"].init_cfg = dict(type="Pretrained", checkpoint="https://models/resnet.pth")
    runner = SimpleNamespace(checkpoint=str(tmp_path / "run.pth"))
    found = record.loaded_weights(runner, model, "train")
    assert [(entry["part"], entry["sha256"][:8]) for entry in found] == [
        ("backbone", hashlib.sha256(b"image and text").hexdigest()[:8]), ("neck", "no file "),
        ("model", hashlib.sha256(b"all").hexdigest()[:8])]
    assert [entry["part"] for entry in record.loaded_weights(runner, model, "test")] == ["model"]
