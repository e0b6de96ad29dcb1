"""The table of open_clip's architectures, and that docs/towers.md is that table."""
import json
import os

import open_clip
import pytest
import torch
from claver_mm_cli import MISTAKE, main
from toy import ROOT

from claver_mm.towers.architectures import NO_TEXTS, model_config, tower_of
from claver_mm.towers.census import COLUMNS, architecture, cells, census, document, markdown, summary
from claver_mm.towers.head import CLIPHead
from claver_mm.towers.image import build_image_trunk, image_tokens

SAMPLE = ["ViT-B-16-quickgelu", "ViT-L-14-CLIPA", "coca_ViT-B-32", "RN50", "roberta-ViT-B-32", "ViT-B-16-SigLIP2",
          "PE-Core-B-16", "EVA02-B-16", "ViTamin-S", "MobileCLIP2-S0", "convnext_base", "swin_base_patch4_window7_224",
          "vit_relpos_medium_patch16_cls_224", "ViT-L-14-worldwide"]
"""Of every kind of image tower, text tower and tokenizer."""
SLOW = pytest.mark.skipif("CLAVER_TEST_ALL_TOWERS" not in os.environ,
                          reason="looks at all architectures for minutes; CLAVER_TEST_ALL_TOWERS=1 asks for it")
OF_DOCS = pytest.mark.skipif(open_clip.__version__ != "3.3.0", reason="docs/towers.md is of open_clip 3.3.0")
DOCS = (ROOT / "docs/towers.md").read_text()


def rows_of_docs():
    lines = [line.strip("| ").split(" | ") for line in DOCS.splitlines() if line.startswith("| ")]
    assert lines[0] == list(COLUMNS)
    return {line[0]: line for line in lines[2:]}


@OF_DOCS
def test_the_document_has_a_row_for_every_architecture_and_says_how_many_are_served():
    rows = rows_of_docs()
    assert list(rows) == open_clip.list_models() and len(rows) == 144
    served = sum(row[-1] == "yes" for row in rows.values())
    assert served >= 140 and f"{served} of 144 architectures of open_clip 3.3.0 are served" in DOCS


@OF_DOCS
@pytest.mark.parametrize("name", SAMPLE)
def test_a_row_of_the_document_is_what_the_tower_is(name):
    assert cells(architecture(name)) == rows_of_docs()[name]


@OF_DOCS
@SLOW
def test_every_row_of_the_document_is_what_the_tower_is():
    rows = list(census())
    assert {row.name: cells(row) for row in rows} == rows_of_docs() and document(rows) == DOCS


@SLOW
@pytest.mark.parametrize("name", open_clip.list_models())
def test_every_architecture_that_is_served_is_cut_and_read(name):
    """On tensors without data, one frame of each, with the smallest text tower in place of its own."""
    config, tower = dict(model_config(name), text_cfg=NO_TEXTS), tower_of(name)
    with torch.device("meta"), torch.no_grad():
        tokens = image_tokens(build_image_trunk(config).eval(), torch.empty(1, 3, *tower.image_size))
        assert tokens.shape == (1, tower.num_prefix + tower.grid[0] * tower.grid[1], tower.width)
        head = CLIPHead(config).eval()
        assert head.frame_features(tokens.unsqueeze(1)).shape == (1, 1, config["embed_dim"])


def test_a_row_says_what_has_to_be_fetched_and_what_differs_by_tag():
    siglip, roberta, clip = map(architecture, ("ViT-B-16-SigLIP2", "roberta-ViT-B-32", "ViT-B-16"))
    assert (siglip.tokenizer, siglip.logit_bias, siglip.causal) == ("timm/ViT-B-16-SigLIP2", -10, False)
    assert siglip.preprocessing == "mean and std 0.5, bicubic, squash" and siglip.tags == ("webli",)
    assert roberta.text_tower == roberta.tokenizer == "roberta-base" and not roberta.causal
    assert (clip.text_tower, clip.causal, clip.logit_bias) == ("CLIP's own", True, None)
    assert architecture("ViT-H-14-quickgelu").preprocessing == "differs by tag"


def test_a_licence_is_read_from_the_card_in_the_cache_and_never_invented(monkeypatch, tmp_path):
    from claver_mm.towers import census as room
    assert architecture("RN50x64").licence in ("unknown", "mit", "apache-2.0", "other")
    monkeypatch.setattr(room, "try_to_load_from_cache", lambda *_: None)
    assert architecture("PE-Core-B-16").licence == "unknown"
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# PE\n")
    monkeypatch.setattr(room, "try_to_load_from_cache", lambda *_: str(tmp_path / "README.md"))
    assert architecture("PE-Core-B-16").licence == "apache-2.0"


def test_a_tower_that_is_not_served_says_why(monkeypatch):
    from claver_mm.towers import census as room
    monkeypatch.setattr(room, "tower_of", lambda name: (_ for _ in ()).throw(ValueError("it pools by magic")))
    row = architecture("ViT-B-32")
    assert row.served == "no: it pools by magic" and row.width is None
    assert "| ViT-B-32 | - | - |" in markdown([row]) and summary([row]).startswith("0 of 1 architectures")


def test_the_command_lists_towers_in_three_forms(capsys):
    assert main(["ls", "--towers", "ViT-B-32-256"]) == 0
    assert "1 of 1 architectures" in capsys.readouterr().out
    assert main(["ls", "--towers", "ViT-B-32-256", "--json"]) == 0
    row, = json.loads(capsys.readouterr().out)
    assert (row["name"], row["grid"], row["served"]) == ("ViT-B-32-256", [8, 8], "yes")
    assert main(["ls", "--towers", "ViT-B-32-256", "--markdown"]) == 0
    assert "| " + " | ".join(rows_of_docs()["ViT-B-32-256"]) + " |" in capsys.readouterr().out.splitlines()
    assert main(["ls", "--towers", "nothing"]) == main(["ls", "--markdown"]) == MISTAKE
