"""A recogniser saved without the public weights of its tower, which whoever loads it has or gets."""
from __future__ import annotations

import pickle

import pytest
import torch
from claver_mm_cli import main
from local_tower import write_tower
from safetensors import safe_open
from test_saved_folder import same_answers

from claver_mm import Recognizer
from claver_mm.engine.configs import read_config
from claver_mm.saved.folder import digests, read
from claver_mm.weights import WeightsDoNotFit, read_state_dict
from claver_mm.weights.difference import is_difference, load_over, same_bits, write_weights

HUB = "hf-hub:someone/small"


@pytest.fixture()
def tower(tmp_path, monkeypatch):
    """A public tower, as if it lay in the hub's cache."""
    from claver_mm.towers import architectures, preprocessing, pretrained
    torch.manual_seed(0)
    write_tower(tmp_path / "hub")

    def downloaded(place, filename=None, **_):
        if place != "someone/small":
            raise FileNotFoundError(f"no {place}")
        return str(tmp_path / "hub" / (filename or "open_clip_model.safetensors"))
    monkeypatch.setattr(pretrained, "download_pretrained_from_hf", downloaded)
    monkeypatch.setattr(preprocessing, "download_pretrained_from_hf", downloaded)
    monkeypatch.setattr("open_clip.factory.download_pretrained_from_hf", downloaded)
    monkeypatch.setattr("claver_mm.saved.mixin.download", lambda *_, **__: None)  # it is a tower
    monkeypatch.setattr("open_clip.factory._get_hf_config", lambda place, **_: architectures.json.loads(
        (tmp_path / "hub/open_clip_config.json").read_text()))
    architectures._of_hub.cache_clear()
    yield tmp_path / "hub"
    architectures._of_hub.cache_clear()


@pytest.fixture()
def trained(tower, motion_videos):
    """The tower behind a temporal part, one weight of its own changed."""
    config = read_config("claver_b16_kmct_k400", {
        "model.arch": HUB, "model.pretrained": HUB, "model.classes": str(motion_videos / "classes.txt"),
        "model.bank": None, "model.neck.depth": 1, "model.cls_head.templates": ["{}", "a {}"]})
    recognizer = Recognizer(config, device="cpu", untrained=True)
    with torch.no_grad():
        recognizer.head.clip.logit_scale.add_(0.5)
        for parameter in recognizer.model.neck.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return recognizer


def test_a_tower_as_it_is_has_no_weights_of_its_own(tower, video, tmp_path):
    recognizer = Recognizer.from_pretrained(HUB, 3, device="cpu")
    folder = recognizer.save_pretrained(tmp_path / "it")
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert not file.keys()
    assert read(folder)["tower"]["reference"] == HUB
    loaded = Recognizer.from_pretrained(folder, device="cpu")
    same_answers(recognizer, loaded, video, ["juggling balls", "diving cliff"])
    assert loaded.texts(["juggling balls"]).digest == recognizer.texts(["juggling balls"]).digest


def test_what_differs_alone_is_written(trained, video, tmp_path):
    folder = trained.save_pretrained(tmp_path / "difference")
    names = set(read_state_dict(folder / "model.safetensors"))
    assert names == {name for name in trained.model.state_dict() if name.startswith("neck.")} | {
        "cls_head.clip.logit_scale"}
    whole = trained.save_pretrained(tmp_path / "whole", whole=True)
    sizes = [(each / "model.safetensors").stat().st_size for each in (folder, whole)]
    assert sizes[0] < sizes[1] / 10
    assert read(folder)["weights"] == "difference" and read(whole)["weights"] == "whole"
    assert read(whole)["tower"]["reference"] is None
    for each in (folder, whole):
        same_answers(trained, Recognizer.from_pretrained(each, device="cpu"), video)
    again = Recognizer.from_pretrained(folder, device="cpu").save_pretrained(tmp_path / "again")
    assert digests(again) == digests(folder)


