"""Loading a checkpoint strictly: what may be missing, and what is said of one that does not fit or is damaged."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from ..messages import shown
from ..weights import WeightsDoNotFit
from .checkpoints import damage


@contextmanager
def forgiving(model: nn.Module, allowed: Sequence[str]) -> Iterator[None]:
    """Inside, weights whose names match one of some regular expressions may be missing or left over."""
    def forgive(_: nn.Module, keys) -> None:
        for names in keys:
            names[:] = [name for name in names if not any(re.search(pattern, name) for pattern in allowed)]

    handle = model.register_load_state_dict_post_hook(forgive)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def misfits_named(filename: str) -> Iterator[None]:
    """Errors of loading a checkpoint, said of it.

    Raises:
        WeightsDoNotFit: Names the checkpoint and the keys that do not fit.
        ValueError: Names a file that is cut or damaged.
    """
    try:
        yield
    except Exception as error:  # torch has many for damaged files, OSError among them
        if Path(filename).is_file() and (wrong := damage(filename)):
            raise ValueError(f"checkpoint {filename} cannot be loaded: {wrong}") from error
        if not isinstance(error, RuntimeError | WeightsDoNotFit):
            raise
        lines = [line for line in str(error).splitlines() if line]
        if not isinstance(error, WeightsDoNotFit) and "do not match exactly" not in lines[0]:
            raise
        some = "\n".join(shown(line, 400) for line in lines[:8])
        more = f"\n(and {len(lines) - 8} more)" if len(lines) > 8 else ""
        raise WeightsDoNotFit(
            f"checkpoint {filename} does not fit the model of this config:\n{some}{more}\n"
            "Use the config that it was trained with (arch, depth, neck), or name what may stay untrained or be left "
            "over in load_allow_missing") from error
