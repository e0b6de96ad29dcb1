"""Weights of towers by tag, by file, in a folder and in a cache of the hub."""
import pytest
import torch
from local_tokenizers import end_marked
from local_tower import MODEL, write_tower
from small import TOWERS, _named, small_convnext

from claver_mm.model import create_model
from claver_mm.towers.architectures import model_config
from claver_mm.towers.preprocessing import preprocessing_of
from claver_mm.towers.pretrained import parse_reference, resolve_pretrained, tower_settings
from claver_mm.towers.tokenizer import tokenize


def assert_is(model, whole):
    assert torch.equal(model.visual.conv1.weight, whole.visual.conv1.weight)
    assert torch.equal(model.clip.text.token_embedding.weight, whole.token_embedding.weight)
    assert model.preprocessing.std == (0.25, 0.5, 0.5) and model.preprocessing.resize_mode == "squash"


def test_a_folder_holds_config_preprocessing_and_weights(tmp_path):
    whole = write_tower(tmp_path)
    name = f"local-dir:{tmp_path}"
    assert_is(create_model(name, name, pattern=None), whole)


def test_a_folder_named_as_weights_brings_its_preprocessing(tmp_path):
    """They were prepared for as weights of the architecture are on the whole, without a word."""
    whole = write_tower(tmp_path)
    assert_is(create_model(MODEL, f"local-dir:{tmp_path}", pattern=None), whole)
    assert preprocessing_of("ViT-B-16", f"local-dir:{tmp_path}").mean == (0.5,) * 3
    given = preprocessing_of("ViT-B-16", "w.pt", f"local-dir:{tmp_path}")
    assert given.resize_mode == "squash" and given.size == (224, 224)


@pytest.mark.parametrize("built, trained, says", [
    (False, True, "was trained with QuickGELU, but the given model config is built with GELU; use the form.*with '-q"),
    (True, False, "was trained with GELU, but the given model config is built with QuickGELU.*without '-quickgelu'")])
def test_a_folder_named_as_weights_of_another_activation_is_refused(built, trained, says, tmp_path):
    write_tower(tmp_path, quick_gelu=trained)
    with pytest.raises(ValueError, match=says):
        create_model(dict(MODEL, quick_gelu=built), f"local-dir:{tmp_path}", pattern=None)


def test_a_folder_that_is_written_anew_is_read_anew(tmp_path):
    """What its config said first was kept for as long as the process ran."""
    for quick_gelu in (False, True):
        write_tower(tmp_path, quick_gelu=quick_gelu)
        assert model_config(f"local-dir:{tmp_path}").get("quick_gelu", False) is quick_gelu


def test_a_folder_may_lie_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    whole = write_tower(tmp_path / "tower")
    assert_is(create_model("local-dir:~/tower", "local-dir:~/tower", pattern=None), whole)


def test_a_cache_of_the_hub_serves_offline(tmp_path, monkeypatch):
    """Laid out as huggingface_hub lays it out; nothing is fetched, since there is nowhere to fetch it from."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repo = tmp_path / "models--someone--small"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text("0" * 40)
    whole = write_tower(repo / "snapshots" / ("0" * 40))
    settings = tower_settings("hf-hub:someone/small", cache_dir=tmp_path)
    assert settings["arch"].startswith("local-dir:")
    assert_is(create_model(**settings, pattern=None), whole)
    with pytest.raises(RuntimeError, match="hf-hub:someone/large is not in .*and could not be downloaded"):
        tower_settings("hf-hub:someone/large", cache_dir=tmp_path)


def test_a_cache_of_the_hub_brings_the_tokenizer_of_the_model(tmp_path, monkeypatch):
    """Config and weights alone were put there, and what reads the folder looked for the tokenizer beside them."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repo = tmp_path / "models--someone--small"
    snapshot = repo / "snapshots" / ("0" * 40)
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text("0" * 40)
    write_tower(snapshot, text_cfg=dict(MODEL["text_cfg"], hf_tokenizer_name="someone/small", pool_type="last"))
    with pytest.raises(RuntimeError, match="hf-hub:someone/small is not in .*and could not be downloaded"):
        tower_settings("hf-hub:someone/small", cache_dir=tmp_path)
    end_marked(snapshot)
    arch = tower_settings("hf-hub:someone/small", cache_dir=tmp_path)["arch"]
    assert tokenize(["a cat"], arch)[0, :4].tolist() == [3, 4, 1, 0]


