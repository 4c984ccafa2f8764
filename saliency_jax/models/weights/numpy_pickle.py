"""Arrays from a pickle of NumPy arrays, without unpickling anything."""

from __future__ import annotations

import math
import re
from io import BytesIO
from typing import Any

import numpy as np

from saliency_jax.models.weights.unpickling import Call, Name, described, read_pickle

_ARRAY_MAKERS = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_ALLOWED = (*_ARRAY_MAKERS, "numpy.ndarray", "numpy.dtype")
_NUMBERS = re.compile(r"[fiu][1248]|b1")


def read_numpy_pickle(data: bytes, *, source: str) -> dict[str, np.ndarray]:
    """The arrays of a pickled dict of NumPy arrays and of lists of them.

    Args:
        data: the bytes of the pickle, protocol 3 or 4.
        source: what they were read from, for the messages.

    Returns:
        Name -> array, "name/0", "name/1", ... for those of a list, in the order of the file.

    Raises:
        ValueError: the pickle holds or names anything but arrays of numbers (nothing of it is run), or is damaged.
    """
    file = BytesIO(data)
    content = read_pickle(file, allowed=_ALLOWED, source=source)
    if left := len(data) - file.tell():
        raise ValueError(f"{source} must be one pickle and end with it, {left} bytes follow")
    if not isinstance(content, dict):
        raise ValueError(f"{source} must be a dict of arrays, found {described(content)}")
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= {f"{name}/{i}": part for i, part in enumerate(value)} if isinstance(value, list) else {name: value}
    return {name: _array(value, f"{source}: {name!r}") for name, value in found.items()}


def _array(content: Any, where: str) -> np.ndarray:
    match content:
        case Call(
            path=path,
            arguments=(Name("numpy.ndarray"), (0,), b"b"),
            state=(1, tuple(shape), dtype, bool(fortran), bytes(values)),
        ) if path in _ARRAY_MAKERS:
            pass
        case Call(state=(_, _, _, _, list())):
            raise ValueError(f"{where} must be an array of numbers, found an array of Python objects")
        case _:
            raise ValueError(f"{where} must be a NumPy array, found {described(content)}")
    number = _dtype(dtype, where)
    sizes = all(isinstance(length, int) and length >= 0 for length in shape)
    if not sizes or math.prod(shape) * number.itemsize != len(values):
        raise ValueError(f"{where} must have the bytes of shape {shape} of {number}, found {len(values)} bytes")
    return np.frombuffer(values, number).reshape(shape, order="F" if fortran else "C")


def _dtype(content: Any, where: str) -> np.dtype:
    match content:
        case Call("numpy.dtype", (str(code), *_), _, (3, "<" | "|" | ">" as order, None, None, None, -1, -1, 0)):
            if _NUMBERS.fullmatch(code):
                return np.dtype(order + code)
    raise ValueError(f"{where} must be an array of numbers, found {described(content)}")
