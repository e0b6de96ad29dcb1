"""A tower as it is: an answer without a checkpoint of this project and without training."""
import json

import open_clip
import pytest
import torch
from claver_mm_cli import MISTAKE, main
from local_tower import PREPROCESS, write_tower
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from claver_mm import Recognizer
from claver_mm.language import ACTION_TEMPLATES
from claver_mm.video.decode import VideoReader


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    """A folder as open_clip writes it, and the model in it."""
    folder = tmp_path_factory.mktemp("tower")
    torch.manual_seed(0)
    return folder, write_tower(folder)


@pytest.fixture(scope="module")
def recognizer(tower):
    return Recognizer.from_pretrained(f"local-dir:{tower[0]}", 3, device="cpu")


def test_scores_are_those_of_the_mean_over_frames_by_open_clip(recognizer, tower, video):
    model, labels = tower[1], ["flies a kite", "reads aloud"]
    transform = image_transform_v2(PreprocessCfg(size=32, **PREPROCESS), is_train=False)
    reader = VideoReader(video)
    numbers = recognizer.view(video).frame_numbers
    assert len(numbers) == 3
    pictures = torch.stack([transform(Image.fromarray(frame)) for frame in reader.frames(numbers)])
    with torch.no_grad():
        frames = model.encode_image(pictures, normalize=True).mean(0)
        texts = torch.stack([model.encode_text(open_clip.tokenize([template.format(label) for template in
                             ACTION_TEMPLATES], context_length=32), normalize=True) for label in labels])
        logits = model.logit_scale.exp() * texts @ frames  # (C, M)
    expected = logits.log_softmax(0).exp().mean(1)
    found = {entry.label: entry.score for entry in recognizer.recognize(video, labels)}
    assert [found[label] for label in labels] == pytest.approx(expected.tolist(), abs=1e-5)


def test_embeddings_are_of_the_tower(recognizer, tower, video):
    with torch.no_grad():
        text = tower[1].encode_text(open_clip.tokenize(["a kite"], context_length=32), normalize=True)
    assert torch.allclose(recognizer.embed_texts(["a kite"]), text, atol=1e-6)
    assert recognizer.embed(video).norm().item() == pytest.approx(1, abs=1e-5)


def test_it_says_what_it_is(recognizer):
    said = str(recognizer)
    assert "local-dir:" in said and "mean over 3 frames of 32x32 pixels; the order of frames is not seen" in said


def test_known_labels_have_the_prompts_of_the_bank(recognizer):
    known = recognizer.texts(["juggling balls", "diving cliff"])
    assert known.tokens.shape[1] == len(ACTION_TEMPLATES) + 12 and known.names == ("juggling balls", "diving cliff")
    assert recognizer.texts(["juggling balls", "eats a hat"]).tokens.shape[1] == len(ACTION_TEMPLATES)
    assert recognizer.texts(["juggling balls"], templates=None).tokens.shape[1] == 1


@pytest.mark.parametrize("reference, how, says", [
    ("PE-Core-L-14-336", {}, "names no tower: write open_clip:ARCHITECTURE/TAG"),
    ("open_clip:PE-Core-L-14-33/meta", {}, "unknown architecture 'PE-Core-L-14-33'.*near it: PE-Core-L-14-336"),
    ("open_clip:ViT-L-14/laion3b", {}, "names no weights of ViT-L-14; its tags: openai, "),
    ("open_clip:ViT-L-14", {}, "names no weights of ViT-L-14"),
    ("open_clip:ViT-B-16/openai", {}, "trained with QuickGELU.*with '-quickgelu'"),
    ("local-dir:/nowhere", {}, "no open_clip_config.json in /nowhere"),
])
def test_what_is_no_tower_is_refused(reference, how, says):
    with pytest.raises(ValueError, match=says):
        Recognizer.from_pretrained(reference, **how)


def test_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights file at .*w.safetensors"):
        Recognizer.from_pretrained("open_clip:PE-Core-B-16/meta", weights=tmp_path / "w.safetensors")


