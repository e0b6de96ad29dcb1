"""The studies and the masks on a toy model, as claver analyze and claver masks give them."""
import json
import re

import cv2
import numpy as np
import pytest
import torch
from claver_mm_cli import MISTAKE, main
from mmaction.registry import MODELS
from toy import toy_config

from claver_mm import Recognizer
from claver_mm.attention import PATTERNS, may_see
from claver_mm.explain.masks import FORMULAS, model_attention
from claver_mm.explain.rank import watch_attention


def analyze(*arguments):
    return main(["analyze", *map(str, arguments)])


def draw(*arguments):
    return main(["masks", *map(str, arguments)])


def saved(folder, motion_videos, **changes):
    """Config file and checkpoint of a toy model with random weights, whose embedding of time is strong."""
    torch.manual_seed(0)
    cfg = toy_config("claver_motion", motion_videos, folder, **changes)
    model = MODELS.build(cfg.model)
    if cfg.model.neck:
        model.neck.transformer.temporal_embedding.data.mul_(4)
    cfg.dump(folder / "toy.py")
    torch.save(dict(state_dict=model.state_dict()), folder / "toy.pth")
    return [str(folder / "toy.py"), str(folder / "toy.pth")]


@pytest.fixture(scope="module")
def kmt(motion_videos, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("kmt"), motion_videos)


@pytest.fixture(scope="module")
def joint(motion_videos, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("joint"), motion_videos,
                 **{"model.neck.type": "TemporalNeck", "model.neck.pattern": "joint"})


def result(path):
    assert cv2.imread(str(path.with_suffix(".png"))).std() > 0
    return json.loads(path.read_text())


def run(tmp_path, study, model, *options):
    assert analyze(study, *model, "--out", tmp_path, "--device", "cpu", *options) == 0
    return result(tmp_path / f"{study}.json")


def test_shuffling_after_the_embedding_changes_nothing_under_joint_attention_and_something_under_kmt(
        kmt, joint, tmp_path, capsys):
    changes = {}
    for name, model in (("kmt", kmt), ("joint", joint)):
        record = run(tmp_path, "shuffling", model, "--max-videos", 6)
        assert (record["pattern"], record["videos"], record["tokens"]) == (name, 6, "patches")
        assert [row["shuffling"] for row in record["rows"]] == ["none", "PreTE", "PostTE"]
        changes[name] = [row.get("change") for row in record["rows"]]
        for row in record["rows"][1:]:
            for key in ("accuracy", "similarity"):
                assert row[key] - record["rows"][0][key] == pytest.approx(row["change"][key])
    assert changes["joint"][2]["accuracy"] == 0 and abs(changes["joint"][2]["similarity"]) < 1e-6
    assert abs(changes["joint"][1]["similarity"]) > 1e-5 and abs(changes["kmt"][2]["similarity"]) > 1e-5
    table = capsys.readouterr().out
    assert "| joint, 6 videos | accuracy | change | similarity | change |" in table
    assert re.search(r"\| PostTE \| \d+\.\d % \| [+-]0\.0 ± 0\.0 \| -?0\.\d{3} \| [+-]0\.000 ± 0\.000 \|", table)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(kmt, tmp_path):
    first, again = (run(tmp_path, "shuffling", kmt, "--max-videos", 4, "--seed", 1) for _ in range(2))
    assert first == again
    other = run(tmp_path, "shuffling", kmt, "--seed", 2)  # all 16 videos
    assert other["videos"] == 16 and other["rows"][1]["similarity"] != first["rows"][1]["similarity"]


def test_order_knows_the_pairs_of_the_motion_videos(kmt, tmp_path, capsys):
    record = run(tmp_path, "order", kmt)
    assert record["videos"] == sum(row["videos"] for row in record["classes"]) == 16
    shares = [row["changed"] for row in record["classes"]]
    assert shares == sorted(shares) and np.mean(shares) == pytest.approx(record["changed"])
    assert {"to_partner", "right_backwards"} < set(record)
    assert "the partner of the answer" in capsys.readouterr().out


def test_a_model_without_a_temporal_part_answers_the_same_backwards(motion_videos, tmp_path):
    model = saved(tmp_path, motion_videos, **{"model.neck": None})
    record = run(tmp_path, "order", model)
    assert (record["pattern"], record["changed"], record["to_partner"]) == ("mean", 0, 0)


def test_pairs_come_from_a_file(kmt, tmp_path):
    (tmp_path / "pairs.csv").write_text("rising, falling\n\n\"moving left\",moving right\n")
    record = run(tmp_path, "order", kmt, "--pairs", tmp_path / "pairs.csv")
    assert {row["class"]: row["right_backwards"] is None for row in record["classes"]}["growing"]
    assert record["right_backwards"] is not None


def test_ranks_come_by_frames_layer_and_head_and_earlier_results_stand_beside(kmt, joint, tmp_path, capsys):
    record = run(tmp_path / "joint", "rank", joint, "--frames", 2, "--max-videos", 2)
    assert {(row["frames"], row["tokens"]) for row in record["rows"]} == {(2, 34)}
    record = run(tmp_path, "rank", kmt, "--frames", 3, 2, "--max-videos", 2, "--beside", tmp_path / "joint/rank.json")
    assert [(row["frames"], row["layer"], row["head"]) for row in record["rows"]] == \
        [(T, layer, head) for T in (2, 3) for layer in (0, 1) for head in (0, 1)]
    assert all(row["clips"] == 2 and row["tokens"] == 17 * row["frames"] for row in record["rows"])
    assert sum(line.startswith(("| 2 |", "| 3 |")) for line in capsys.readouterr().out.splitlines()) == 6


