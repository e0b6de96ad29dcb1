"""CLAVER for MMAction2: CLIP learns motion (arXiv 2502.03549).

Importing the package mends what the host packages break on today's PyTorch and registers all modules; a config does it
with ``custom_imports = dict(imports=['claver_mm'])``. Without MMEngine there are ``CLAVER`` and ``create_model``, and
all files that call themselves pure can be used alone.
"""
from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .model import CLAVER, create_model  # noqa: F401
    from .recognizer import Recognizer  # noqa: F401
    from .weights import convert_official, read_state_dict  # noqa: F401

_WHERE = {"CLAVER": "model", "create_model": "model", "convert_official": "weights", "read_state_dict": "weights",
          "Recognizer": "recognizer"}
__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> object:
    """Public names are imported when they are asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])


def _host_is_here() -> bool:
    try:
        import mmengine  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "mmengine":  # installed, but broken
            raise
        return False
    return True


# the command imports the host when a sub-command needs it, and not for help, lists and prompts
if not getattr(sys.modules.get("claver_mm_cli"), "without_host", False) and _host_is_here():
    from . import compat  # isort: skip  # noqa: F401  before anything else of the host
    from . import datasets, engine, models, registry  # noqa: F401
