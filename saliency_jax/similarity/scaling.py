"""The two scalings that the published comparisons put before SSIM and HOG."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def by_largest_magnitude(x: Float[Array, ...]) -> Float[Array, ...]:
    """A map into [-1, 1], zero left in place: `x / max|x|`. All NaN if the map is zero everywhere (0 / 0)."""
    return x / jnp.maximum(x.max(), -x.min())


def to_unit_interval(x: Float[Array, ...]) -> Float[Array, ...]:
    """A map onto [0, 1]: `(x - min x) / (max x - min x)`. All NaN if the map is constant (0 / 0)."""
    return (x - x.min()) / (x.max() - x.min())
