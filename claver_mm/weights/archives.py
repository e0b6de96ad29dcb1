"""Files of ``torch.save``: what they hold is checked before PyTorch reads it.

Pure: imports torch, nothing of ``mm*``. A weights-only ``torch.load`` runs no code of a file, but a forged one can
still end the process (a deeply nested key) or take all memory (``bytearray(10**11)``, a compressed entry). So the zip
archive and the pickles in it are read first as what they say.
"""
from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import torch

from .pickles import Made, Name, Pickle, Stored, is_plain, read_pickle

ZIP = b"PK\x03\x04"
MOST_ENTRIES = 200_000

STORAGES = {f"torch.{name}Storage": dtype for name, dtype in (
    ("Double", torch.float64), ("Float", torch.float32), ("Half", torch.float16), ("BFloat16", torch.bfloat16),
    ("Long", torch.int64), ("Int", torch.int32), ("Short", torch.int16), ("Char", torch.int8), ("Byte", torch.uint8),
    ("Bool", torch.bool), ("ComplexDouble", torch.complex128), ("ComplexFloat", torch.complex64))}
STORAGES["torch.storage.UntypedStorage"] = torch.uint8

TENSORS = tuple(f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3"))
"""Called with storage, offset, size and stride."""

CALLS = {*TENSORS, "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
         "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_meta_tensor_no_storage",
         "torch._tensor._rebuild_from_type_v2", "torch.serialization._get_layout", "torch.nn.parameter.Parameter",
         "torch.Size", "torch.device", "collections.OrderedDict", "collections.Counter", "builtins.set",
         "builtins.complex", "builtins.bytearray", "_codecs.encode"}
"""What a file may call of that which a weights-only ``torch.load`` allows; beside it what a program has allowed by
``torch.serialization.add_safe_globals``. Quantized and nested tensors, and the making of empty ones, are not in it:
they take memory that the file does not hold."""


def check_file(path: Path) -> None:
    """Refuse a file of ``torch.save`` that PyTorch should not be given.

    Raises:
        ValueError: A damaged or forged archive, storages or tensors that claim more than there is, calls of anything
            but what weights are made of.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        if file.read(len(ZIP)) != ZIP:
            file.seek(0)
            for _ in range(5):  # PyTorch's form before 1.6: a number, its version, the machine, the content, the keys
                check_pickle(read_pickle(file), size)
            return
    with opened(path) as archive:
        check_pickle(read_pickle(BytesIO(archive.read("data.pkl"))), size, archive.sizes())


def check_pickle(pickle: Pickle, file_size: int, entries: dict[str, int] | None = None) -> None:
    """Refuse a pickle that a weights-only ``torch.load`` should not be given.

    Args:
        pickle: As read.
        file_size: Bytes of the file.
        entries: Bytes of the storages in it by name, where they are known.

    Raises:
        ValueError: See ``check_file``.
    """
    allowed = CALLS | _allowed_by_the_program()
    for made in pickle.made:
        function, args = made.function, made.args
        if not isinstance(function, Name) or function not in allowed:
            raise ValueError(f"it calls {shortened(function)}, which is no part of weights and could run code; if you "
                             "trust its source, save its state dict alone")
        if made.built and function in CALLS and function != "collections.OrderedDict":
            raise ValueError(f"it changes what {shortened(function)} has made")
        if function == "_codecs.encode" and args[1:] not in (("latin1",), ("latin-1",), ("ascii",)):
            raise ValueError("it encodes a text in a way that PyTorch does not")
        if function == "builtins.bytearray" and not all(isinstance(arg, str | Made) for arg in args):
            raise ValueError("it makes an empty bytearray")
        if function in ("builtins.set", "collections.OrderedDict", "collections.Counter"):
            _check_keys(args)
    check_tensors(pickle, file_size)
    stored = {storage.key: _nbytes(storage) for storage in pickle.stored}
    if entries is None and sum(stored.values()) > file_size:
        raise ValueError(f"its storages claim {sum(stored.values())} bytes, the file has {file_size}")
    if entries is not None:
        for storage in pickle.stored:
            check_storage(storage, entries)


def _allowed_by_the_program() -> set[str]:
    names = set()
    for entry in torch.serialization.get_safe_globals():
        names.add(entry[1] if isinstance(entry, tuple) else f"{entry.__module__}.{entry.__qualname__}")
    return names


def _check_keys(args: tuple) -> None:
    """Keys that are given as a list, of ``set([1, 2])`` or ``OrderedDict([["a", 1]])``."""
    for arg in args:
        for entry in arg if isinstance(arg, list | tuple) else ():
            key = entry[0] if isinstance(entry, list) and entry else entry
            if not is_plain(key):
                raise ValueError(f"a {type(key).__name__} as a key")


def check_storage(storage: Stored, entries: dict[str, int]) -> None:
    """Refuse a storage that is not in the file as long as it claims."""
    if entries.get(storage.key) != _nbytes(storage):
        raise ValueError(f"storage {shortened(storage.key)} claims {_nbytes(storage)} bytes, the file holds "
                         f"{entries.get(storage.key, 'none')} of it")


def check_tensors(pickle: Pickle, file_size: int) -> None:
    """Refuse tensors that do not lie in their storages, or claim much more memory than the file has."""
    made = list(pickle.made)
    for other in pickle.made:
        if other.function == "torch._tensor._rebuild_from_type_v2":  # (function, class, its arguments, attributes)
            function, _, args = (*other.args, None, None, None)[:3]
            if not isinstance(function, Name) or function not in TENSORS or not isinstance(args, tuple):
                raise ValueError("it makes a tensor by something else")
            made.append(Made(function, args))
    claimed = sum(_claims(tensor) for tensor in made if tensor.function in TENSORS)
    if claimed > 4 * file_size + (1 << 20):  # a weight may stand twice, or be one value that is repeated
        raise ValueError(f"its tensors claim {claimed} bytes, the file has {file_size}")


def _nbytes(storage: Stored) -> int:
    if storage.kind not in STORAGES:
        raise ValueError(f"storage {shortened(storage.key)} is a {shortened(storage.kind)}, not of plain numbers")
    return storage.numel * STORAGES[storage.kind].itemsize


def _claims(tensor: Made) -> int:
    """Bytes of a tensor if it were copied; one that does not lie within its storage is refused."""
    storage, offset, size, stride = (*tensor.args, None, None, None, None)[:4]
    numbers = [offset, *(size if isinstance(size, tuple) else ()), *(stride if isinstance(stride, tuple) else ())]
    if not isinstance(storage, Stored) or not isinstance(size, tuple) or not isinstance(stride, tuple) \
            or len(size) != len(stride) or len(size) > 64 \
            or any(type(number) is not int or not 0 <= number < 2 ** 62 for number in numbers):
        raise ValueError("a tensor without a storage, offset, size or stride")
    _nbytes(storage)
    dtype = STORAGES[storage.kind]
    if tensor.function == TENSORS[2]:
        named = getattr(torch, str(tensor.args[6]).removeprefix("torch."), None) if len(tensor.args) > 6 else None
        if not isinstance(named, torch.dtype):
            raise ValueError("a tensor without a dtype")
        dtype = named
    numel = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride)) if numel else -1
    if (last + 1) * dtype.itemsize > _nbytes(storage):
        raise ValueError(f"a tensor of size {size} reaches {(last + 1) * dtype.itemsize} bytes into storage "
                         f"{shortened(storage.key)}, which claims {_nbytes(storage)}")
    return numel * dtype.itemsize


class Archive:
    """A checked zip archive of PyTorch, whose entries lie in one folder."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        entries = sorted(file.infolist(), key=lambda entry: entry.header_offset)
        if not entries or len(entries) > MOST_ENTRIES:
            raise ValueError(f"an archive of {len(entries)} entries")
        self._folder = file.infolist()[0].filename.split("/")[0]
        names = {entry.filename.lower() for entry in entries}  # PyTorch finds entries whatever the case
        if len(names) != len(entries):
            raise ValueError("entries of the same name")
        ends = [*(entry.header_offset for entry in entries[1:]), file.start_dir]
        for entry, end in zip(entries, ends):
            name = entry.filename
            if not name.startswith(f"{self._folder}/"):
                raise ValueError(f"the entry {shortened(name)}, outside of its folder")
            if entry.header_offset + entry.compress_size > end:
                raise ValueError(f"the entry {shortened(name)} lies upon another")
            if not name.startswith(f"{self._folder}/code/") and (
                    entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size):
                raise ValueError(f"the entry {shortened(name)} is compressed, which PyTorch does not do to weights")
        self._entries = {entry.filename.removeprefix(f"{self._folder}/"): entry for entry in entries}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def sizes(self) -> dict[str, int]:
        """Bytes of every storage."""
        return {name[5:]: entry.file_size for name, entry in self._entries.items() if name.startswith("data/")}

    def size(self, name: str) -> int:
        """Bytes of an entry, 0 where there is none."""
        return self._entries[name].file_size if name in self._entries else 0

    def read(self, name: str) -> bytearray:
        """The bytes of an entry, checked by its checksum.

        Raises:
            ValueError: No such entry.
        """
        if name not in self._entries:
            raise ValueError(f"no entry {shortened(name)}")
        content, start = bytearray(self._entries[name].file_size), 0
        with self._file.open(self._entries[name]) as entry:
            while piece := entry.read(1 << 20):  # at most a megabyte, which is held twice
                content[start:start + len(piece)] = piece
                start += len(piece)
        if start < len(content):
            raise ValueError(f"the entry {shortened(name)} is cut short")
        return content


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """A checked archive.

    Raises:
        ValueError: A damaged archive, entries that overlap, share a name or lie elsewhere, or compressed weights.
    """
    try:
        with zipfile.ZipFile(path) as file:
            yield Archive(file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"the archive is damaged or cut short ({error})") from error


def shortened(text: object, most: int = 80, quotes: bool = True) -> str:
    """A text of a file for a message, printable and in quotes unless these are unwanted; of anything else its type."""
    if not isinstance(text, str):
        return f"a {type(text).__name__}"
    text = repr(str(text) if len(text) <= most else f"{text[:most]}...")
    return text if quotes else text[1:-1]


def listed(keys: Sequence[str], most: int = 12, length: int = 120) -> str:
    """Keys for a message: so many of them, each so long."""
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return (", ".join(shortened(key, length, quotes=False) for key in keys[:most]) or "nothing") + more
