"""Colours as they occur together in the user's own images, and images without that correlation."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_floating, check_images, is_concrete

SMALLEST_SHARE = 1e-6
"""Of the largest variance: a direction of colour with less is not there."""


def colour_matrix(images: Any) -> np.ndarray:
    """M with M M^T proportional to the covariance of the channels over all pixels: x = M u has its colours.

    The columns are the principal directions of colour, from the strongest, each as long as the deviation along it in
    units of the largest: the first has length 1. Its largest entry is positive.

    Args:
        images: `[n, height, width, channel]`, the user's own, in the values that the model takes.

    Returns:
        `[channel, channel]`, float32; [[1]] for one channel.

    Raises:
        TypeError: images are not floating point.
        ValueError: images are no batch, not finite, or do not vary along some direction of colour (grey images in
            three channels, say).

    Source: Olah, Mordvintsev and Schubert 2017, "Feature visualization", preconditioning.
    """
    check_images(images)
    if not is_concrete(images):
        raise ValueError("images must be values that are known: measure colours outside of jit and vmap")
    pixels = np.asarray(images, np.float64).reshape(-1, np.shape(images)[-1])
    variances, directions = np.linalg.eigh(np.atleast_2d(np.cov(pixels, rowvar=False, bias=True)))
    variances, directions = variances[::-1], directions[:, ::-1]
    there = int(np.sum(variances > SMALLEST_SHARE * variances[0])) if variances[0] > 0 else 0
    if there < len(variances):
        raise ValueError(
            f"images must vary along every direction of colour, found {there} of {len(variances)}: grey images in "
            f"several channels have one"
        )
    largest = directions[np.argmax(np.abs(directions), axis=0), np.arange(len(variances))]
    return (directions * np.sign(largest) * np.sqrt(variances / variances[0])).astype(np.float32)


def decorrelated(images: Any, matrix: Any) -> Array:
    """The u with x = M u at every pixel: channels without correlation, of one variance.

    Args:
        images: `[..., channel]`.
        matrix: `[channel, channel]`, as `colour_matrix` gives it.

    Returns:
        Shaped like the images.

    Raises:
        TypeError: images or matrix are not floating point.
        ValueError: the matrix does not fit the channels or has no inverse.
    """
    check_floating(images, "images")
    check_matrix(matrix)
    check_channels(jnp.shape(images), matrix)
    return _times(jnp.asarray(images), np.linalg.inv(np.asarray(matrix, np.float64)))


def recolour(images: Array, matrix: Any) -> Array:
    """x = M u at every pixel."""
    check_channels(images.shape, matrix)
    return _times(images, np.asarray(matrix))


def check_matrix(matrix: Any) -> None:
    """Raise ValueError unless this is a square matrix of known values that has an inverse, TypeError for no numbers."""
    check_floating(np.asarray(matrix) if isinstance(matrix, list | tuple) else matrix, "matrix")
    shape = np.shape(matrix)
    if len(shape) != 2 or shape[0] != shape[1] or not is_concrete(matrix):
        raise ValueError(f"matrix must be [channel, channel] of known values, got shape {shape}")
    if not np.all(np.isfinite(matrix)) or np.linalg.matrix_rank(np.asarray(matrix, np.float64)) < shape[0]:
        raise ValueError(f"matrix must be finite and have an inverse, got {np.asarray(matrix).tolist()}")


def check_channels(shape: tuple[int, ...], matrix: Any) -> None:
    """Raise ValueError unless an image's last axis is that of the matrix."""
    if not shape or shape[-1] != np.shape(matrix)[0]:
        raise ValueError(f"matrix is for {np.shape(matrix)[0]} channels, got images of shape {tuple(shape)}")


def _times(images: Array, matrix: np.ndarray) -> Array:
    # Products of three numbers: written out they are exact in the images' own precision on every device.
    columns = jnp.asarray(matrix, images.dtype)
    parts = [images[..., i : i + 1] * jnp.broadcast_to(columns[:, i], images.shape) for i in range(len(matrix))]
    return jnp.sum(jnp.stack(parts), axis=0)