def test_no_frames_are_no_video(tower):
    with pytest.raises(ValueError, match="num_frames must be at least 1, got 0"):
        Recognizer.from_pretrained(f"local-dir:{tower[0]}", 0)


def test_a_file_of_a_tag_is_prepared_as_the_tag(tmp_path):
    """Weights of laion2b_s32b_b82k were normalised as OpenAI's, without a word."""
    from claver_mm.engine.configs import read_config
    from claver_mm.towers.pretrained import tower_settings
    file = tmp_path / "open_clip_pytorch_model.bin"
    torch.save({}, file)
    settings = tower_settings("open_clip:ViT-L-14/laion2b_s32b_b82k", file)
    assert settings == dict(arch="ViT-L-14", pretrained=str(file), preprocessing="laion2b_s32b_b82k")
    cfg = read_config("zero_shot/tower", {f"model.{key}": value for key, value in settings.items()})
    assert cfg.model.data_preprocessor.mean == [127.5] * 3
    with pytest.raises(ValueError, match="trained with different preprocessing.*'laion2b_s32b_b82k' is not as the oth"):
        read_config("zero_shot/tower", {"model.arch": "ViT-L-14", "model.pretrained": str(file)})


def test_another_normalisation_than_that_of_the_weights_is_refused():
    from claver_mm.engine.configs import read_config
    changes = {"model.arch": "ViT-L-14", "model.pretrained": "laion2b_s32b_b82k",
               "model.data_preprocessor.mean": [122.77, 116.75, 104.09]}
    with pytest.raises(ValueError, match=r"data_preprocessor.mean is \[122.77.*were trained with \[127.5, .*leave it"):
        read_config("claver_b16_k400", changes)
    changes["model.preprocessing"] = dict(mean=[0.48145466, 0.4578275, 0.40821073])
    assert read_config("claver_b16_k400", changes).model.data_preprocessor.mean == [122.77, 116.75, 104.09]


def test_the_commands_take_a_tower(tower, video, motion_videos, tmp_path, monkeypatch, capsys):
    name = f"local-dir:{tower[0]}"
    assert main(["recognize", video, "--tower", name, "--frames", "3", "--labels", "flies", "reads", "--json"]) == 0
    said = capsys.readouterr()
    assert "the order of frames is not seen" in said.err
    entries = json.loads(said.out)["labels"]
    found = Recognizer.from_pretrained(name, 3, device="cpu").recognize(video, ["flies", "reads"])
    assert [(entry["label"], entry["score"]) for entry in entries] == [
        (label, pytest.approx(score)) for label, score in found]
    monkeypatch.chdir(tmp_path)
    assert main(["test", "--tower", name, "--cfg-options", f"model.classes={motion_videos / 'classes.txt'}",
                 f"val_videos.ann_file={motion_videos / 'val.txt'}", "model.num_frames=4",
                 f"val_videos.data_prefix.video={motion_videos}", "test_dataloader.num_workers=0",
                 "test_dataloader.persistent_workers=False"]) == 0
    assert "acc/top1" in capsys.readouterr().out
    record, = (tmp_path / "work_dirs/tower").glob("run_*_test.json")
    record = json.loads(record.read_text())
    assert {entry["path"] for entry in record["weights"]} == {str(tower[0] / "open_clip_model.safetensors")}
    assert record["tower"]["preprocessing"]["mean"] == PREPROCESS["mean"]


@pytest.mark.parametrize("options, says", [
    (["--tower", "open_clip:PE-Core-B-16/meta", "--checkpoint", "w.pth"], "--checkpoint has no meaning with --tower"),
    (["--config", "claver_motion", "--weights", "w.pt"], "--weights is for --tower"),
    (["--config", "claver_motion", "--frames", "4"], "--frames is for --tower"),
])
def test_options_that_contradict_each_other_are_refused(options, says, video, capsys):
    assert main(["recognize", video, *options, "--labels", "a", "b"]) == MISTAKE
    assert says in capsys.readouterr().err
