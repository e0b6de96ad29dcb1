"""Config files and ``--cfg-options``, read into a whole config; see ``claver_mm.settings``."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config

from ..catalog import CONFIGS, find_config
from ..saved.folder import is_saved
from ..saved.settings import BASES, saved_settings
from ..settings import complete
from ..settings.data import SPLITS, datasets
from ..settings.keys import RUNNER, plain, unread, unscoped
from ..settings.schedule import stretch


def read_config(path: str | Path, changes: Mapping[str, object] | None = None) -> Config:
    """The config of a file, a shipped one by its name, or that of a saved recogniser by its folder, whole, with some
    settings replaced by dotted keys; what follows from them follows.

    A schedule that is written out is stretched to another ``train_cfg.max_epochs``; a data set whose pipeline is that
    of the top level follows it.

    Raises:
        FileNotFoundError: No such config, and none of that name is shipped; or a class list that does not exist.
        ValueError: Parts that disagree, a key that nothing reads, or a change that changes nothing.
    """
    raw = saved_config(path) if is_saved(path) else Config.fromfile(find_config(path))
    return replaced(raw, changes or {})


def saved_config(folder: str | Path, weights: str | Path | None = None, cache_dir: str | Path | None = None) -> Config:
    """The config of a saved recogniser, not yet whole; arguments and errors are those of ``saved_settings``."""
    own, raw = saved_settings(folder, weights, cache_dir), {}
    for base in BASES:
        raw |= plain(Config.fromfile(CONFIGS / base)._cfg_dict)
    return Config({**raw, **own, "train_cfg": {**raw["train_cfg"], **own["train_cfg"]}})


def completed(cfg: Config) -> Config:
    """A whole config, which ``cfg`` need not be; ``cfg`` stays as it is.

    Raises:
        ValueError, FileNotFoundError: As ``claver_mm.settings.complete``.
    """
    return _config(complete(cfg._cfg_dict), cfg)


def replaced(cfg: Config, changes: Mapping[str, object]) -> Config:
    """As ``read_config``, of a config that was read."""
    raw = plain(cfg._cfg_dict)
    raw.pop("derived", None)
    _let_follow(raw, changes)
    loaders = {key: value for key, value in changes.items() if key.partition(".")[0].endswith("_dataloader")}
    others = {key: value for key, value in changes.items() if key not in loaders}
    whole = complete(_merged(raw, others))
    for key in others:
        if key.partition(".")[0] not in RUNNER and _at(raw, key) != others[key]:
            rest = {name: value for name, value in others.items() if name != key}
            if _read(whole) == _read(_complete_or_none(_merged(raw, rest))):
                raise ValueError(unread(key, raw))
    return _config(complete(_merged(whole, loaders)) if loaders else whole, cfg)


def _config(whole: dict, cfg: Config) -> Config:
    return Config(whole, filename=cfg.filename, cfg_text=cfg.text, env_variables=cfg.env_variables)


def _merged(raw: dict, changes: Mapping[str, object]) -> dict:
    cfg = Config(plain(raw))
    cfg.merge_from_dict(dict(changes))
    return plain(cfg._cfg_dict)


def _let_follow(raw: dict, changes: Mapping[str, object]) -> None:
    """What is written twice in a config, and is replaced at one place, follows."""
    total = changes.get("train_cfg.max_epochs")
    if isinstance(total, int) and not any(key.startswith("param_scheduler") for key in changes):
        notes = stretch(raw, total)
        if notes:
            raw["derived"] = notes
    for split in SPLITS:
        at_top = any(key.partition(".")[0] == f"{split}_pipeline" for key in changes)
        if at_top and not any(key.startswith(f"{split}_dataloader.dataset.pipeline") for key in changes):
            for name, dataset in datasets(raw):
                if name == split and unscoped(dataset.get("pipeline")) == unscoped(raw.get(f"{split}_pipeline")):
                    dataset.pop("pipeline", None)


def _complete_or_none(raw: Mapping) -> dict | None:
    """None where a config is not whole without one of its changes, which then does change something."""
    try:
        return complete(raw)
    except (ValueError, FileNotFoundError):
        return None


def _read(whole: Mapping | None) -> dict | None:
    return None if whole is None else {key: value for key, value in whole.items() if key in RUNNER}


def _at(node: object, key: str) -> object:
    """The value at a dotted key; the key itself where there is none."""
    for name in key.split("."):
        if isinstance(node, dict) and name in node:
            node = node[name]
        elif isinstance(node, list | tuple) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        else:
            return key
    return node
