"""What the package ships: configs and prompts, found by name from any folder.

Pure: imports the standard library alone. In a checkout the files are links to ``configs/`` and ``prompts/``; in a wheel
they are the files themselves, where MMEngine looks for ``_base_ = "claver_mm::claver/claver_b16_k400.py"``.
"""
from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

_MIM = Path(__file__).resolve().parent / ".mim" / "configs"
CONFIGS = (_MIM / "claver").resolve()
PROMPTS = (_MIM / "prompts").resolve()


def config_names() -> list[str]:
    """Names of the configs that can be run, as ``find_config`` takes them: ``claver_b16_k400``, ``zero_shot/...``."""
    paths = (path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.py"))
    return sorted((path.with_suffix("").as_posix() for path in paths if path.parts[0] != "_base_"),
                  key=lambda name: (name.count("/"), name))


def find_config(config: str | Path) -> Path:
    """Path of a config: of a file, or of a shipped one by its name.

    Args:
        config: A file, or one of ``config_names()``, with or without ``.py``.

    Raises:
        FileNotFoundError: Neither; the message names the nearest shipped ones.

    Example:
        >>> find_config("claver_b16_k400").name
        'claver_b16_k400.py'
    """
    path = Path(config).expanduser()
    if path.is_file():
        return path
    name = path.as_posix().removeprefix("configs/").removesuffix(".py")
    names = config_names()
    if name in names:
        return CONFIGS / f"{name}.py"
    near = get_close_matches(name, names, 3, 0.5) or names[:3]
    raise FileNotFoundError(f"no config at {config}, and none of that name is shipped; near it: {', '.join(near)} "
                            "(all of them: claver ls)")


def find_classes(classes: str | Path | Sequence[str]) -> str | list[str]:
    """A class list as it was given, or the path of the shipped one that a bare word names (``kinetics400``).

    Raises:
        FileNotFoundError: A bare word that is neither a shipped list nor a file.
    """
    if not isinstance(classes, str | Path):
        return list(classes)
    shipped = {path.stem: path for path in sorted((PROMPTS / "classes").glob("*.txt"))}
    name = os.fspath(classes)
    if name in shipped and not os.path.isfile(name):
        return str(shipped[name])
    if not Path(name).suffix and Path(name).name == name and not os.path.isfile(name):
        raise FileNotFoundError(f"no class list {name!r}: give a file with one class a line, or one of those that come "
                                f"with the project: {', '.join(shipped)}")
    return name