@pytest.mark.parametrize("names, says", [
    ([], "no weights there"), (["a.bin", "b.bin"], r"of a.bin, b.bin none is named so; give the file itself")])
def test_a_folder_whose_weights_cannot_be_told_is_refused(names, says, tmp_path):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=says):
        resolve_pretrained(f"local-dir:{tmp_path}", MODEL)


def test_the_one_file_of_a_folder_is_taken_and_a_known_name_goes_first(tmp_path):
    (tmp_path / "mine.bin").write_bytes(b"")
    assert resolve_pretrained(f"local-dir:{tmp_path}", MODEL) == tmp_path / "mine.bin"
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert resolve_pretrained(f"local-dir:{tmp_path}", MODEL) == tmp_path / "pytorch_model.bin"


@pytest.mark.parametrize("reference, found", [
    ("open_clip:PE-Core-L-14-336/meta", ("PE-Core-L-14-336", "meta")), ("open_clip:L/14@336/openai", ("L/14@336",
                                                                                                    "openai")),
    ("hf-hub:timm/PE-Core-B-16", ("hf-hub:timm/PE-Core-B-16",) * 2)])
def test_a_reference_names_architecture_and_weights(reference, found):
    assert parse_reference(reference) == found


@pytest.mark.parametrize("arch, tag, mean, how", [
    ("B/16", "openai", 0.48145466, ("bicubic", "shortest")), ("ViT-L-14", "laion2b_s32b_b82k", 0.5, ("bicubic",
                                                                                                  "shortest")),
    ("PE-Core-B-16", "meta", 0.5, ("bilinear", "squash")), ("ViT-B-16-SigLIP2", "webli", 0.5, ("bicubic", "squash")),
    ("MobileCLIP2-S2", "dfndr2b", 0, ("bilinear", "shortest")),
    ("ViT-H-14-378-quickgelu", "dfn5b", 0.48145466, ("bicubic", "squash"))])
def test_preprocessing_is_that_of_the_tag(arch, tag, mean, how):
    found = preprocessing_of(arch, tag)
    assert found.mean[0] == pytest.approx(mean) and (found.interpolation, found.resize_mode) == how


@pytest.mark.parametrize("given, says", [
    (dict(mean=[0.5]), "mean has a number for red, green and blue"), (dict(size=3), "a size is said by image_size"),
    (dict(resize_mode="crop"), "unknown resize_mode 'crop'; one of shortest, squash, longest")])
def test_preprocessing_that_makes_no_sense_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        preprocessing_of("B/16", "openai", given)


@pytest.mark.parametrize("arch", ["PE-Core-B-16", "B/16", MODEL], ids=["PE", "B/16", "config"])
def test_a_tag_that_the_architecture_has_not_is_refused_where_it_says_how_frames_are_prepared(arch):
    with pytest.raises(ValueError, match="preprocessing='mta' is no open_clip tag of .*; its tags: "):
        preprocessing_of(arch, "w.pt", "mta")


def odd_convnext(**how):
    return small_convnext(**{"dims": (16, 16, 32, 80), **how})


def test_channels_that_do_not_divide_into_heads_are_named():
    vision = dict(TOWERS["convnext"]["vision_cfg"], timm_model_name=_named(odd_convnext))
    with pytest.raises(ValueError, match="the 80 channels of the given model config do not divide into heads of 64"):
        create_model(dict(TOWERS["convnext"], vision_cfg=vision), depth=1)
