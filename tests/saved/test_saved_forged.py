"""Folders that are damaged, mixed, of another version, or made to do harm: refused by name, and nothing is run."""
from __future__ import annotations

import json
import shutil

import pytest
import torch
from claver_mm_cli import MISTAKE, main
from local_tokenizers import as_siglips
from small import TOWERS

from claver_mm import Recognizer
from claver_mm.saved.contract import check
from claver_mm.saved.settings import config_text, saved_settings
from claver_mm.settings.keys import plain
from claver_mm.towers.tokenizer import tokenize


@pytest.fixture()
def said(folder) -> dict:
    return json.loads((folder / "config.json").read_text())


def put(said: dict, place: str, value: object) -> None:
    *outer, last = [int(name) if name.isdigit() else name for name in place.split(".")]
    for name in outer:
        said = said[name]
    if value is KeyError:
        del said[last]
    else:
        said[last] = value


OS_SYSTEM = dict(type="os.system", command="touch /tmp/forged")


@pytest.mark.parametrize("place, value, says", [
    ("format", "transformers", "its format is not 'claver-mm'"),
    ("format_version", 2, "has the format_version 2, this version reads 1"),
    ("format_version", KeyError, "has the format_version None"),
    ("tower", KeyError, "tower is missing"),
    ("preprocessing.mean", KeyError, "preprocessing.mean is missing"),
    ("preprocessing.mean", [0.5, 0.5], "preprocessing.mean is .* which is not three numbers"),
    ("num_frames", 0, "num_frames is 0, which is not a whole number of at least 1"),
    ("num_frames", 7, "sampling.one takes 4 frames, num_frames is 7"),
    ("threshold", "high", "threshold is 'high', which is not a number or null"),
    ("weigths", "whole", "nothing reads weigths; did you mean 'weights'"),
    ("weights", "quarter", "weights is 'quarter', neither whole nor difference"),
    ("weights", "difference", "tower.reference None names no public ones"),
    ("sampling.one.0", OS_SYSTEM, "sampling.one.0 is 'os.system', and not one of the steps"),
    ("sampling.all.0", dict(type="mmaction.OpenVideo"), "sampling.all.0 is 'mmaction.OpenVideo', and not one of"),
    ("sampling.all.0", ["OpenVideo"], "sampling.all.0 is .* and not one of the steps"),
    ("sampling.one.0.backend_args", OS_SYSTEM, "backend_args of OpenVideo is no plain value"),
    ("sampling.one.0.decoders", [OS_SYSTEM], "decoders of OpenVideo is no plain value"),
    ("temporal.type", "os.system", "nothing reads temporal.type"),
    ("temporal.pattern", OS_SYSTEM, "temporal.pattern is no plain value"),
    ("temporal.mlp_ratio", float("inf"), "temporal.mlp_ratio is no plain value"),
    ("head.init_cfg", dict(type="Pretrained", checkpoint="http://x"), "nothing reads head.init_cfg"),
    ("head.loss_cls", OS_SYSTEM, "nothing reads head.loss_cls"),
    ("backbone.pretrained", "/etc/passwd", "nothing reads backbone.pretrained"),
    ("tower.arch.vision_cfg.timm_model_name", OS_SYSTEM, "tower.arch.vision_cfg.timm_model_name is no plain value"),
    ("tower.arch.text_cfg.act_kwargs", dict(approximate=OS_SYSTEM), "tower.arch.text_cfg.act_kwargs is no plain value"),
    ("tower.arch.trust", True, "nothing reads tower.arch.trust"),
    ("tower.arch", "local-dir:/etc", "tower.arch is 'local-dir:/etc', which is not an architecture of open_clip"),
    ("files", {}, "files lacks model.safetensors"),
    ("files.texts\\json", "0" * 64, r"files names .* which is no file of a saved recogniser"),
    ("files./etc/passwd", "0" * 64, "files names '/etc/passwd', which is no file of a saved recogniser"),
    ("files.tokenizer/_slash__", "0" * 64, "files names 'tokenizer/_slash__', which is no file"),
])
def test_a_forged_config_is_refused(place, value, says, said):
    put(said, place, value)
    with pytest.raises(ValueError, match=f"config.json.*{says}"):
        check(said, "config.json")


@pytest.mark.parametrize("name", ["../model.safetensors", "tokenizer/../../x.json", "tokenizer/.x.json", "code.py",
                                  "tokenizer/tokenizer.py"])
def test_a_name_that_leaves_the_folder_is_refused(name, said):
    said["files"][name] = "0" * 64
    with pytest.raises(ValueError, match="which is no file of a saved recogniser"):
        check(said, "config.json")


def test_what_was_saved_is_not_forged(said):
    assert check(said, "config.json") == said


@pytest.mark.parametrize("content, says", [
    (b"", "is no JSON"), (b"[]", "its format is not"), (b"{" * 100_000, "is no JSON"),
    (b"\xff\xfe{}", "no text in UTF-8"), (b" " * (1 << 25), "has 32 MiB, which no config.json")])
def test_a_config_that_is_none_is_refused(content, says, folder):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        Recognizer.from_pretrained(folder)


