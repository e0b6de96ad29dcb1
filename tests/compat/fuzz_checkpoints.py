"""Reads mutated checkpoints, each in every way that the project reads one; run as a program, so that a crash is seen.

    python tests/compat/fuzz_checkpoints.py CHECKPOINT FIRST LAST

prints the number of each case before it is read, and at the end what came of them. Number ``n`` is the same file on
every run. Exit status 0: no crash, no code run, no memory beyond the limit.
"""
from __future__ import annotations

import copy
import io
import pickletools
import random
import resource
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import torch
from mmengine.logging import HistoryBuffer

import claver_mm  # noqa: F401
from claver_mm.weights import load_file

MEMORY = 6 << 30  # of addresses; torch alone has some 3 GB
NAMES = [b"numpy dtype", b"numpy ndarray", b"numpy._core.multiarray _reconstruct", b"numpy._core.multiarray scalar",
         b"_codecs encode", b"__builtin__ getattr", b"__builtin__ bytearray", b"__builtin__ eval", b"torch Tensor",
         b"torch._utils _rebuild_tensor_v2", b"torch._utils _rebuild_qtensor", b"torch FloatStorage",
         b"mmengine.logging.history_buffer HistoryBuffer", b"collections OrderedDict", b"torch Size",
         b"torch._tensor _rebuild_from_type_v2", b"torch.nn.parameter Parameter", b"posix system"]
TEXTS = ["O", "V8", "M8", "f8", "i8", "f2", "b1", "<U4", "|", "<", ">", "latin1", "storage", "0", "1", "mean", ""]
NUMBERS = [0, 1, 2, 3, 7, 255, 65535, 2 ** 31 - 1]


def mutated(content: bytes, random: random.Random) -> bytes:
    """A pickle with one to four instructions changed, dropped, doubled, swapped or overwritten by chance."""
    ends = [*[position for _, _, position in pickletools.genops(content)][1:], len(content)]
    parts = [content[start:end] for start, end in zip([0, *ends], ends)]
    for _ in range(random.choice((1, 1, 2, 4))):
        i = random.randrange(1, len(parts))
        part = parts[i]
        kind = random.randrange(8)
        if part[:1] == b"c" and kind < 6:
            parts[i] = b"c" + random.choice(NAMES).replace(b" ", b"\n") + b"\n"
        elif part[:1] == b"X" and kind < 6:
            text = random.choice(TEXTS).encode()
            parts[i] = b"X" + len(text).to_bytes(4, "little") + text
        elif part[:1] in b"KMJ" and part and kind < 6:
            parts[i] = b"J" + random.choice(NUMBERS).to_bytes(4, "little")
        elif kind == 6:
            parts.insert(i, random.choice(parts))
        elif kind == 7:
            parts[i] = bytes(byte if random.random() < 0.9 else random.randrange(256) for byte in part)
        elif kind == 5:
            j = random.randrange(1, len(parts))
            parts[i], parts[j] = parts[j], parts[i]
        elif kind == 4:
            del parts[i]
        else:
            parts[i] = random.choice([b"R", b"b", b"\x81", b"t", b"(", b"0", b"N", b"}", b"]", b"s", b"u", b"a", b"Q",
                                      b"\x85", b"h" + bytes([random.randrange(256)])])
    return b"".join(parts)


def use(value: object, depth: int = 0) -> None:
    """Touch what was read: copy it, and read every number."""
    if isinstance(value, torch.Tensor):
        if value.numel() < 1 << 20 and value.layout is torch.strided and not value.is_meta:
            value.clone().double() if not value.is_complex() else value.clone()
    elif isinstance(value, HistoryBuffer):
        [value.statistics(name) for name in ("mean", "max", "min", "current")]
    elif isinstance(value, dict) and depth < 20:
        [use(entry, depth + 1) for entry in value.values()]
    elif isinstance(value, list | tuple) and depth < 20:
        [use(entry, depth + 1) for entry in value]
    elif hasattr(value, "dtype"):
        value.sum(), repr(value)


def main() -> None:
    source, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with zipfile.ZipFile(source) as file:
        entries = {entry.filename: file.read(entry) for entry in file.infolist()}
    name = next(name for name in entries if name.endswith("/data.pkl"))
    came: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "case.pth")
        for number in range(first, last):
            print("case", number, flush=True)
            case = dict(entries, **{name: mutated(entries[name], random.Random(number))})
            with zipfile.ZipFile(path, "w") as file:
                for entry, content in case.items():
                    file.writestr(entry, content)
            for way, read in (("load_file", lambda: load_file(path)), ("torch.load", lambda: torch.load(
                    io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True))):
                try:
                    value = read()
                except Exception as error:
                    if way == "load_file" and (not isinstance(error, ValueError) or "case.pth" not in str(error)
                                               or len(str(error)) > 2000):
                        came[f"{way}: ESCAPED {type(error).__name__}"] += 1
                        print("ESCAPED", number, type(error), str(error)[:200])
                    else:
                        came[f"{way}: refused"] += 1
                    continue
                try:
                    use(copy.deepcopy(value))
                    came[f"{way}: read"] += 1
                except Exception as error:
                    came[f"{way}: read, use fails with {type(error).__name__}"] += 1
    print("done", dict(came))
    sys.exit(any("ESCAPED" in key for key in came))


if __name__ == "__main__":
    main()
