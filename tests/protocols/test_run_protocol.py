"""Whole protocols, from split files to a row of a table, through the host's Runner."""
import json
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from claver_mm_cli import MISTAKE, main
from local_tower import write_tower
from mmaction.registry import MODELS
from mmengine.config import Config
from splits import classes_of, write_hmdb51, write_ucf101
from toy import ROOT, TINY, toy_config

from claver_mm.catalog import PROMPTS
from claver_mm.models import ContrastiveTextHead
from claver_mm.protocols import kinetics600_zero_shot
from claver_mm.protocols.lists import ClassNumbers
from claver_mm.protocols.summary import summed_up


@MODELS.register_module()
class SeesFoldersHead(ContrastiveTextHead):
    """A perfect scorer: the class is the folder that the video lies in, looked up in the names that the head was given.

    Labels play no part, so that a wrong one shows.
    """

    def predict_by_feat(self, cls_scores, data_samples):
        samples = super().predict_by_feat(cls_scores, data_samples)
        for sample in samples:
            number = ClassNumbers(self.class_names).of(Path(sample.filename).parent.name, sample.filename)
            sample.set_pred_score(torch.eye(self.num_classes)[number])
        return samples


@pytest.fixture
def command(motion_videos, tmp_path, monkeypatch):
    """Writes a toy config and its weights; returns a call of the tool, which makes the videos that it is told of."""
    cfg = toy_config("claver_b16_kmct_k400", motion_videos, tmp_path, **{
        "model.cls_head.type": "SeesFoldersHead", "train_dataloader.batch_size": 128, "test_dataloader.batch_size": 64})
    cfg.model.cls_head.update(bank=str(ROOT / "prompts/kinetics.yaml"), kinds=["synonym"], per_kind=2, num_draws=1,
                              templates=["{}", "a video of {}."], classes=str(ROOT / "prompts/classes/kinetics400.txt"))
    cfg.model.backbone.arch = cfg.model.neck.arch = cfg.model.cls_head.arch = dict(
        TINY, vision_cfg=dict(layers=1, width=32, head_width=32, patch_size=16, image_size=32),
        text_cfg=dict(context_length=24, width=32, heads=2, layers=1))
    for loader in ("val", "test"):
        cfg[f"{loader}_dataloader"].dataset.pipeline[-1].meta_keys = ("filename",)
    cfg.pop("work_dir")
    cfg.model.backbone.pretrained = cfg.model.cls_head.pretrained = str(tmp_path / "nothing is downloaded.pt")
    cfg.dump(tmp_path / "toy.py")
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), tmp_path / "w.pth")
    film = sorted((motion_videos / "val").iterdir())[0]

    def run(protocol, videos, *options):
        for path in videos:
            (tmp_path / "data/videos" / path).parent.mkdir(parents=True, exist_ok=True)
            os.link(film, tmp_path / "data/videos" / path)
        status = main([str(option) for option in (
            "protocol", protocol, "--config", tmp_path / "toy.py", "--checkpoint", tmp_path / "w.pth", "--views", "1x1",
            "--data-root", tmp_path / "data", "--videos", tmp_path / "data/videos", "--work-dir", tmp_path / "out",
            *options)])
        if status:
            return status
        if "--lists-only" not in options:
            return json.loads((tmp_path / "out/result.json").read_text())
    return run


def test_a_tower_as_it_is_runs_a_protocol_without_a_checkpoint(motion_videos, tmp_path, capsys):
    write_tower(tmp_path / "tower")
    film, name = sorted((motion_videos / "val").iterdir())[0], f"local-dir:{tmp_path / 'tower'}"
    for path in write_hmdb51(tmp_path / "data/annotations"):
        (tmp_path / "data/videos" / path).parent.mkdir(parents=True, exist_ok=True)
        os.link(film, tmp_path / "data/videos" / path)
    options = ["--data-root", tmp_path / "data", "--work-dir", tmp_path / "out", "--cfg-options", "model.num_frames=2",
               "test_dataloader.num_workers=0", "test_dataloader.persistent_workers=False",
               "test_dataloader.batch_size=51"]
    assert main([str(option) for option in ("protocol", "zero-shot-hmdb51", "--tower", name, *options)]) == 0
    report = json.loads((tmp_path / "out/result.json").read_text())
    assert report["tower"] == name and report["checkpoint"] is None and name in capsys.readouterr().out
    assert len(report["runs"]) == 3 and {run["views"] for run in report["runs"]} == {"1x1"}
    assert main([str(option) for option in ("protocol", "few-shot-hmdb51", "--tower", name, *options)]) == MISTAKE
    assert "--tower is a model without a checkpoint, for zero-shot protocols and --adapt" in capsys.readouterr().err


