"""Arrays cut into equal batches for a loop on the device."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array


def in_batches(arrays: tuple[Any, ...], batch_size: int) -> tuple[Array, ...]:
    """Arrays `[n, ...]` as `[batches, size, ...]`, as equal as can be; the last entry repeated fills the last one.

    Args:
        arrays: of one length, on the device or not.
        batch_size: the most in a batch.

    Raises:
        ValueError: batch_size is under 1, or the arrays are empty.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    count = len(arrays[0])
    if count == 0:
        raise ValueError("images must hold at least one, got none")
    batches = -(-count // batch_size)
    size = -(-count // batches)
    places = jnp.minimum(jnp.arange(batches * size), count - 1)
    return tuple(jnp.asarray(array)[places].reshape(batches, size, *array.shape[1:]) for array in arrays)
