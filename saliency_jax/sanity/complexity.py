"""How complex a map is: the entropy of the histogram of its values."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from saliency_jax.checks import check_integer
from saliency_jax.similarity.pairs import floating

BINS = 100

BinWidth = Callable[[Array], Array]
"""The width of a map's bins from its values, `width(values) -> scalar`; 0 for one bin only."""


def freedman_diaconis(values: Float[Array, " n"]) -> Array:
    """2 IQR / n^(1/3). Source: Freedman and Diaconis 1981."""
    low, high = jnp.percentile(values, jnp.asarray([25, 75]))
    return 2 * (high - low) / values.size ** (1 / 3)


def scott(values: Float[Array, " n"]) -> Array:
    """(24 sqrt(pi) / n)^(1/3) times the standard deviation. Source: Scott 1979."""
    return (24 * math.sqrt(math.pi) / values.size) ** (1 / 3) * values.std()


def sturges(values: Float[Array, " n"]) -> Array:
    """The range over log2(n) + 1. Source: Sturges 1926."""
    return jnp.ptp(values) / (math.log2(values.size) + 1)


def rice(values: Float[Array, " n"]) -> Array:
    """The range over 2 n^(1/3)."""
    return jnp.ptp(values) / (2 * values.size ** (1 / 3))


def square_root(values: Float[Array, " n"]) -> Array:
    """The range over sqrt(n)."""
    return jnp.ptp(values) / math.sqrt(values.size)


BIN_RULES: dict[str, BinWidth] = {
    "freedman_diaconis": freedman_diaconis,
    "scott": scott,
    "sturges": sturges,
    "rice": rice,
    "square_root": square_root,
}
"""Rules for the width of the bins, by name: those of `numpy.histogram_bin_edges`, n the number of values of a map."""


def histogram_entropy(x: Float[Array, ...], *, bins: int | str = BINS) -> Float[Array, ""]:
    """The entropy of the histogram of a map's values: H = -sum_b p_b log p_b, p_b the share of values in bin b.

    Bins of equal width divide [min x, max x]; each holds its lower border, the last one both. Values keep their signs.

    Args:
        x: a map of any shape, n values in all.
        bins: how many bins; or the name of a rule in `BIN_RULES`, by which every map has a number of bins of its own.

    Returns:
        H in nats, from 0 to the logarithm of the number of bins. 0 if the map is constant: all values are in one bin.
        NaN if it holds a NaN or an infinity.

    Raises:
        TypeError: x is not an array of floats.
        ValueError: x is empty, there are no bins, or the rule is unknown.

    Source: Hedstrom, Weber, Lapuschkin and Hoehne 2024, section 3.2.

    Cost: a sort of n values, whatever the number of bins.
    """
    if isinstance(bins, str) and bins not in BIN_RULES:
        raise ValueError(f"bins must be a number or one of {sorted(BIN_RULES)}, got {bins!r}")
    if not isinstance(bins, str):
        check_integer(bins, "bins")
    if not isinstance(bins, str) and bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    # An eighth: the range of what a float can hold then fits into one, and its reciprocal is no subnormal number.
    values = floating(x, "x").ravel() / 8
    low, extent = values.min(), jnp.ptp(values)
    if isinstance(bins, str):
        width = BIN_RULES[bins](values)
        count = jnp.where(width > 0, jnp.ceil(extent / jnp.where(width > 0, width, 1)), 1)
    else:
        count = jnp.asarray(bins, values.dtype)
    place = (values - low) / jnp.where(extent > 0, extent, 1) * count
    place = jnp.minimum(jnp.floor(place), count - 1)
    # Bins that are empty add nothing: it is enough to know with how many others each value shares its own.
    ascending = jnp.sort(place)
    shared = jnp.searchsorted(ascending, place, side="right") - jnp.searchsorted(ascending, place, side="left")
    entropy = -jnp.mean(jnp.log(shared.astype(values.dtype) / values.size))
    return jnp.where(jnp.isfinite(values).all(), jnp.maximum(entropy, 0), jnp.nan)
