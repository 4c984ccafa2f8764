"""One random key in, split by name: the same draws whatever the order, the chunks or the devices."""

from __future__ import annotations

import zlib
from typing import Any

import jax
from jax import Array

from saliency_jax.checks import check_one_key


def named(key: Any, name: str) -> Array:
    """The key of a named purpose: `fold_in(key, crc32(name))`."""
    check_one_key(key)
    return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def numbered(key: Any, count: int) -> Array:
    """One key for each of `count` places: `fold_in(key, i)`."""
    check_one_key(key)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jax.numpy.arange(count))
