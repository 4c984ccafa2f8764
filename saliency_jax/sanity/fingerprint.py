"""What a run depends on, as plain values: so that a folder of another configuration is recognized."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from saliency_jax.tracing.layers import leaf_paths


def digest(tree: Any) -> str:
    """sha256 over the paths, dtypes, shapes and bytes of a pytree's leaves."""
    total = hashlib.sha256()
    for path, leaf in zip(leaf_paths(tree), jax.tree.leaves(tree), strict=True):
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        values = np.asarray(leaf)
        total.update(f"{path} {values.dtype} {values.shape}".encode())
        total.update(values.tobytes())
    return total.hexdigest()


def describe(value: Any, *, depth: int = 6) -> str:
    """A function with the options that were fixed in it (partial arguments, what it closes over), as text.

    `smoothgrad(gradient, samples=50)` and `smoothgrad(gradient, samples=25)` are two functions of one name; their
    descriptions differ. What lies deeper than `depth` is left out, for functions can close over themselves.
    """
    if depth == 0:
        return "..."
    within = functools.partial(describe, depth=depth - 1)
    if isinstance(value, functools.partial):
        options = [within(v) for v in value.args] + [f"{k}={within(v)}" for k, v in value.keywords.items()]
        return f"{within(value.func)}({', '.join(options)})"
    if callable(value):
        name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
        closed = [f"{n}={within(v)}" for n, v in _closure(value)]
        return f"{name}[{', '.join(closed)}]" if closed else name
    if isinstance(value, str | int | float | bool | None):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(within, value))}]"
    if hasattr(value, "dtype"):
        return f"array {digest(value)[:16]}"
    return type(value).__qualname__


def _closure(function: Callable) -> list[tuple[str, Any]]:
    """The names and values that a function closes over."""
    cells = getattr(function, "__closure__", None) or ()
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    found = []
    for name, cell in zip(names, cells, strict=False):
        try:
            found.append((name, cell.cell_contents))
        except ValueError:  # a cell that is not filled yet
            continue
    return found
