"""A config of MMAction2 made of a saved recogniser: to test it, to look into it, to train it further.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pprint import pformat

from ..language.bank import read_bank
from ..towers.architectures import written_config
from ..towers.pretrained import tower_settings
from ..weights.difference import DIFFERENCE
from .contract import Contract, arguments
from .folder import TEXTS, TOKENIZER, WEIGHTS, read

BASES = ("_base_/schedules/fully_supervised.py", "_base_/runtime.py")
"""Shipped configs that a config of a recogniser inherits: how it is trained, and what runs need."""
EPOCHS = 10
OF_TESTS = ("num_clips", "test_mode")
ROOM = dict(num_workers=2, persistent_workers=True)


def saved_settings(folder: str | Path, weights: str | Path | None = None,
                   cache_dir: str | Path | None = None) -> dict:
    """All that the config of a saved recogniser says beside ``BASES``.

    Args:
        folder: See ``claver_mm.saved.folder``; the settings name texts and weights that lie there.
        weights, cache_dir: As of ``tower_settings``, for the tower that it was saved without.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: As of ``saved.folder.read`` and ``tower_settings``.
    """
    folder = Path(folder).expanduser().resolve()
    contract = read(folder)
    if contract["weights"] == DIFFERENCE:
        return _settings(contract, folder, tower_settings(contract["tower"]["reference"], weights, cache_dir))
    if weights is not None:
        raise ValueError(f"{folder} holds all weights of the recogniser; leave the tower's out")
    return _settings(contract, folder, dict(arch=_arch(contract, folder)))


def _arch(contract: Contract, folder: Path) -> str | dict:
    """Architecture of a recogniser whose weights are whole, with the tokenizer that lies in its folder."""
    arch = contract["tower"]["arch"]
    if any(name.startswith(f"{TOKENIZER}/") for name in contract["files"]):
        arch = written_config(arch)
        arch["text_cfg"]["hf_tokenizer_name"] = str(folder / TOKENIZER)
    return arch


def _settings(contract: Contract, folder: Path, tower: Mapping) -> dict:
    prepared = {key: value for key, value in contract["preprocessing"].items() if key != "size"}
    texts = contract["texts"] is not None
    tower = {key: value for key, value in tower.items() if key != "preprocessing"}
    model = dict(
        type="CLAVERRecognizer", **tower, preprocessing=prepared, image_size=contract["tower"]["image_size"],
        num_frames=contract["num_frames"], classes=_class_names(folder) if texts else None,
        bank=str(folder / TEXTS) if texts else None, backbone=contract["backbone"], neck=_neck(contract),
        cls_head=dict(contract["head"], **(dict(templates=None) if texts else {})))
    if contract["sampling"]["max_testing_views"]:
        model["test_cfg"] = dict(max_testing_views=contract["sampling"]["max_testing_views"])
    one, several = (list(map(arguments, contract["sampling"][name])) for name in ("one", "all"))
    train = [{key: value for key, value in step.items() if "clip_len" not in step or key not in OF_TESTS}
             for step in one]
    train = [dict(type="RandomCrop", size=step["crop_size"]) if step["type"] == "CenterCrop" else step
             for step in train]

    def loader(batch: int, lines: str, pipeline: list, shuffle: bool, **more: bool) -> dict:
        dataset = dict(type="ActionVideoDataset", ann_file=f"{{data_root}}/{lines}.txt",
                       data_prefix=dict(video="{data_root}"), pipeline=pipeline, **more)
        return dict(batch_size=batch, **ROOM, sampler=dict(type="DefaultSampler", shuffle=shuffle), dataset=dataset)

    return dict(
        model=model,
        data_root="data/mine",
        train_dataloader=loader(8, "train", train, True),
        val_dataloader=loader(8, "val", one, False, test_mode=True),
        test_dataloader=loader(1, "val", several, False, test_mode=True),
        val_evaluator=dict(type="ClassAccMetric"),
        test_evaluator=dict(type="ClassAccMetric"),
        train_cfg=dict(max_epochs=EPOCHS),
        load_from=str(folder / WEIGHTS))


def _neck(contract: Contract) -> dict | None:
    if contract["temporal"] is None:
        return None
    return dict(type="TemporalNeck", **{key: value for key, value in contract["temporal"].items()
                                        if key != "num_frames"})


def _class_names(folder: Path) -> list[str]:
    return list(read_bank(folder / TEXTS).entries)


def config_text(config: Mapping, name: str, videos: str = "data_root holds train.txt and val.txt, a path and a class "
                "number a line.") -> str:
    """The same as a file in Python, to be changed by hand; ``videos`` says where those are."""
    bases = ", ".join(f'"claver_mm::claver/{base}"' for base in BASES)
    settings = (f"{key} = {pformat(value, width=116, sort_dicts=False)}" for key, value in config.items())
    # two braces in a row would be a variable to MMEngine, also in a text
    body = "\n".join(settings).replace("{{", "{\\x7b")
    return (f"# The recogniser saved as {name!r}, to be trained further: it starts from its weights (load_from).\n"
            f"# {videos}\n"
            "# Other classes than the recogniser's: model.classes, with bank=None, and without templates=None in\n"
            "# cls_head.\n"
            f"_base_ = [{bases}]\n\n{body}\n")