def test_few_shot_on_kept_tokens_encodes_no_video_twice_and_chooses_nothing_on_the_test_set(
        motion_videos, tmp_path, monkeypatch):
    from claver_mm.adapt import few_shot
    from claver_mm.adapt.encode import Encoded

    monkeypatch.setattr(few_shot, "SETTINGS", replace(few_shot.SETTINGS, epochs=1))
    write_tower(tmp_path / "tower")
    film = sorted((motion_videos / "val").iterdir())[0].read_bytes()
    paths = write_hmdb51(tmp_path / "data/annotations")
    for number, path in enumerate(paths):
        (tmp_path / "data/videos" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data/videos" / path).write_bytes(film + struct.pack(">I4sI", 12, b"free", number))
    encoded, through = [], Encoded._through_tower
    monkeypatch.setattr(Encoded, "_through_tower", lambda self, frames: encoded.append(len(frames)) or through(
        self, frames))
    status = main([str(option) for option in (
        "protocol", "few-shot-hmdb51", "--adapt", "--tower", f"local-dir:{tmp_path / 'tower'}", "--shots", 1, 2,
        "--data-root", tmp_path / "data", "--work-dir", tmp_path / "out", "--cache", tmp_path / "cache",
        "--cfg-options", "model.num_frames=2")])
    report = json.loads((tmp_path / "out/result.json").read_text())
    assert status == 0 and list(report["numbers"]) == ["K=1", "K=2"]
    needed = {path.stem for listed in (tmp_path / "out").rglob("list.txt") for path in map(
        Path, (line.rpartition(" ")[0] for line in listed.read_text().splitlines()))}
    assert sum(encoded) == len(needed)
    # all videos show the same, so that one class of 51 is right
    assert [run["metrics"]["acc/top1"] for run in report["runs"]] == pytest.approx([1 / 51] * 2)
    assert {run["listed"] for run in report["runs"]} == {51}


def cells(report):
    return [cell.strip() for cell in report["row"].strip("|").split("|")]


@pytest.mark.parametrize("dataset, write, count", [("ucf101", write_ucf101, 101), ("hmdb51", write_hmdb51, 51)])
def test_a_perfect_scorer_scores_100_percent_zero_shot(dataset, write, count, command, tmp_path, capsys):
    report = command(f"zero-shot-{dataset}", write(tmp_path / "data/annotations"))
    assert cells(report) == [f"zero-shot-{dataset}", "100.0 ± 0.0", f"{count}, {count}, {count}", str(count),
                             "4: 2 templates, 2 synonym", "1x1", str(tmp_path / "w.pth")]
    assert report["row"] in capsys.readouterr().out
    assert report["numbers"]["top-1"] == dict(mean=1, deviation=0, values=[1, 1, 1]) and report["deviation"] == "sample"
    assert report["runs"][0]["prompts"]["bank"] == str(PROMPTS / f"{dataset}.yaml")


def test_a_perfect_scorer_scores_100_percent_on_the_draws_of_kinetics600(command, tmp_path):
    classes, novel = classes_of("kinetics600"), kinetics600_zero_shot().novel
    videos = [f"{name}/a b.mp4" for name in (*novel, "abseiling")]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/kinetics600_test_list_videos.txt").write_text(
        "".join(f"{path} {classes.index(path.split('/')[0])}\n" for path in videos))
    report = command("zero-shot-kinetics600", videos)
    assert cells(report)[1:4] == ["100.0 ± 0.0", "160, 160, 160", "160"]
    for number, draw in enumerate(kinetics600_zero_shot().draws, start=1):
        folder = tmp_path / f"out/draw{number}/top-1"
        assert (folder / "classes.txt").read_text().splitlines() == list(draw)
        assert (folder / "list.txt").read_text().splitlines() == [f"{name}/a b.mp4 {i}" for i, name in enumerate(draw)]


def test_a_perfect_scorer_scores_100_percent_few_shot(command, tmp_path):
    report = command("few-shot-hmdb51", write_hmdb51(tmp_path / "data/annotations"), "--shots", 2)
    assert cells(report)[:3] == ["few-shot-hmdb51", "100.0", "51"] and list(report["numbers"]) == ["K=2"]
    folder = tmp_path / "out/2shot_seed0"
    assert len((folder / "train/list.txt").read_text().splitlines()) == 102
    assert report["runs"][0]["weights"] == str(folder / "epoch_1.pth")
    start, end = (torch.load(path)["state_dict"] for path in (tmp_path / "w.pth", folder / "epoch_1.pth"))
    moved = max(float((end[key] - start[key]).abs().max()) for key in start)
    assert 0 < moved < 0.01  # trained, and from these weights
    assert cells(command("few-shot-hmdb51", [], "--shots", 2, "--resume"))[1] == "100.0"
    assert any("resumed epoch: 1" in log.read_text() for log in folder.glob("*/*.log"))