def test_two_recognisers_in_one_folder_are_told_apart(folder, build, tmp_path):
    other = build("claver_motion", **{"model.neck.depth": 1}).save_pretrained(tmp_path / "other")
    for name in ("model.safetensors", "config.json"):
        mixed = tmp_path / f"mixed by {name}"
        shutil.copytree(folder, mixed)
        shutil.copy(other / name, mixed)
        with pytest.raises(ValueError, match="mixed by .* is of two recognisers, or damaged: model.safetensors"):
            Recognizer.from_pretrained(mixed)


@pytest.mark.parametrize("name", ["model.safetensors", "texts.json"])
def test_files_that_are_cut_or_missing_are_named(name, folder):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=f"or damaged: {name} is not the one"):
        Recognizer.from_pretrained(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"no {name} in .*: it was not copied or downloaded to its end"):
        Recognizer.from_pretrained(folder)


def test_a_folder_without_a_recogniser_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no config.json in {tmp_path}.*local-dir:{tmp_path}"):
        Recognizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="names no tower"):
        Recognizer.from_pretrained(tmp_path / "nothing")


def test_another_tokenizer_is_told(folder, said):
    """Token ids come from the tokenizer here; other ones are other texts to the model."""
    said["texts"]["digest"] = "0" * 64
    (folder / "config.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"the tokenizer here \(CLIP's own\) makes other token ids of .*texts.json"):
        Recognizer.from_pretrained(folder, device="cpu")


def test_a_tokenizer_brings_no_code(tmp_path):
    """transformers takes ``trust_remote_code`` from where model configs say how texts are cleaned."""
    arch = json.loads(json.dumps(TOWERS["siglip"]))
    name = as_siglips(tmp_path)
    arch["text_cfg"].update(hf_tokenizer_name=name, tokenizer_kwargs=dict(trust_remote_code=True))
    with pytest.raises(ValueError, match="tokenizer_kwargs of the given model config say 'trust_remote_code'"):
        tokenize(["a cat"], arch)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(
        tokenizer_class="Evil", auto_map=dict(AutoTokenizer=["evil.Evil", None]))))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    del arch["text_cfg"]["tokenizer_kwargs"]
    try:
        tokenize(["a cat"], arch)
    except ValueError as error:
        assert "cannot be had" in str(error)
    assert not (tmp_path / "ran").exists()


def test_a_class_name_is_text_and_no_variable_of_a_config(build, tmp_path):
    """MMEngine puts the environment into ``{{$HOME:}}`` wherever it stands in a config file."""
    from mmengine.config import Config
    names = ["{{$HOME:x}} \"quoted' \\", "{{ fileDirname }}", "\N{GRINNING FACE} ضحك"]
    recognizer = build("claver_motion", **{"model.cls_head.classes": names})
    folder = recognizer.save_pretrained(tmp_path / "it")
    (tmp_path / "mine.py").write_text(config_text(saved_settings(folder), "it"), encoding="utf-8")
    assert plain(Config.fromfile(tmp_path / "mine.py").model)["classes"] == names
    assert list(Recognizer.from_pretrained(folder, device="cpu").texts().names) == names


@pytest.mark.parametrize("options, says", [
    (["recognize", "{video}", "--model", "{folder}", "--checkpoint", "w.pth"], "--checkpoint has no meaning with"),
    (["recognize", "{video}", "--model", "{folder}", "--frames", "4"], "--frames is for --tower"),
    (["recognize", "{video}", "--config", "claver_motion", "--revision", "x"], "--revision is for --model"),
    (["recognize", "{video}", "--model", "{folder}", "--revision", "x"], "revision is for hf-hub:ORGANISATION/NAME"),
    (["test", "{folder}", "w.pth"], "has weights of its own; leave the checkpoint and --tower out"),
])
def test_options_without_meaning_are_refused(options, says, folder, motion_videos, capsys):
    video = str(motion_videos / (motion_videos / "val.txt").read_text().split()[0])
    assert main([option.format(video=video, folder=folder) for option in options]) == MISTAKE
    assert says in capsys.readouterr().err


def test_the_command_recognises_and_explains(recognizer, folder, motion_videos, tmp_path, capsys):
    video = str(motion_videos / (motion_videos / "val.txt").read_text().split()[0])
    assert main(["recognize", video, "--model", str(folder), "--device", "cpu", "--json"]) == 0
    found = {entry["label"]: entry["score"] for entry in json.loads(capsys.readouterr().out)["labels"]}
    expected = {entry.label: entry.score for entry in recognizer.recognize(video, top=5)}
    assert found == pytest.approx(expected, abs=1e-6)
    assert main(["explain", video, "--model", str(folder), "--device", "cpu", "--out", str(tmp_path / "out"),
                 "--formats", "png"]) == 0
    assert list((tmp_path / "out").glob("*.png"))


def test_a_loaded_recogniser_sees_streams(build, video, tmp_path):
    from claver_mm.streaming import VideoStream
    recognizer = build("claver_motion", **{"model.neck.type": "KMCTNeck"})
    loaded = Recognizer.from_pretrained(recognizer.save_pretrained(tmp_path / "it"), device="cpu")
    answers = []
    for each in (recognizer, loaded):
        stream = VideoStream(each.claver, texts=each.texts())
        answers.append([stream.push(frame) for frame in video[:4]][-1])
    assert torch.allclose(answers[0].logits, answers[1].logits, atol=1e-6)
