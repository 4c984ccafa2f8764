"""Gride: the dimension over a range of scales, from the ratio of two neighbours' distances."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_integer, check_number
from saliency_jax.dimension.correlation import uniformity
from saliency_jax.dimension.intervals import check_confidence, interval, variance
from saliency_jax.dimension.result import Dimension, distinct_neighbours_of

RANGES = (1, 2, 4, 8, 16, 32)
_STEPS = 60
"""Halvings of the bracket on the logarithm of d: more than double precision has digits."""


def gride(
    points: Any,
    *,
    ranges: Sequence[int | tuple[int, int]] = RANGES,
    outlier: float | None = 20.0,
    confidence: float = 0.95,
) -> Dimension:
    """Gride: the maximum likelihood of mu = r_k2 / r_k1, the ratio of two neighbours' distances, for each range.

    f(mu | d) = d (mu^d - 1)^(k2 - k1 - 1) / (mu^((k2 - 1) d + 1) B(k2 - k1, k1)). Over growing ranges it shows how the
    dimension depends on the scale; a plateau is what can be called the dimension. At (1, 2) it is TwoNN's likelihood.
    Of equal points one is kept.

    Args:
        points: `[point, feature, ...]`, or the `Neighbours` found among distinct ones.
        ranges: the neighbours k1 < k2 of each range; k stands for (k, 2k).
        outlier: ratios from the median plus this many times the distance from there to the 95% quantile on are left
            out; None leaves out none. In sets of dimension 1 such ratios are no accident, and estimates at (1, 2) come
            out a percent higher without them.
        confidence: of the intervals.

    Returns:
        Dimension of arrays `[range]`. `fit` is Pearson's correlation of the sorted mu^-d, under Beta(k1, k2 - k1), with
        the uniform distribution's quantiles; `error` is from Fisher's information. NaN where the likelihood has no
        maximum between 1e-4 and 1e6: on a lattice, where many ratios are 1.

    Raises:
        ValueError: a range is not 1 <= k1 < k2 < the number of points, or outlier is not positive.
        NoDimension: points are not finite or all equal, or too few are distinct.
        TypeError: points are not floating point.

    Source: Denti et al., Scientific Reports 12 (2022) 20005. The outliers: DADApy 0.3's choice.
    """
    if isinstance(ranges, str) or not isinstance(ranges, Sequence):
        raise TypeError(f"ranges must be a sequence of numbers of neighbours or pairs of them, got {ranges!r}")
    pairs = [(entry, 2 * entry) if isinstance(entry, int | np.integer) else _pair(entry) for entry in ranges]
    for number in (number for pair in pairs for number in pair):
        check_integer(number, "ranges")
    if not pairs or any(len(pair) != 2 or not 1 <= pair[0] < pair[1] for pair in pairs):
        raise ValueError(f"ranges must be neighbours 1 <= k1 < k2, or k for (k, 2k), got {list(ranges)}")
    if outlier is not None:
        check_number(outlier, "outlier")
    if outlier is not None and not outlier > 0:
        raise ValueError(f"outlier must be positive or None, got {outlier}")
    check_confidence(confidence)
    found, duplicates = distinct_neighbours_of(points, max(far for _, far in pairs))
    rows = [
        estimate(found.distances, found.indices, near=near, far=far, outlier=np.inf if outlier is None else outlier)
        for near, far in pairs
    ]
    value, spread, count, fit, error, scale = (np.array(column, float) for column in zip(*rows, strict=True))
    low, high = interval(value, spread, confidence)
    return Dimension(value, low, high, count.astype(int), duplicates, fit, error, scale)


def _pair(entry: Any) -> tuple[Any, ...]:
    if not isinstance(entry, Sequence):
        raise TypeError(f"ranges must be numbers of neighbours or pairs of them, found {entry!r}")
    return tuple(entry)


@partial(jax.jit, static_argnames=("near", "far"))
def estimate(distances: Array, indices: Array, *, near: int, far: int, outlier: Any) -> tuple[Array, ...]:
    """Value, variance, points, fit, standard error and scale for one range."""
    inner, outer = distances[:, near - 1], distances[:, far - 1]
    logs = jnp.log1p((outer - inner) / inner)
    ratio = jnp.exp(logs)
    median, high = jnp.quantile(ratio, jnp.array([0.5, 0.95], ratio.dtype))
    kept = (ratio < median + outlier * (high - median)) | jnp.isinf(outlier)
    count = kept.sum()
    between, beyond = far - near - 1, far - 1

    def share(d: Array, logs: Array) -> Array:
        """log mu / (1 - mu^-d), whose limit at mu = 1 is 1 / d."""
        decay = -jnp.expm1(-d * logs)
        return jnp.where(decay > 0, logs / jnp.where(decay > 0, decay, 1), 1 / d)

    def slope(d: Array) -> Array:
        """The derivative of the log likelihood, with the N - 1 that takes the bias from TwoNN's."""
        terms = jnp.where(kept, between * share(d, logs) - beyond * logs, 0)
        return (count - 1) / d + terms.sum()

    def halved(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        rising = slope(jnp.exp(middle)) > 0
        return jnp.where(rising, middle, low), jnp.where(rising, high, middle)

    bracket = (jnp.asarray(np.log(1e-4), logs.dtype), jnp.asarray(np.log(1e6), logs.dtype))
    low, high = jax.lax.fori_loop(0, _STEPS, halved, bracket)
    d = jnp.where((low > bracket[0]) & (high < bracket[1]), jnp.exp((low + high) / 2), jnp.nan)
    information = 1 / d**2 + between * jnp.square(share(d, logs)) * jnp.exp(-d * logs)
    score = jnp.where(kept, 1 / d + between * share(d, logs) - beyond * logs, 0)
    spread = variance(score / jnp.where(kept, information, 0).sum(), indices[:, :far])
    # 1 - I(k1, k2 - k1; mu^-d) is uniform where the model holds; those left out stand at the end and count for nothing.
    model = jnp.sort(jnp.where(kept, 1 - jax.scipy.special.betainc(near, far - near, jnp.exp(-d * logs)), jnp.inf))
    fit = uniformity(model, count)
    return d, spread, count, fit, information.sum() ** -0.5, (inner.mean() + outer.mean()) / 2
