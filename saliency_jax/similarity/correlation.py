"""Correlations of two maps: Spearman, Pearson, cosine."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from saliency_jax.similarity.pairs import as_pair
from saliency_jax.similarity.ranks import doubled_centred_ranks, sort_key
from saliency_jax.similarity.scaling import by_largest_magnitude


def spearman(a: Float[Array, ...], b: Float[Array, ...], *, absolute: bool = False) -> Float[Array, ""]:
    """Spearman's rank correlation of two maps, with average ranks on ties.

    `rho = sum(r s) / sqrt(sum(r^2) sum(s^2))`, r and s the centred average ranks of a and b.

    Infinities are ranked as the extremes. Twice a centred rank is an integer, so nothing is lost by centring
    and rho holds to about 1e-7 in float32, also for hundreds of thousands of pixels.

    Args:
        a: a map of any shape.
        b: the other map, in the same shape.
        absolute: rank |a| and |b| instead, which forgets the signs.

    Returns:
        rho in [-1, 1], up to rounding. NaN if a map (with `absolute`, its absolute value) is constant, which has no
        rank correlation, or holds a NaN.

    Raises:
        TypeError: if a map is not an array of floats.
        ValueError: if the shapes differ or the maps are empty.

    Source:
        Adebayo et al., "Sanity Checks for Saliency Maps" (2018), section 4: "Spearman rank correlation with
        absolute value" and "without".
    """
    a, b = as_pair(a, b)
    rho = _cosine(
        doubled_centred_ranks(sort_key(a, absolute=absolute)).astype(a.dtype) / a.size,
        doubled_centred_ranks(sort_key(b, absolute=absolute)).astype(b.dtype) / b.size,
    )
    return jnp.where(jnp.isnan(a).any() | jnp.isnan(b).any(), jnp.nan, rho)


def pearson(a: Float[Array, ...], b: Float[Array, ...]) -> Float[Array, ""]:
    """Pearson's linear correlation of two maps.

    `r = sum((a - mean a)(b - mean b)) / sqrt(sum((a - mean a)^2) sum((b - mean b)^2))`

    Each map is first shifted to the middle of its range and divided by half of it, so that neither a large offset
    nor a very large or small scale costs digits.

    Args:
        a: a map of any shape.
        b: the other map, in the same shape.

    Returns:
        r in [-1, 1], up to rounding. NaN if a map is constant or holds a NaN or an infinity.

    Raises:
        TypeError: if a map is not an array of floats.
        ValueError: if the shapes differ or the maps are empty.
    """
    a, b = as_pair(a, b)
    return _cosine(_centred(a.ravel()), _centred(b.ravel()))


def cosine(a: Float[Array, ...], b: Float[Array, ...]) -> Float[Array, ""]:
    """The cosine of the angle between two maps seen as vectors.

    `cos = sum(a b) / sqrt(sum(a^2) sum(b^2))`, each map first divided by its largest magnitude.

    Args:
        a: a map of any shape.
        b: the other map, in the same shape.

    Returns:
        The cosine in [-1, 1], up to rounding. NaN if a map is zero everywhere or holds a NaN or an infinity.

    Raises:
        TypeError: if a map is not an array of floats.
        ValueError: if the shapes differ or the maps are empty.
    """
    a, b = as_pair(a, b)
    return _cosine(by_largest_magnitude(a.ravel()), by_largest_magnitude(b.ravel()))


def _centred(x: Float[Array, " n"]) -> Float[Array, " n"]:
    # Halves before the sum and the difference: neither overflows, and a constant map gives 0 / 0.
    low, high = x.min() / 2, x.max() / 2
    scaled = (x - (low + high)) / (high - low)
    return scaled - scaled.mean()


def _cosine(a: Float[Array, " n"], b: Float[Array, " n"]) -> Float[Array, ""]:
    # Vectors, not maps: XLA's CPU backend adds up small arrays of several axes one by one, which costs a digit.
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))