def test_kmct_is_of_full_rank_here(motion_videos, tmp_path):
    model = saved(tmp_path, motion_videos, **{"model.neck.type": "KMCTNeck"})
    record = run(tmp_path, "rank", model, "--max-videos", 2)
    assert {(row["frames"], row["full_rank"], row["min_rank"]) for row in record["rows"]} == {(4, 1.0, 68)}


@pytest.mark.parametrize("study, options, says", [
    ("order", ["--pairs", "nowhere.csv"], "no file of class pairs at nowhere.csv"),
    ("rank", ["--beside", "nowhere.json"], "no earlier result at nowhere.json"),
    ("rank", ["--cfg-options", "val_dataloader.dataset.pipeline.5.input_format=NCHW", "--frames", "2"],
     "this one gives NCHW"),
    ("shuffling", ["--cfg-options", "model.neck=None"], "toy.pth does not fit the model; .*left over: neck"),
])
def test_bad_input_is_named(kmt, tmp_path, capsys, study, options, says):
    assert analyze(study, *kmt, "--out", tmp_path, "--device", "cpu", *options) == MISTAKE
    assert re.search(says, capsys.readouterr().err)


@pytest.mark.parametrize("line, says", [("rising, sinking", "line 1: 'rising, sinking' does not name two classes"),
                                        ("rising", "line 1: 'rising' does not name two"),
                                        ("rising,falling\nfalling,growing", "'falling' stands in two pairs")])
def test_a_bad_line_of_pairs_is_named(kmt, tmp_path, capsys, line, says):
    (tmp_path / "pairs.csv").write_text(line)
    assert analyze("order", *kmt, "--pairs", tmp_path / "pairs.csv", "--device", "cpu") == MISTAKE
    assert says in capsys.readouterr().err


def test_files_that_are_not_there_are_named(kmt, tmp_path, capsys):
    for model, says in (([str(tmp_path / "no.py"), kmt[1]], "no config at"), ([kmt[0], "no.pth"], "at no.pth")):
        assert analyze("order", *model) == MISTAKE
        assert says in capsys.readouterr().err
    with pytest.raises(SystemExit):
        analyze("order", *kmt, "--max-videos", "0")
    assert "must be at least 1, got 0" in capsys.readouterr().err


def test_a_model_without_a_temporal_part_has_nothing_to_shuffle(motion_videos, tmp_path, capsys):
    model = saved(tmp_path, motion_videos, **{"model.neck": None})
    assert analyze("shuffling", *model, "--device", "cpu") == MISTAKE
    assert "no temporal transformer, this study needs one" in capsys.readouterr().err


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
@pytest.mark.parametrize("T, L", [(3, 4), (2, 1), (1, 5)])
def test_the_formula_above_each_mask_is_what_the_pattern_blocks(pattern, T, L):
    tokens = torch.arange(T * L)
    blocked = FORMULAS[pattern][1](T, L)
    assert np.array_equal(blocked, (~may_see(pattern, tokens, tokens, L)).int().numpy())


def test_masks_are_drawn_for_all_patterns_or_some(tmp_path):
    for name, options in (("all.png", []), ("one.png", ["--patterns", "kmt"]), ("two.pdf", ["--frames", "2"])):
        assert draw(tmp_path / name, *options) == 0
    page, column = (cv2.imread(str(tmp_path / name)) for name in ("all.png", "one.png"))
    assert page.shape[1] == 1035 and column.shape[1] < 600  # 6.9 inches at 150 dots
    assert (tmp_path / "all.png").stat().st_size < 150_000
    assert (tmp_path / "two.pdf").read_bytes()[:4] == b"%PDF"


def test_attention_of_a_model_is_drawn_by_layer_and_head(kmt, motion_videos, tmp_path, capsys):
    video = motion_videos / (motion_videos / "val.txt").read_text().split()[0]
    given = ["--config", kmt[0], "--checkpoint", kmt[1], "--video", str(video), "--device", "cpu"]
    recognizer = Recognizer(kmt[0], kmt[1], "cpu")
    clip = recognizer.view(video).clip  # of the central crop; the middle one of all views is at the side
    matrices, pattern, T = model_attention(recognizer.claver, clip)
    assert (len(matrices), matrices[0].shape, pattern, T) == (2, (2, 68, 68), "kmt", 4)
    seen, tokens = [], recognizer.model.backbone(clip)
    with watch_attention(recognizer.model.neck.transformer, lambda layer, weights, T: seen.append(weights)):
        recognizer.model.neck.transformer(tokens)
    for drawn, expected in zip(matrices, seen, strict=True):
        assert np.allclose(drawn, expected[0], atol=1e-6)
    assert draw(tmp_path / "attention.png", *given) == 0
    assert cv2.imread(str(tmp_path / "attention.png")).std() > 0
    assert draw(tmp_path / "a.png", *given[:-3], "nowhere.mp4") == MISTAKE
    assert "nowhere.mp4" in capsys.readouterr().err


@pytest.mark.parametrize("options, says", [(["a.jpg"], "must end in .png, .pdf or .svg, got 'a.jpg'"),
                                           (["a.png", "--frames", "40", "--tokens", "10"], "40 frames of 10 tokens"),
                                           (["a.png", "--video", "v.mp4"], "go together, got --video alone")])
def test_pictures_that_cannot_be_drawn_are_refused(options, says, capsys):
    assert draw(*options) == MISTAKE
    assert says in capsys.readouterr().err
