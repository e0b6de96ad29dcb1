"""NumPy's numbers and arrays of numbers in a checkpoint, made from checked values alone.

Pure: imports numpy. NumPy's own way back from a pickle (``dtype.__setstate__``, ``ndarray.__setstate__``) believes what
a file says: a dtype with forged fields or flags reads a number as a pointer, and the process ends. Here a dtype is a
code of a fixed table, and an array a shape and as many bytes as it takes.
"""
from __future__ import annotations

import math
import pickle
from typing import Any, SupportsIndex

import numpy as np

CODES = {np.dtype(code).str[1:]: np.dtype(code) for code in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"}
"""``i8``, ``f4``, ``b1`` and the like -> dtype: integers, floats and booleans."""

ARRAY: Any = object()
"""Stands for the class ``numpy.ndarray`` in a checkpoint; a file cannot reach the class itself."""


class NumberType:
    """Stands for ``numpy.dtype``: one of ``CODES``.

    Raises:
        pickle.UnpicklingError: Any other dtype.
    """

    def __init__(self, code: str, *how: bool) -> None:
        if not isinstance(code, str) or code not in CODES:
            raise pickle.UnpicklingError("a checkpoint holds numbers and arrays of numbers, not of the dtype "
                                         f"{str(code)[:40] if isinstance(code, str) else type(code).__name__!r}")
        self.dtype = CODES[code]

    def __setstate__(self, state: tuple) -> None:
        """Byte order, and nothing else that a dtype can be told: fields, shapes, flags, metadata."""
        plain = (3, None, None, None, None, -1, -1, 0)
        if type(state) is not tuple or len(state) != 8 or type(state[1]) is not str or state[1] not in ("", *"<>=|") \
                or any(type(told) is not type(wanted) or told != wanted
                       for told, wanted in zip(state[:1] + state[2:], plain[:1] + plain[2:])):
            raise pickle.UnpicklingError("a dtype of a checkpoint is no plain number")
        ordered = np.dtype(state[1] + self.dtype.str[1:])
        self.dtype = self.dtype if ordered.isnative else ordered


class NumberArray(np.ndarray):
    """Stands for ``numpy.ndarray``: what it is told of shape, dtype and bytes has to fit, and it is told once.

    It is pickled as the plain array that it is.
    """

    __array_priority__ = -1  # with a plain array it makes a plain array

    def __new__(cls, owner: object = ARRAY, *how: object) -> NumberArray:
        """Empty, as NumPy's ``_reconstruct`` makes it.

        Raises:
            pickle.UnpicklingError: Another class than an array.
        """
        if owner is not ARRAY:
            raise pickle.UnpicklingError("a checkpoint may rebuild arrays alone")
        return super().__new__(cls, (0,), np.int8)

    def __setstate__(self, state: tuple) -> None:
        """``(1, shape, dtype, in Fortran's order, bytes)``."""
        if type(state) is not tuple or len(state) != 5:
            raise pickle.UnpicklingError("an array of a checkpoint says not what it holds")
        version, shape, kind, fortran, content = state
        if type(version) is not int or version != 1 or not isinstance(kind, NumberType) \
                or type(shape) is not tuple or len(shape) > 32 or type(content) is not bytes \
                or any(type(length) is not int or not 0 <= length < 2 ** 31 for length in shape) \
                or math.prod(shape) * kind.dtype.itemsize != len(content) or "told" in vars(self) \
                or not _are_values(content, kind.dtype):
            raise pickle.UnpicklingError("an array of a checkpoint does not hold what it says")
        self.told = True
        super().__setstate__((1, shape, kind.dtype, bool(fortran), content))  # type: ignore[arg-type]  # stub: np.bool

    def __reduce__(self) -> str | tuple[Any, ...]:
        return self.view(np.ndarray).__reduce__()

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return self.view(np.ndarray).__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any] | None, /) -> np.ndarray:  # type: ignore[override]  # a plain array
        return np.array(self)


def number(kind: NumberType, content: bytes) -> np.generic:
    """Stands for NumPy's ``scalar``.

    Raises:
        pickle.UnpicklingError: Another dtype than a number's, or not as many bytes as it has.
    """
    if not isinstance(kind, NumberType) or type(content) is not bytes or len(content) != kind.dtype.itemsize \
            or not _are_values(content, kind.dtype):
        raise pickle.UnpicklingError("a number of a checkpoint does not hold what it says")
    return np.frombuffer(content, kind.dtype)[0]


def no_bytes() -> bytes:
    """Stands for ``bytes``, by which pickles write those of an empty array."""
    return b""


def _are_values(content: bytes, dtype: np.dtype) -> bool:
    """Booleans are 0 or 1, which NumPy relies on."""
    return dtype.kind != "b" or max(content, default=0) <= 1
