"""MACO: the phase of every frequency is free, its magnitude is that of the user's own images."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_floating, check_images, is_concrete
from saliency_jax.maximization.parameterizations import Parameterization, Shape, check_spatial, half_spectrum


def mean_magnitude(images: Any) -> np.ndarray:
    """The mean magnitude of each frequency over images: r = mean_i |rfft2(x_i)|.

    Args:
        images: `[n, height, width, channel]`, the user's own; without their colours' correlation (`decorrelated`) where
            the maximum is `recoloured`.

    Returns:
        `[height, width // 2 + 1, channel]`, float32.

    Raises:
        TypeError: images are not floating point.
        ValueError: images are no batch, not finite, or of unknown values.

    Source: Fel et al. 2023, section 3.
    """
    check_images(images)
    if not is_concrete(images):
        raise ValueError("images must be values that are known: measure magnitudes outside of jit and vmap")
    total = sum(np.abs(np.fft.rfft2(np.asarray(image, np.float64), axes=(0, 1))) for image in images)
    return (np.asarray(total) / len(images)).astype(np.float32)


def maco(magnitude: Any) -> Parameterization:
    """Images of fixed Fourier magnitudes: x = irfft2(r exp(i phase)), the phase being what is climbed in.

    r is the magnitude without its constant part, scaled so that x has mean 0 in every channel and deviation 1 over all:
    whatever the phase, |rfft2(x)| = r. In the columns that are their own mirror image (0, and width / 2 of an even
    width) the phases of f and -f are one, so that this holds there too. `bounded` brings x into a model's range.

    Args:
        magnitude: `[height, width // 2 + 1, channel]`, as `mean_magnitude` gives it.

    Returns:
        A parameterization; begun with an image it keeps the image's phase and not its magnitude.

    Raises:
        ValueError: the magnitude has not three axes, is negative, not finite, or 0 but for its constant part; when
            used, the image's shape is not the magnitude's.

    Source: Fel et al. 2023, "Unlocking feature visualization for deeper networks with magnitude constrained
    optimization", section 3.
    """
    check_floating(magnitude, "magnitude")
    magnitude = np.asarray(magnitude, np.float64)
    if magnitude.ndim != 3 or magnitude.size == 0:
        raise ValueError(f"magnitude must be [height, width // 2 + 1, channel], got shape {magnitude.shape}")
    if not np.all(np.isfinite(magnitude) & (magnitude >= 0)):
        raise ValueError(f"magnitude must be finite and not negative, found {magnitude.min()} to {magnitude.max()}")
    varying = magnitude.copy()
    varying[0, 0] = 0
    if not varying.any():
        raise ValueError("magnitude must be above 0 for some frequency, found 0 for all but the constant one")

    def scaled(shape: Shape) -> Array:
        _check_fit(shape, magnitude.shape)
        return jnp.asarray(varying / _deviation(varying, shape), jnp.float32)

    def init(key: Any, shape: Shape) -> Array:
        _check_fit(shape, magnitude.shape)
        return jax.random.uniform(key, magnitude.shape, minval=-math.pi, maxval=math.pi)

    def image(phase: Array, shape: Shape) -> Array:
        radius, angle = scaled(shape), _mirrored(phase, shape[1])
        spectrum = jax.lax.complex(radius * jnp.cos(angle), radius * jnp.sin(angle))
        return jnp.fft.irfft2(spectrum, s=shape[:2], axes=(0, 1))

    def code(image: Array) -> Array:
        _check_fit(image.shape, magnitude.shape)
        return jnp.angle(jnp.fft.rfft2(image, axes=(0, 1)))

    return Parameterization(init, image, code)


def _deviation(magnitude: np.ndarray, shape: Shape) -> float:
    """The root of the mean square of an image with these magnitudes, by Parseval."""
    twice = np.full(magnitude.shape[1], 2.0)
    twice[[0, -1] if shape[1] % 2 == 0 else [0]] = 1
    squares = np.sum(twice[:, None] * np.square(magnitude)) / magnitude.shape[2]
    return float(math.sqrt(squares) / (shape[0] * shape[1]))


def _mirrored(phase: Array, width: int) -> Array:
    """The phase of a real image: in the columns that mirror themselves phase(-f) = -phase(f), and 0 or pi at f = -f."""
    height = phase.shape[0]
    mirror = -np.arange(height) % height
    own = (mirror == np.arange(height))[:, None]
    for column in {0, width // 2} if width % 2 == 0 else {0}:
        angle = phase[:, column]
        signed = jnp.where(jnp.cos(angle) < 0, math.pi, 0.0)
        phase = phase.at[:, column].set(jnp.where(own, signed, (angle - angle[mirror]) / 2))
    return phase


def _check_fit(shape: Shape, magnitude: Shape) -> None:
    check_spatial(shape)
    if half_spectrum(shape) != magnitude:
        raise ValueError(f"magnitude for images {tuple(shape)} must be {half_spectrum(shape)}, got {magnitude}")
