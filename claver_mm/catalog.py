"""What the package ships: configs and prompts, found by name from any folder.

Pure: imports the standard library alone. In a checkout the files are links to ``configs/`` and ``prompts/``; in a wheel
they are the files themselves, where MMEngine looks for ``_base_ = "claver_mm::claver/claver_b16_k400.py"``.
"""
from __future__ import annotations

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
