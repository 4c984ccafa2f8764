"""The scalings that published comparisons put before a metric, and any metric of scaled maps."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from saliency_jax.similarity.pairs import as_pair
from saliency_jax.typing import Metric


def by_largest_magnitude(x: Float[Array, ...]) -> Float[Array, ...]:
    """A map into [-1, 1], zero left in place: `x / max|x|`. All NaN if the map is zero everywhere (0 / 0)."""
    return x / jnp.maximum(x.max(), -x.min())


def to_unit_interval(x: Float[Array, ...]) -> Float[Array, ...]:
    """A map onto [0, 1]: `(x - min x) / (max x - min x)`. All NaN if the map is constant (0 / 0)."""
    return (x - x.min()) / (x.max() - x.min())


def by_mean_square(x: Float[Array, ...]) -> Float[Array, ...]:
    """A map of mean square 1, signs kept: `x / sqrt(mean(x^2))`. All NaN if the map is zero everywhere (0 / 0).

    One large value does not make all others small, as it does in `by_largest_magnitude`.

    Source: Binder et al., "Shortcomings of top-down randomization-based sanity checks for evaluations of deep neural
        network explanations" (2023); Hedstrom et al., "Sanity checks revisited" (2024), section 3.
    """
    # Squares of the map as it is could overflow, or vanish.
    unit = by_largest_magnitude(x)
    return unit / jnp.sqrt(jnp.mean(unit * unit))


def scaled(metric: Metric, scaling: Callable[[Array], Array]) -> Metric:
    """A metric of scaled maps: `metric(scaling(a), scaling(b))`.

    Args:
        metric: `metric(a, b) -> scalar`.
        scaling: `scaling(map) -> map`, such as `by_mean_square`.

    Returns:
        A metric. It raises where the maps are no pair, before they are scaled.
    """

    def metric_of_scaled(a: Float[Array, ...], b: Float[Array, ...]) -> Array:
        a, b = as_pair(a, b)
        return metric(scaling(a), scaling(b))

    return metric_of_scaled
