"""What a pickle says, read without doing any of it.

Pure: imports the standard library alone. A pickle is a program; here its instructions are followed as far as they make
plain values, and every call, class and object is only written down, as ``Made``.
"""
from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

MOST_INSTRUCTIONS = 5_000_000
"""More than the checkpoint of any model here takes by two orders; what bounds time, and memory to about 1 GB."""

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
VALUES = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING")


class Name(str):
    """A function or class that a pickle names, ``torch._utils._rebuild_tensor_v2``."""


@dataclass(eq=False)
class Made:
    """An object that a pickle would make: by which function or class, of what, and the state it would be given."""
    function: Any
    args: Any
    state: Any = None
    built: int = 0


class Stored(NamedTuple):
    """The reference to a storage: type of its values, name of its entry, number of values."""
    kind: str
    key: str
    numel: int


class Pickle(NamedTuple):
    """A pickle's value, and everything in it that is more than a plain value, also what the value no longer holds."""
    value: Any
    made: list[Made]
    stored: list[Stored]


def read_pickle(stream: IO[bytes]) -> Pickle:
    """Read one pickle of a stream, in the instructions that PyTorch writes (protocol 2).

    Raises:
        ValueError: An instruction beyond these, a cut or malformed pickle, one of too many instructions, or a key that
            is no plain value: to hash a deeply nested one crashes the interpreter.
    """
    stack: list[Any] = []
    marks: list[list] = []
    memo: dict[int, Any] = {}
    made: list[Made] = []
    stored: list[Stored] = []
    try:
        arg: Any
        for count, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
            name = opcode.name
            if count > MOST_INSTRUCTIONS:
                raise ValueError(f"more than {MOST_INSTRUCTIONS} instructions")
            if name in VALUES:
                stack.append(arg)
            elif name in ("BINPUT", "LONG_BINPUT"):
                memo[arg] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[arg])
            elif name in CONSTANTS:
                stack.append(CONSTANTS[name])
            elif name == "GLOBAL":
                stack.append(_name(*arg.split(" ", 1)))
            elif name == "MARK":
                marks.append(stack)
                stack = []
            elif name in TUPLES:
                stack[-TUPLES[name]:] = [tuple(_last(stack, TUPLES[name]))]
            elif name in ("TUPLE", "APPENDS", "SETITEMS"):
                items, stack = stack, marks.pop()
                if name == "TUPLE":
                    stack.append(tuple(items))
                elif name == "APPENDS":
                    _of(stack[-1], list).extend(items)
                else:
                    _put(stack[-1], items)
            elif name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"):
                stack.append({"L": list, "D": dict, "S": set}[name[6]]())
            elif name == "APPEND":
                item = stack.pop()
                _of(stack[-1], list).append(item)
            elif name == "SETITEM":
                items = _last(stack, 2)
                del stack[-2:]
                _put(stack[-1], items)
            elif name in ("REDUCE", "NEWOBJ"):
                function, args = _last(stack, 2)
                made.append(Made(function, _of(args, tuple)))
                stack[-2:] = [made[-1]]
            elif name == "BUILD":
                target = _of(stack[-2], Made)
                target.state, target.built = stack.pop(), target.built + 1
            elif name == "BINPERSID":
                stored.append(_storage(stack.pop()))
                stack.append(stored[-1])
            elif name == "STOP":
                return Pickle(stack.pop(), made, stored)
            elif name != "PROTO":
                raise ValueError(f"the instruction {name}, which PyTorch does not write")
    except (IndexError, KeyError) as error:
        raise ValueError("it takes what it has not put") from error
    raise ValueError("it has no end")


def _name(module: str, name: str) -> Name:
    """A name in Python 3, whose protocol 2 writes those of Python 2."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return Name(f"{module}.{name}")


def is_plain(key: object) -> bool:
    """Whether a value can be a key without more ado: a number, a text, a name, or a flat tuple of such."""
    if isinstance(key, tuple) and not isinstance(key, Stored):
        return all(_is_scalar(part) for part in key)
    return _is_scalar(key)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | bytes | int | float)


def _last(stack: list, count: int) -> list:
    if len(stack) < count:
        raise IndexError
    return stack[-count:]


def _of(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"a {kind.__name__} is needed where a {type(value).__name__} stands")
    return value


def _put(target: Any, items: list) -> None:
    """Set keys to values; those of an object that stands for a dict are checked, and read by nobody here."""
    if len(items) % 2:
        raise IndexError
    for key in items[::2]:
        if not is_plain(key):
            raise ValueError(f"a {type(key).__name__} as a key")
    if isinstance(target, Made):
        if target.function not in ("collections.OrderedDict", "collections.Counter"):
            raise ValueError("keys of an object that is no dict")
    else:
        _of(target, dict).update(zip(items[::2], items[1::2]))


def _storage(reference: Any) -> Stored:
    """``("storage", type, key, device, numel)``; a view into another storage (of PyTorch 0.1) may follow as None."""
    if type(reference) is not tuple or len(reference) not in (5, 6) or reference[5:] not in ((), (None,)):
        raise ValueError("a reference to something that is no storage")
    tag, kind, key, _, numel = reference[:5]
    if tag not in ("storage", b"storage") or not isinstance(kind, Name) or not isinstance(key, str) \
            or type(numel) is not int or numel < 0:
        raise ValueError("a reference to a storage that says not which or how long")
    return Stored(str(kind), key, numel)