def test_the_whole_needs_no_tower(trained, tower, video, tmp_path):
    whole = trained.save_pretrained(tmp_path / "whole", whole=True)
    expected = trained.recognize(video)
    (tower / "open_clip_model.safetensors").unlink()
    (tower / "open_clip_config.json").unlink()
    loaded = Recognizer.from_pretrained(whole, device="cpu")
    assert [(entry.label, pytest.approx(entry.score, abs=1e-6)) for entry in expected] == loaded.recognize(video)


def test_other_public_weights_are_refused(trained, tower, tmp_path):
    folder = trained.save_pretrained(tmp_path / "it")
    torch.manual_seed(1)
    write_tower(tower)
    with pytest.raises(WeightsDoNotFit, match="these here are others"):
        Recognizer.from_pretrained(folder, device="cpu")


def test_the_towers_weights_may_be_a_file(trained, tower, video, tmp_path):
    folder, file = trained.save_pretrained(tmp_path / "it"), tmp_path / "weights.safetensors"
    expected = trained.recognize(video)
    (tower / "open_clip_model.safetensors").rename(file)
    loaded = Recognizer.from_pretrained(folder, weights=file, device="cpu")
    assert [(entry.label, pytest.approx(entry.score, abs=1e-6)) for entry in expected] == loaded.recognize(video)
    whole = loaded.save_pretrained(tmp_path / "whole", whole=True)
    with pytest.raises(ValueError, match="holds all weights of the recogniser; leave the tower's out"):
        Recognizer.from_pretrained(whole, weights=file)


def test_a_tower_that_was_trained_all_through_is_written_whole(trained, tmp_path):
    """A second file of weights for the sake of a few small tensors would be no service."""
    with torch.no_grad():
        for parameter in trained.model.parameters():
            parameter.add_(1e-3) if parameter.ndim > 1 else None
    folder = trained.save_pretrained(tmp_path / "it")
    assert read(folder)["weights"] == "whole" and not is_difference(folder / "model.safetensors")


def test_the_command_tests_and_trains_a_difference(trained, motion_videos, tmp_path, monkeypatch, capsys):
    folder = trained.save_pretrained(tmp_path / "it")
    monkeypatch.chdir(tmp_path)
    options = [f"data_root={motion_videos}", "test_dataloader.num_workers=0", "train_cfg.max_epochs=1",
               "test_dataloader.persistent_workers=False", "val_dataloader.num_workers=0",
               "val_dataloader.persistent_workers=False", "train_dataloader.num_workers=0",
               "train_dataloader.persistent_workers=False"]
    whole = trained.save_pretrained(tmp_path / "whole", whole=True)
    for each in (folder, whole):
        assert main(["test", str(each), "--dump", f"{each.name}.pkl", "--cfg-options", *options]) == 0
        assert "acc/top1" in capsys.readouterr().out
        for entry in pickle.loads((tmp_path / f"{each.name}.pkl").read_bytes()):
            found = {one.label: one.score for one in trained.recognize(entry["video"])}
            expected = [found[name] for name in trained.texts().names]
            assert entry["pred_score"].tolist() == pytest.approx(expected, abs=1e-6)
    assert main(["cp", str(folder), "mine.py"]) == 0
    assert main(["train", "mine.py", "--cfg-options", *options]) == 0
    assert (tmp_path / "work_dirs/mine/epoch_1.pth").is_file()


def test_a_difference_is_of_bits(tmp_path):
    a = torch.tensor([0.0, 1.0])
    assert not same_bits(a, torch.tensor([-0.0, 1.0])) and same_bits(a, a.clone())
    assert not same_bits(a, a.double()) and not same_bits(a, a[:1])
    model = torch.nn.Linear(2, 2)
    public = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model.bias.add_(1)
    assert write_weights(tmp_path / "w.safetensors", model.state_dict(), public) == "difference"
    assert set(read_state_dict(tmp_path / "w.safetensors")) == {"bias"}
    fresh = torch.nn.Linear(2, 2)
    with pytest.raises(WeightsDoNotFit, match="these here are others"):
        load_over(fresh, tmp_path / "w.safetensors")
    fresh.load_state_dict(public)
    load_over(fresh, tmp_path / "w.safetensors")
    assert torch.equal(fresh.bias, model.bias)
