"""A recogniser on the hub, which a server on this machine plays."""
from __future__ import annotations

import re

import huggingface_hub.constants
import pytest
import yaml
from hub_server import TOKEN, serving
from test_saved_folder import same_answers

from claver_mm import Recognizer
from claver_mm.saved.hub import download

NAME = "somebody/motions"
REFERENCE = f"hf-hub:{NAME}"


@pytest.fixture()
def hub(monkeypatch, tmp_path):
    with serving() as (hub, endpoint):
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                            endpoint + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a store of its own beside the hub
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr("time.sleep", lambda _: None)  # which the client does before it tries again
        yield hub


@pytest.fixture()
def pushed(hub, recognizer):
    recognizer.push_to_hub(NAME, token=TOKEN, metrics={"My videos": {"top-1 accuracy": 0.93}}, license="apache-2.0")
    return hub


def offline(monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_what_is_pushed_is_loaded_by_its_name_and_then_without_the_net(pushed, recognizer, video, monkeypatch):
    files = pushed.files(NAME, "main")[1]
    assert set(files) == {".gitattributes", "README.md", "config.json", "metafile.yml", "model.safetensors",
                          "texts.json"}
    loaded = Recognizer.from_pretrained(REFERENCE, device="cpu")
    same_answers(recognizer, loaded, video)
    offline(monkeypatch)
    asked = len(pushed.asked)
    same_answers(recognizer, Recognizer.from_pretrained(REFERENCE, device="cpu"), video)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    same_answers(recognizer, Recognizer.from_pretrained(REFERENCE, device="cpu", local_files_only=True), video)
    assert len(pushed.asked) == asked


def test_the_card_says_what_the_hub_reads(pushed):
    front = yaml.safe_load(pushed.files(NAME, "main")[1]["README.md"].decode().split("---\n")[1])
    assert front["license"] == "apache-2.0" and front["pipeline_tag"] == "video-classification"
    entry, = front["model-index"]
    assert entry["name"] == "motions"
    assert entry["results"][0]["dataset"] == dict(name="My videos", type="my-videos")
    assert entry["results"][0]["metrics"] == [dict(type="top-1-accuracy", name="top-1 accuracy", value=0.93)]
    model, = yaml.safe_load(pushed.files(NAME, "main")[1]["metafile.yml"])["Models"]
    assert model["Results"] == [dict(Dataset="My videos", Task="Action Recognition",
                                     Metrics={"top-1 accuracy": 0.93})]


def test_the_card_is_one_that_huggingface_hub_accepts(pushed):
    from huggingface_hub import ModelCard
    data = ModelCard(pushed.files(NAME, "main")[1]["README.md"].decode()).data
    assert data.eval_results[0].metric_value == 0.93 and data.library_name == "claver-mm"


def test_revisions_are_kept_apart(pushed, recognizer, tmp_path):
    first = pushed.branches[NAME]["main"]
    recognizer.threshold = 0.25
    try:
        recognizer.push_to_hub(NAME, token=TOKEN, revision="careful", record=dict(seed=3), commit_message="careful now")
    finally:
        recognizer.threshold = None
    assert "record.json" in pushed.files(NAME, "careful")[1] and pushed.branches[NAME]["main"] == first
    cache = tmp_path / "another cache"
    assert Recognizer.from_pretrained(REFERENCE, revision="careful", cache_dir=cache, device="cpu").threshold == 0.25
    assert Recognizer.from_pretrained(REFERENCE, revision=first, cache_dir=cache, device="cpu").threshold is None
    with pytest.raises(RuntimeError, match="somebody/motions has no such revision"):
        Recognizer.from_pretrained(REFERENCE, revision="daring", cache_dir=cache)
    recognizer.push_to_hub(NAME, token=TOKEN, revision="careful")
    assert "record.json" not in pushed.files(NAME, "careful")[1]  # of the one before


def test_a_wrong_token_is_told(hub, pushed, recognizer):
    for act in (lambda: recognizer.push_to_hub(NAME, token="hf_wrong"),
                lambda: Recognizer.from_pretrained(REFERENCE, token="hf_wrong")):
        with pytest.raises(RuntimeError, match="refuses the token for hf-hub:somebody/motions"):
            act()


def test_a_private_one_needs_a_token(hub, recognizer):
    recognizer.push_to_hub("somebody/secret", private=True, token=TOKEN)
    with pytest.raises(RuntimeError, match="there is no hf-hub:somebody/secret at http.*or this token may not see it"):
        Recognizer.from_pretrained("hf-hub:somebody/secret", token=False)
    assert Recognizer.from_pretrained("hf-hub:somebody/secret", token=TOKEN, device="cpu").threshold is None


def test_what_is_not_there_is_told(hub):
    with pytest.raises(RuntimeError, match="there is no hf-hub:somebody/nothing at http"):
        Recognizer.from_pretrained("hf-hub:somebody/nothing")
    with pytest.raises(RuntimeError, match="hf-hub:no/such/name could not be downloaded"):
        Recognizer.from_pretrained("hf-hub:no/such/name")


def test_a_download_that_breaks_off_leaves_nothing_that_passes_for_a_recogniser(pushed, monkeypatch, video, recognizer):
    pushed.cut = "model.safetensors"
    with pytest.raises(RuntimeError, match="hf-hub:somebody/motions could not be downloaded"):
        Recognizer.from_pretrained(REFERENCE)
    offline(monkeypatch)
    with pytest.raises((RuntimeError, FileNotFoundError), match="not in the cache, not all of it|no model.safetensors"):
        Recognizer.from_pretrained(REFERENCE)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    pushed.cut = None
    same_answers(recognizer, Recognizer.from_pretrained(REFERENCE, device="cpu"), video)


@pytest.mark.parametrize("where", ["preupload", "commit"])
def test_an_upload_that_breaks_off_leaves_the_repository_as_it_was(where, pushed, recognizer, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = pushed.files(NAME, "main")
    pushed.cut = where
    with pytest.raises(RuntimeError, match="hf-hub:somebody/motions could not be uploaded"):
        recognizer.push_to_hub(NAME, token=TOKEN, record=dict(seed=1))
    assert pushed.files(NAME, "main") == before and not list(tmp_path.glob("tmp*"))


@pytest.mark.parametrize("more", [{}, {"config.json": b'{"architecture": "vit"}'}])
def test_a_tower_on_the_hub_is_no_recogniser_with_and_without_the_net(more, hub, monkeypatch):
    hub.create("somebody/tower")
    hub.branches["somebody/tower"]["main"] = hub.commit("somebody/tower", {"open_clip_config.json": b"{}", **more})
    assert download("hf-hub:somebody/tower") is None
    assert not [asked for asked in hub.asked if re.search("GET .*open_clip", asked)]
    huggingface_hub.hf_hub_download("somebody/tower", "open_clip_config.json")
    offline(monkeypatch)
    assert download("hf-hub:somebody/tower") is None
    with pytest.raises(RuntimeError, match="hf-hub:somebody/other is not in the cache.*the hub was not asked"):
        download("hf-hub:somebody/other")


def test_arguments_of_the_hub_are_refused_elsewhere(folder):
    for how in (dict(revision="main"), dict(local_files_only=True), dict(token="x")):
        with pytest.raises(ValueError, match=f"{next(iter(how))} is for hf-hub:ORGANISATION/NAME"):
            Recognizer.from_pretrained(folder, **how)
