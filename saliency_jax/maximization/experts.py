"""Experts: densities fitted to the user's own images, which pull the maximum towards what images look like."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from saliency_jax.checks import check_finite, check_floating, is_concrete
from saliency_jax.maximization.terms import Term, check_weight


def gaussian_expert(images: Any, *, noise: float, weight: Any = 1.0) -> Term:
    """The log density of a Gaussian with the images' mean m and covariance S, up to a constant.

    term(x) = -weight / 2 (x - m)^T (S + noise^2 I)^{-1} (x - m)

    Args:
        images: `[n, ...]`, at least two, floating point; all their pixels and channels are the dimensions.
        noise: standard deviation that is added in every direction, in units of the images: what makes pixels that never
            vary possible.
        weight: of the term beside the score.

    Returns:
        `term(image) -> scalar`.

    Raises:
        TypeError: images are not floating point.
        ValueError: fewer than two images, images not finite, noise not positive, weight negative; when called, an
            image of another shape.

    Source: Montavon et al. 2018, section 3.2, with a Gaussian as the density.

    Cost: one singular value decomposition of `[n, pixels]`; then n x pixels products for each image.
    """
    check_weight(weight)
    _check(images, noise, "noise")
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    mean = flat.mean(axis=0)
    _, singular, directions = np.linalg.svd((flat - mean) / math.sqrt(len(flat)), full_matrices=False)
    variances = np.square(singular)
    # (S + s^2 I)^{-1} = (I - V diag(v / (v + s^2)) V^T) / s^2, without a matrix of pixels by pixels.
    explained = jnp.asarray(variances / (variances + noise**2), jnp.float32)
    shape, centre, axes = images.shape[1:], jnp.asarray(mean, jnp.float32), jnp.asarray(directions, jnp.float32)

    def term(image: Array) -> Array:
        _check_shape(image, shape)
        away = image.reshape(-1) - centre
        along = jnp.matmul(axes, away, precision=lax.Precision.HIGHEST)
        return -weight / (2 * noise**2) * (jnp.sum(away**2) - jnp.sum(explained * along**2))

    return term


def kernel_density_expert(images: Any, *, bandwidth: float, weight: Any = 1.0) -> Term:
    """The log of a mixture of Gaussians, one around every image, up to a constant.

    term(x) = weight log mean_i exp(-||x - x_i||^2 / (2 bandwidth^2))

    Args:
        images: `[n, ...]`, at least two, floating point.
        bandwidth: standard deviation of each Gaussian, in units of the images.
        weight: of the term beside the score.

    Returns:
        `term(image) -> scalar`.

    Raises:
        TypeError, ValueError: as `gaussian_expert`, of bandwidth.

    Source: Montavon et al. 2018, section 3.2, with Parzen's estimate as the density.

    Cost: n x pixels for each image.
    """
    check_weight(weight)
    _check(images, bandwidth, "bandwidth")
    shape, flat = images.shape[1:], jnp.asarray(images).reshape(len(images), -1)

    def term(image: Array) -> Array:
        _check_shape(image, shape)
        squared = jnp.sum(jnp.square(image.reshape(1, -1) - flat), axis=1)
        return weight * (jax.nn.logsumexp(-squared / (2 * bandwidth**2)) - math.log(len(flat)))

    return term


def _check(images: Any, deviation: float, argument: str) -> None:
    check_floating(images, "images")
    if not is_concrete(images) or np.ndim(images) < 2 or len(images) < 2 or 0 in np.shape(images):
        raise ValueError(f"images must be at least two whose values are known, got shape {np.shape(images)}")
    check_finite(images, "images")
    if isinstance(deviation, bool) or not isinstance(deviation, int | float | np.number):
        raise TypeError(f"{argument} must be one real number, got {deviation!r}")
    if not 0 < deviation < float(np.finfo(np.float32).max) ** 0.5:
        raise ValueError(f"{argument} must be positive and finite, got {deviation}")


def _check_shape(image: Array, shape: tuple[int, ...]) -> None:
    if image.shape != shape:
        raise ValueError(f"the expert was fitted to images of shape {shape}, got one of shape {image.shape}")
