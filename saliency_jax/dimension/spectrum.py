"""The linear dimension: how many principal components carry the variance, and Gaussian points of equal covariance."""

from __future__ import annotations

from functools import partial
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_number
from saliency_jax.dimension.intervals import check_confidence
from saliency_jax.dimension.points import NoDimension, as_matrix, check_points
from saliency_jax.dimension.result import Dimension


class Spectrum(NamedTuple):
    """The principal components of points.

    Attributes:
        variances: of the components, largest first, `[component]`, as many as the smaller of points and features.
        coordinates: the points' coordinates on the components, `[point, component]`.
    """

    variances: Array
    coordinates: Array


def spectrum(points: Any, *, standardized: bool = False) -> Spectrum:
    """Principal components from the smaller of the two Gram matrices, of points or of features.

    Memory grows with the square of the smaller of both numbers, time with that times the larger.

    Args:
        points: `[point, feature, ...]`.
        standardized: each feature is divided by its standard deviation first; one that is constant stays 0.

    Raises:
        NoDimension: points are not finite or all equal.
        TypeError: points are not floating point.
    """
    check_points(points)
    return _spectrum(as_matrix(points), standardized=standardized)


def pca_dimension(
    points: Any,
    *,
    variance: float = 0.9,
    standardized: bool = True,
    zero_based: bool = False,
    confidence: float = 0.95,
) -> Dimension:
    """The smallest number of principal components that carry more than a share of the variance.

    The interval is of that number, too: where the share up to a component, give or take its standard error, passes.
    That error is from the points' influences (|P x_i|^2 - share |x_i|^2) / sum_j |x_j|^2, P being the projection on the
    components; that with few points the leading components carry too much, it does not know.

    Args:
        points: `[point, feature, ...]`; or their `Spectrum`.
        variance: the share, between 0 and 1.
        standardized: each feature is divided by its standard deviation first, as the paper does; not for a Spectrum.
        zero_based: one less, the index that the paper's code returns.
        confidence: of the interval.

    Returns:
        Dimension; `fit` is the share of the variance that the components carry.

    Raises:
        ValueError: variance or confidence is not between 0 and 1.
        NoDimension: points are not finite or all equal, or so large or small that their variances leave the range of
            their precision.
        TypeError: points are not floating point.

    Source: Ansuini et al., NeurIPS 2019, section 3.4 (PC-ID).
    """
    check_share(variance)
    check_confidence(confidence)
    found = points if isinstance(points, Spectrum) else spectrum(points, standardized=standardized)
    share, error = (np.asarray(part, np.float64) for part in _shares(found))
    if not np.isfinite(share).all():
        raise NoDimension(
            f"points must have variances in the range of {found.variances.dtype}, got {found.variances.sum()} in all: "
            "rescale them"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    last = len(share) - 1
    ends = [share, share + z * error, share - z * error]
    value, low, high = (int(np.argmax(end > variance)) if (end > variance).any() else last for end in ends)
    first = 0 if zero_based else 1
    count = len(found.coordinates)
    return Dimension(value + first, low + first, high + first, count, 0, float(share[value]))


def check_share(variance: float) -> None:
    """Raise ValueError unless a share of the variance is between 0 and 1."""
    check_number(variance, "variance")
    if not 0 < variance < 1:
        raise ValueError(f"variance must be between 0 and 1, got {variance}")


def gaussian_control(points: Any, key: Array) -> Array:
    """Points of a Gaussian with the covariance of the given ones: what their linear structure alone would give.

    x = sum over components of s_c g_c e_c, g standard normal, in the coordinates of the components, which changes no
    distance.

    Args:
        points: `[point, feature, ...]`; or their `Spectrum`, not standardized.
        key: a random key.

    Returns:
        As many points `[point, component]`.

    Raises:
        NoDimension: points are not finite or all equal.
        TypeError: points are not floating point.

    Source: Ansuini et al., NeurIPS 2019, section 3.4; their code takes the square root of the singular values for s.
    """
    found = points if isinstance(points, Spectrum) else spectrum(points)
    return _drawn(found, key)


@jax.jit
def _drawn(found: Spectrum, key: Array) -> Array:
    draws = jax.random.normal(key, found.coordinates.shape, found.coordinates.dtype)
    return draws * jnp.sqrt(found.variances)[None]


@jax.jit
def _shares(found: Spectrum) -> tuple[Array, Array]:
    """The share of variance up to each component, and its standard error."""
    share = jnp.cumsum(found.variances) / found.variances.sum()
    projected = jnp.cumsum(jnp.square(found.coordinates), axis=1)
    influences = (projected - share[None] * projected[:, -1:]) / projected[:, -1].sum()
    return share, jnp.sqrt(jnp.square(influences).sum(0))


def _gram(matrix: Array) -> Array:
    return jnp.matmul(matrix, matrix.T, precision=jax.lax.Precision.HIGHEST)


@partial(jax.jit, static_argnames="standardized")
def _spectrum(matrix: Array, *, standardized: bool) -> Spectrum:
    constant = (matrix == matrix[:1]).all(0, keepdims=True)
    # Of equal numbers the mean differs by rounding, which a division by their standard deviation would blow up.
    matrix = jnp.where(constant, 0, matrix - matrix.mean(0, keepdims=True))
    if standardized:
        # First to 1: the squares of very large and very small numbers leave the range of float32.
        matrix = matrix / jnp.where(constant, 1, jnp.abs(matrix).max(0, keepdims=True))
        matrix = matrix / jnp.where(constant, 1, jnp.sqrt(jnp.square(matrix).mean(0, keepdims=True)))
    count, features = matrix.shape
    if features <= count:
        values, vectors = jnp.linalg.eigh(_gram(matrix.T))
        coordinates = jnp.matmul(matrix, vectors, precision=jax.lax.Precision.HIGHEST)
    else:
        values, vectors = jnp.linalg.eigh(_gram(matrix))
        coordinates = vectors * jnp.sqrt(jnp.maximum(values, 0))[None]
    # Rounding makes some of the eigenvalues that are 0 negative.
    return Spectrum(jnp.maximum(values, 0)[::-1] / (count - 1), coordinates[:, ::-1])
