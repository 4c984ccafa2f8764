"""Sums over path points and noise samples in chunks: vectorized inside a chunk, scanned over chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from saliency_jax.checks import check_integer
from saliency_jax.tracing.memory import samples_at_once


def fold_chunks(step: Callable[[Any, Array, Array], Any], initial: Any, count: int, *, at_once: int | None) -> Any:
    """Fold `step(carry, indices, valid) -> carry` over the places 0 .. count - 1, in chunks of equal size.

    Memory grows with the chunk and not with the count. Where the chunks do not divide the count, the last one repeats
    the last place with `valid` False.

    Args:
        step: the fold; indices and valid are `[chunk]`.
        initial: the first carry.
        count: how many places.
        at_once: the largest chunk; `samples_at_once()` where None.

    Raises:
        ValueError: count or at_once is under 1.
    """
    at_once = samples_at_once() if at_once is None else at_once
    check_integer(at_once, "at_once")
    if count < 1 or at_once < 1:
        raise ValueError(f"the number of samples and at_once must be at least 1, got {count} and {at_once}")
    chunks = -(-count // at_once)
    size = -(-count // chunks)
    places = jnp.arange(chunks * size).reshape(chunks, size)
    indices, valid = jnp.minimum(places, count - 1), places < count
    if chunks == 1:
        return step(initial, indices[0], valid[0])
    carry, _ = lax.scan(lambda carry, chunk: (step(carry, *chunk), None), initial, (indices, valid))
    return carry
