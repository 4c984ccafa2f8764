"""How well a distribution is followed: Pearson's correlation with what is expected."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array


def correlation(a: Array, b: Array, used: Array) -> Array:
    """Pearson's correlation of two rows over the entries that are used."""
    count = used.sum()
    a, b = (jnp.where(used, x, 0) for x in (a, b))
    a, b = (jnp.where(used, x - x.sum() / count, 0) for x in (a, b))
    return (a * b).sum() / jnp.sqrt(jnp.square(a).sum() * jnp.square(b).sum())


def uniformity(sorted_values: Array, count: Any) -> Array:
    """The correlation of the first `count` sorted values in [0, 1] with the uniform distribution's quantiles."""
    place = jnp.arange(len(sorted_values))
    return correlation(sorted_values, (place + 0.5) / count, place < count)
