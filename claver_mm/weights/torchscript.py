"""Weights of TorchScript archives, the form of OpenAI's CLIP files, read without running anything of them.

Pure: imports torch, nothing of ``mm*``. PyTorch itself runs what the author of an archive put into ``__setstate__``.
"""
from __future__ import annotations

import re
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from .archives import (
    MOST_ENTRIES,
    STORAGES,
    TENSORS,
    ZIP,
    Archive,
    check_storage,
    check_tensors,
    opened,
    shortened,
)
from .pickles import Made, Name, read_pickle

MOST_TEXT = 64 << 20
"""Bytes of class declarations that are read."""


def is_torchscript(path: str | Path) -> bool:
    """Whether a file is a TorchScript archive, the form of OpenAI's CLIP weights."""
    with open(path, "rb") as file:
        if file.read(len(ZIP)) != ZIP or not zipfile.is_zipfile(path):
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):
        return False


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers of a TorchScript archive, what ``torch.jit.load(path).state_dict()`` gives, on the CPU.

    Nothing of the file is run: its object is read as modules with attributes, and of these the tensors are taken that
    the text of each module's class lists as parameters and buffers.

    Raises:
        ValueError: A damaged or forged archive, see ``check_file``; or a module that sets its state by code of its own.
    """
    with opened(path) as archive:
        pickle = read_pickle(BytesIO(archive.read("data.pkl")))
        check_tensors(pickle, path.stat().st_size)
        if sys.byteorder != (archive.read("byteorder").decode() if "byteorder" in archive else "little"):
            raise ValueError("its numbers are of the other byte order")
        if not _is_object(pickle.value):
            raise ValueError("it holds no module")
        sizes, storages, declarations = archive.sizes(), {}, _Declarations(archive)

        def tensor(made: Made) -> Tensor:
            storage, offset, size, stride = made.args[:4]
            if storage.key not in storages:
                check_storage(storage, sizes)
                storages[storage.key] = archive.read(f"data/{storage.key}")
            content, dtype = storages[storage.key], STORAGES[storage.kind]
            flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            return flat.as_strided(size, stride, offset)

        state_dict = {}
        modules = [("", pickle.value)]
        for prefix, module in modules:  # the list grows as it is read
            name = module.function
            if len(modules) > MOST_ENTRIES or len(prefix) > 2000:
                raise ValueError("modules without an end")
            declared = declarations.of(name)
            if declared is None:
                continue
            if not isinstance(module.state, dict) or not all(isinstance(key, str) for key in module.state):
                raise ValueError(f"{shortened(name)} has a state that is no attributes")
            for key, value in module.state.items():
                if key in declared and value is not None:
                    if not isinstance(value, Made) or value.function not in TENSORS[:2]:
                        raise ValueError(f"{shortened(prefix + key)} is no plain tensor")
                    state_dict[prefix + key] = tensor(value)
                elif _is_object(value):
                    modules.append((f"{prefix}{key}.", value))
        return state_dict


def _is_object(value: object) -> bool:
    return isinstance(value, Made) and isinstance(value.function, Name) and value.function.startswith("__torch__.")


class _Declarations:
    """Names of the parameters and buffers of TorchScript's modules, as the texts of their classes list them.

    The texts are searched, nothing of them is run.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._files: dict[str, dict[str, list[str] | None]] = {}
        self._bytes = 0

    def of(self, class_name: str) -> list[str] | None:
        """The names; None for a class that is no module.

        Raises:
            ValueError: No such class, one that sets its state by code of its own, or texts without an end.
        """
        *folders, name = class_name.split(".")
        file = f"code/{'/'.join(folders)}.py"
        if file not in self._files:
            self._bytes += self._archive.size(file)
            if self._bytes > MOST_TEXT:
                raise ValueError(f"more than {MOST_TEXT} bytes of class declarations")
            self._files[file] = _classes(self._archive.read(file).decode())
        if name not in self._files[file]:
            raise ValueError(f"{shortened(class_name)} is no class in {shortened(file)}")
        names = self._files[file][name]
        if names is not None and "__setstate__" in names:
            raise ValueError(f"{shortened(class_name)} sets its weights by code of its own (__setstate__), which is "
                             "not run; if you trust its source, load it with torch.jit.load and save its state dict")
        return names


def _classes(text: str) -> dict[str, list[str] | None]:
    """Parameters and buffers of each class of a text, ``__setstate__`` among them where it is defined."""
    classes: dict[str, list[str] | None] = {}
    names = None
    for line in text.splitlines():
        if line.startswith("class "):
            name, _, bases = line.removeprefix("class ").rstrip(":").partition("(")
            names = classes[name] = [] if bases == "Module)" else None
        elif line[:1].strip():  # a function beside the classes
            names = None
        elif names is not None and line.startswith(("  __parameters__ = [", "  __buffers__ = [")):
            names += re.findall(r'"([^"]*)"', line)
        elif names is not None and line.lstrip().startswith("def __setstate__("):
            names.append("__setstate__")
    return classes
