"""Levina-Bickel: the maximum likelihood of the distances to the k nearest neighbours."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_integer
from saliency_jax.dimension.correlation import uniformity
from saliency_jax.dimension.intervals import SHARED, check_confidence, interval, shared_by_sums, variance
from saliency_jax.dimension.points import NoDimension
from saliency_jax.dimension.result import Dimension, distinct_neighbours_of


def levina_bickel(points: Any, *, neighbours: int = 20, unbiased: bool = False, confidence: float = 0.95) -> Dimension:
    """Levina-Bickel's estimate, the points' inverse estimates averaged as MacKay and Ghahramani propose.

    1 / d = mean over points of 1 / (k - 1) * sum_(j < k) log(r_k / r_j). Of equal points one is kept.

    Args:
        points: `[point, feature, ...]`, or the `Neighbours` found among distinct ones.
        neighbours: k, at least 3.
        unbiased: times (k - 2) / (k - 1), Levina and Bickel's correction for the bias of one point's estimate. The mean
            of the inverses has hardly a bias left, so that this takes away too much; others' tools offer it.
        confidence: of the interval.

    Returns:
        Dimension; `fit` is Pearson's correlation of the sorted sums over j, under their Gamma(k - 1, 1 / d), with the
        uniform distribution's quantiles.

    Raises:
        ValueError: neighbours is under 3 or not less than the number of points.
        NoDimension: points are not finite or all equal, too few are distinct, or all neighbours of every point are
            equally far.
        TypeError: points are not floating point.

    Source: Levina and Bickel, NIPS 2004, eq. 8 and 9; MacKay and Ghahramani, comments on it (2005).
    """
    check_integer(neighbours, "neighbours")
    if neighbours < 3:
        raise ValueError(f"neighbours must be at least 3, got {neighbours}")
    check_confidence(confidence)
    found, duplicates = distinct_neighbours_of(points, neighbours)
    value, spread, fit, scale = (
        float(part) for part in estimate(found.distances, found.indices, neighbours=neighbours)
    )
    if not math.isfinite(value):
        raise NoDimension(
            f"points must have neighbours at different distances, but all {neighbours} of each of the "
            f"{len(found.distances)} points are equally far"
        )
    correction = (neighbours - 2) / (neighbours - 1) if unbiased else 1.0
    low, high = (float(end) * correction for end in interval(value, spread, confidence))
    value, count = value * correction, len(found.distances)
    error = value / (count * (neighbours - 1)) ** 0.5
    return Dimension(value, low, high, count, duplicates, fit, error, scale)


@partial(jax.jit, static_argnames="neighbours")
def estimate(distances: Array, indices: Array, *, neighbours: int) -> tuple[Array, ...]:
    """Value, variance, fit and scale."""
    distances = distances[:, :neighbours]
    nearer, last = distances[:, :-1], distances[:, -1:]
    sums = jnp.log1p((last - nearer) / nearer).sum(1)
    d = (neighbours - 1) / sums.mean()
    influences = d * (1 - sums / sums.mean()) / len(sums)
    model = jnp.sort(jax.scipy.special.gammainc(neighbours - 1.0, d * sums))
    spread = variance(influences, indices[:, :neighbours], least=max(SHARED, shared_by_sums(neighbours)))
    return d, spread, uniformity(model, len(model)), distances.mean()
