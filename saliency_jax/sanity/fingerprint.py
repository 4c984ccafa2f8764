"""What a run depends on, as plain values: so that a folder of another configuration is recognized."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import types
from collections.abc import Iterable, Mapping
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


def describe(value: Any, *, depth: int = 8) -> str:
    """A function with the options that were fixed in it, as text that is the same in every process.

    `smoothgrad(gradient, samples=50)` and `smoothgrad(gradient, samples=25)` are two functions of one name; their
    descriptions differ. What is looked at: partial arguments, closures, defaults, bound objects and their fields, the
    function under a jit, and the code itself. What lies deeper than `depth` is left out, for functions can close over
    themselves; so is what a function finds by a global name.
    """
    if depth == 0:
        return "..."
    within = functools.partial(describe, depth=depth - 1)
    if isinstance(value, str | bytes | int | float | complex | bool | None | np.dtype):
        return repr(value)
    if isinstance(value, type | types.ModuleType):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
    if isinstance(value, Mapping):
        return _listed("{}", [f"{within(k)}: {within(v)}" for k, v in value.items()])
    if isinstance(value, tuple | list):
        return _listed("[]", map(within, value))
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return f"array {digest(value)[:16]}"
    if isinstance(value, functools.partial):
        options = [within(v) for v in value.args] + [f"{k}={within(v)}" for k, v in value.keywords.items()]
        return within(value.func) + _listed("()", options)
    fields = _fields(value)
    inside = _listed("[]", [f"{name}={within(fields[name])}" for name in sorted(fields)]) if fields else ""
    return _name(value) + inside


def _name(value: Any) -> str:
    """Module and qualified name of a function, or of an object's type; a function's with a digest of its code."""
    owner = value if hasattr(value, "__qualname__") else type(value)
    code = getattr(value, "__code__", None)
    program = f"#{hashlib.sha256(_code(code).encode()).hexdigest()[:8]}" if code else ""
    return f"{owner.__module__}.{owner.__qualname__}{program}"


def _fields(value: Any) -> dict[str, Any]:
    """What a function or an object carries along: a closure, defaults, a bound object, attributes, what it wraps."""
    found: dict[str, Any] = {}
    if dataclasses.is_dataclass(value):
        found.update((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    elif callable(value) and not inspect.isroutine(value):
        found.update((k, v) for k, v in getattr(value, "__dict__", {}).items() if not k.startswith("_"))
    for name in ("__self__", "__wrapped__", "__defaults__", "__kwdefaults__"):
        carried = getattr(value, name, None)
        if carried is not None and not isinstance(carried, types.ModuleType):
            found[name.strip("_")] = carried
    code, cells = getattr(value, "__code__", None), getattr(value, "__closure__", None) or ()
    for name, cell in zip(getattr(code, "co_freevars", ()), cells, strict=False):
        # A cell that is not filled yet has nothing in it.
        with contextlib.suppress(ValueError):
            found[name] = cell.cell_contents
    return found


def _code(code: types.CodeType) -> str:
    """What a code object does, without where it stands in its file."""
    return repr((code.co_code, code.co_names, code.co_varnames, [_constant(c) for c in code.co_consts]))


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, frozenset):
        return repr(sorted(map(repr, value)))
    return _listed("()", map(_constant, value)) if isinstance(value, tuple) else repr(value)


def _listed(brackets: str, items: Iterable[str]) -> str:
    return f"{brackets[0]}{', '.join(items)}{brackets[1]}"
