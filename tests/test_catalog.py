"""Shipped configs and prompts are found by name, and inherited through MMEngine's own scopes."""
from __future__ import annotations

import pytest
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import HOOKS, DefaultScope

import claver_mm  # noqa: F401
from claver_mm.catalog import CONFIGS, PROMPTS, config_names, find_config
from claver_mm.engine.configs import read_config


def test_every_config_of_the_repository_is_shipped_and_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = config_names()
    assert len(names) == 91 and names[0] == "claver_b16_16f_k400" and "zero_shot/claver_b16_32f_k400" in names
    for name in names:
        assert find_config(name) == find_config(f"{name}.py") == find_config(f"configs/{name}.py") == \
            CONFIGS / f"{name}.py"
    assert (PROMPTS / "kinetics.yaml").is_file() and (PROMPTS / "classes/ucf101.txt").is_file()


def test_a_file_comes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "claver_motion.py").write_text("")
    assert find_config("claver_motion.py").resolve() == tmp_path / "claver_motion.py"


def test_a_name_that_is_none_is_answered_with_the_nearest():
    with pytest.raises(FileNotFoundError, match="claver_b17_k400.*near it: claver_b16_k400"):
        find_config("claver_b17_k400")


def test_a_leaf_anywhere_inherits_a_shipped_config(tmp_path, monkeypatch, caplog):
    """MMEngine knew no scope claver_mm, so that a leaf outside the repository needed an absolute path."""
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    (folder / "leaf.py").write_text('_base_ = "claver_mm::claver/claver_motion.py"\nmodel = dict(neck=dict(depth=1))\n')
    monkeypatch.chdir(folder)
    assert read_config("leaf.py").model.neck.depth == 1  # whole: scopes that MMEngine adds are no difference
    config = Config.fromfile("leaf.py")
    with DefaultScope.overwrite_default_scope("mmaction"):
        model = MODELS.build(config.model)
        hooks = [HOOKS.build(dict(hook)) for hook in config.custom_hooks]
    assert type(model).__name__ == "Recognizer3D" and len(model.neck.transformer.resblocks) == 1
    assert model.cls_head.num_classes == 8
    assert {type(hook).__name__ for hook in hooks} >= {"SeedEpochHook", "CheckClassesHook"}
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
