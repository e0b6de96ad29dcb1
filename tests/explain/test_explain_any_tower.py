"""Explanations and studies of models behind towers without a class token or without attention, as one calls them."""
import json

import cv2
import numpy as np
import pytest
import torch
from claver_mm_cli import main
from mmaction.registry import MODELS
from small import TOWERS
from tiny_claver import clips_of, of_tower
from toy import toy_config

from claver_mm import Recognizer
from claver_mm.explain.deletion import deletion_drops
from claver_mm.explain.relevance import relevance
from claver_mm.towers.architectures import tower_of

KINDS = ("siglip", "pe", "convnext")


def saved(kind, folder, motion_videos) -> tuple[str, str]:
    """Config and random weights of a toy model behind a tower."""
    torch.manual_seed(0)
    side = tower_of(TOWERS[kind]).image_size[0]
    cfg = toy_config("claver_motion", motion_videos, folder)
    for part in (cfg.model.backbone, cfg.model.neck, cfg.model.cls_head):
        part.arch = TOWERS[kind]
    cfg.model.neck.class_tokens_only = False
    cfg.model.neck.num_heads = 2
    for split in ("train", "val", "test"):
        loader = cfg[f"{split}_dataloader"]
        steps = [step for step in loader.dataset.pipeline if step.type != "Resize"]
        place = next(number for number, step in enumerate(steps) if "Crop" in step.type)
        steps[place].crop_size = side
        steps.insert(place, dict(type="Resize", scale=(-1, side)))
        cfg[f"{split}_pipeline"] = loader.dataset.pipeline = steps
    cfg.dump(folder / "toy.py")
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), folder / "toy.pth")
    return str(folder / "toy.py"), str(folder / "toy.pth")


@pytest.fixture(scope="module", params=KINDS)
def model(request, motion_videos, tmp_path_factory) -> tuple[str, str, str]:
    return request.param, *saved(request.param, tmp_path_factory.mktemp(request.param), motion_videos)


def first_video(motion_videos):
    return motion_videos / (motion_videos / "val.txt").read_text().split()[0]


def test_a_video_is_explained_as_picture_film_and_page_which_say_what_is_not_there(model, motion_videos, tmp_path,
                                                                                  capsys):
    kind, config, checkpoint = model
    video = first_video(motion_videos)
    assert main(["explain", str(video), "--text", "a red arrow rising", "--config", config, "--checkpoint", checkpoint,
                 "--out", str(tmp_path)]) == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".mp4", ".html"}
    note, page = "no spatial map: the image tower has no attention that can be read", (
        tmp_path / f"{video.stem}_explained.html").read_text()
    said = capsys.readouterr().out
    assert all(word in said for word in ("red", "arrow", "rising"))
    assert (note in said) == (note in page) == (kind == "convnext")
    assert ("<th>spatial</th>" in page) == ("<th>both</th>" in page) == (kind != "convnext")
    assert "<th>temporal</th>" in page


def test_maps_of_an_explanation_have_the_towers_grid(model, motion_videos):
    kind, config, checkpoint = model
    found = Recognizer(config, checkpoint, "cpu").explain(first_video(motion_videos), "a red arrow rising")
    assert found.temporal.shape == (4, *tower_of(TOWERS[kind]).grid)
    assert found.frame_relevance == pytest.approx(found.temporal.sum((1, 2)), rel=1e-4) or kind == "pe"
    assert [word for word, _ in found.words] == ["a", "red", "arrow", "rising"]


def test_studies_run(model, tmp_path):
    kind, config, checkpoint = model
    tower = tower_of(TOWERS[kind])
    records = {}
    for study, *options in (["shuffling"], ["shuffling", "--tokens", "all"], ["order"], ["rank"]):
        assert main(["analyze", study, config, checkpoint, "--out", str(tmp_path), "--device", "cpu", "--max-videos",
                     "3", *options]) == 0
        assert cv2.imread(str(tmp_path / f"{study}.png")).std() > 0
        records[(study, *options)] = json.loads((tmp_path / f"{study}.json").read_text())
    patches, everything = (records[key]["rows"] for key in (("shuffling",), ("shuffling", "--tokens", "all")))
    assert all(-1 <= row["similarity"] <= 1 for row in patches)
    assert abs(patches[1]["change"]["similarity"]) > 0
    assert (patches == everything) == (tower.num_prefix == 0)  # without a class token patches are all tokens
    S = 4 * (tower.num_prefix + tower.grid[0] * tower.grid[1])
    assert {row["tokens"] for row in records["rank",]["rows"]} == {S}


@pytest.mark.parametrize("kind", KINDS)
def test_patches_can_be_deleted_by_what_a_map_says_of_them(kind):
    model = of_tower(kind)
    clips, tokens = clips_of(model), model.tokenize(["a red arrow", "rising"])
    found = relevance(model, clips, tokens)
    relevant, random = deletion_drops(model, clips, tokens, found.temporal if found.combined is None else
                                      found.combined, share=0.25)
    assert relevant.shape == random.shape == (2,) and np.isfinite([*relevant, *random]).all() and relevant.any()


def test_class_tokens_of_attention_are_marked_where_there_are_some(model, motion_videos, tmp_path):
    kind, config, checkpoint = model
    from claver_mm.explain.masks import draw_attention, model_attention
    recognizer = Recognizer(config, checkpoint, "cpu")
    found = model_attention(recognizer.claver, recognizer.view(first_video(motion_videos)).clip)
    marked = len(draw_attention(*found).axes[0].lines)
    assert len(draw_attention(*found, class_tokens=False).axes[0].lines) == marked - 2
    assert main(["masks", str(tmp_path / "masks.png"), "--config", config, "--checkpoint", checkpoint, "--video",
                 str(first_video(motion_videos)), "--device", "cpu"]) == 0