def test_a_perfect_scorer_scores_100_percent_from_base_to_novel(command, tmp_path):
    report = command("base-to-novel-hmdb51", write_hmdb51(tmp_path / "data/annotations"), "--shots", 1)
    assert cells(report)[1:6] == ["100.0", "100.0", "100.0", "26, 25", "26, 25"]
    assert list(report["numbers"]) == ["base", "novel", "harmonic mean"]
    names = [(tmp_path / f"out/base_1shot_seed0/{part}/classes.txt").read_text().splitlines()
             for part in ("train", "base", "novel")]
    assert names[0] == names[1] and names[1] + names[2] == classes_of("hmdb51")


def test_lists_are_the_same_in_two_runs_and_another_seed_draws_others(command, tmp_path):
    write_ucf101(tmp_path / "data/annotations", train=6)

    def lists(*options):
        command("few-shot-ucf101", [], "--shots", 2, 4, "--lists-only", *options)
        return [path.read_text().splitlines() for path in sorted(tmp_path.glob("out/*/train/list.txt"))]

    small, large = first = lists()
    assert [len(small), len(large)] == [202, 404] and set(small) < set(large) and lists() == first
    shutil.rmtree(tmp_path / "out")
    assert not set(lists("--seeds", 1)[0]) == set(small)


def test_results_of_several_seeds_are_averaged_with_the_deviation_that_is_asked_for():
    results = [dict(column=column, metrics={"acc/top1": value}, list_sha256="0", videos=3, listed=4, classes=101,
                    views="4x3", prompts=dict(templates=12, texts_per_class=12))
               for column, values in {"K=2": (0.77, 0.785, 0.803), "K=4": (0.9,)}.items() for value in values]
    lines, numbers = summed_up("few-shot-ucf101", "https://x/w.pth", results, "population")
    assert lines == [
        "| protocol | K=2 % (mean ± population deviation) | K=4 % | videos | classes | texts of a class | views "
        "| checkpoint |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| few-shot-ucf101 | 78.6 ± 1.3 | 90.0 | 3 of 4 | 101 | 12: 12 templates | 4x3 | https://x/w.pth |"]
    assert numbers["K=4"] == dict(mean=0.9, deviation=None, values=[0.9])


@pytest.mark.parametrize("options, says", [
    (["zero-shot-ucf101", "--shots", "2"], "--shots has no meaning for zero-shot-ucf101"),
    (["few-shot-ucf101", "--list", "x"], "--list has no meaning for few-shot-ucf101"),
    (["base-to-novel-ucf101", "--shots", "2", "4"], "takes one number of shots"),
    (["zero-shot-ucf101", "--cfg-options", "test_dataloader.dataset.ann_file=x"], "ann_file is set by the protocol"),
    (["zero-shot-ucf50"], "invalid choice: 'zero-shot-ucf50'"),
    (["zero-shot-ucf101", "--seeds", "1"], "--seeds has no meaning for zero-shot-ucf101"),
    (["few-shot-ucf101", "--few-shot-files", "f", "--seeds", "1"], "--seeds has no meaning for few-shot-ucf101 with"),
    (["few-shot-ucf101", "--shots", "2", "2"], "--shots names a number twice: [2, 2]"),
    (["few-shot-ucf101", "--checkpoint", "gone.pth"], "no checkpoint at gone.pth"),
])
def test_options_that_cannot_be_honoured_are_refused(options, says, capsys):
    """Seeds were ignored where nothing is drawn, and a missing checkpoint was named by a traceback after the lists."""
    line = ["protocol", *options, "--config", "c", "--data-root", "d"]
    line += [] if "--checkpoint" in options else ["--checkpoint", __file__]
    if says.startswith("invalid choice"):
        with pytest.raises(SystemExit):
            main(line)
    else:
        assert main(line) == MISTAKE
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("change, says", [
    ({"model.cls_head.classes": "gone"}, "the head 'SeesFoldersHead' does not take texts of classes"),
    ({"test_dataloader.dataset.type": "VideoDataset"}, "the test data set is 'VideoDataset'; a protocol"),
    ({"test_evaluator.metric_list": ("mean_class_accuracy",)}, "evaluator reports acc/mean1, not acc/top1"),
])
def test_configs_that_cannot_be_used_are_refused(change, says, command, tmp_path, capsys):
    cfg = Config.fromfile(tmp_path / "toy.py")
    cfg.merge_from_dict(change)
    if "gone" in change.values():
        del cfg.model.cls_head["classes"]
    cfg.dump(tmp_path / "toy.py")
    assert command("zero-shot-hmdb51", write_hmdb51(tmp_path / "data/annotations")) == MISTAKE
    assert says in capsys.readouterr().err
