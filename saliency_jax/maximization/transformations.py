"""Random transformations, `transform(key, image) -> image`: what survives them is no pattern of single pixels.

What comes from outside of the image is its nearest edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from saliency_jax.checks import check_function, check_integer, check_number
from saliency_jax.keys import numbered

Transform = Callable[[Any, Array], Array]
"""`transform(key, image) -> image`, differentiable in the image `[height, width, channel]`."""


def compose(*transforms: Transform) -> Transform:
    """One after the other, each with a key of its own: `fold_in(key, place)`."""

    for one in transforms:
        check_function(one, "transforms")

    def transform(key: Any, image: Array) -> Array:
        keys = numbered(key, len(transforms))
        for place, one in enumerate(transforms):
            image = one(keys[place], image)
        return image

    return transform


def jitter(pixels: int) -> Transform:
    """A shift by whole pixels, up to `pixels` up or down and left or right.

    Raises:
        ValueError: pixels is under 1.
    """
    check_integer(pixels, "pixels")
    if pixels < 1:
        raise ValueError(f"pixels must be at least 1, got {pixels}")

    def transform(key: Any, image: Array) -> Array:
        shifts = jax.random.randint(key, (2,), -pixels, pixels + 1)
        places = (jnp.arange(size) + shift for size, shift in zip(image.shape, shifts, strict=False))
        return _resampled(image, *places)

    return transform


def scale(low: float, high: float) -> Transform:
    """Enlarged about the middle by a factor between low and high; under 1 the edges fill up what gets free.

    Raises:
        ValueError: not 0 < low <= high.
    """
    check_number(low, "low")
    check_number(high, "high")
    if not 0 < low <= high < math.inf:
        raise ValueError(f"low and high must be factors with 0 < low <= high, got {low} and {high}")

    def transform(key: Any, image: Array) -> Array:
        factor = jax.random.uniform(key, minval=low, maxval=high)
        middles = ((size - 1) / 2 for size in image.shape[:2])
        return _resampled(image, *(m + (jnp.arange(2 * m + 1) - m) / factor for m in middles))

    return transform


def crop(low: float, high: float) -> Transform:
    """A part of the image, its sides a fraction between low and high, anywhere inside, at the size of the whole.

    Raises:
        ValueError: not 0 < low <= high <= 1.
    """
    check_number(low, "low")
    check_number(high, "high")
    if not 0 < low <= high <= 1:
        raise ValueError(f"low and high must be fractions with 0 < low <= high <= 1, got {low} and {high}")

    def transform(key: Any, image: Array) -> Array:
        fraction_key, *place_keys = jax.random.split(key, 3)
        fraction = jax.random.uniform(fraction_key, minval=low, maxval=high)
        spans = [(size - 1) * fraction for size in image.shape[:2]]
        starts = [
            jax.random.uniform(k) * (size - 1 - span)
            for k, size, span in zip(place_keys, image.shape[:2], spans, strict=True)
        ]
        places = (
            start + span * jnp.linspace(0.0, 1.0, size)
            for start, span, size in zip(starts, spans, image.shape[:2], strict=True)
        )
        return _resampled(image, *places)

    return transform


def rotate(degrees: float) -> Transform:
    """A turn about the middle by an angle of up to `degrees` either way.

    Raises:
        ValueError: degrees is not positive.
    """
    check_number(degrees, "degrees")
    if not 0 < degrees < math.inf:
        raise ValueError(f"degrees must be positive, got {degrees}")

    def transform(key: Any, image: Array) -> Array:
        angle = jnp.deg2rad(jax.random.uniform(key, minval=-degrees, maxval=degrees))
        middle_row, middle_column = ((size - 1) / 2 for size in image.shape[:2])
        rows, columns = jnp.meshgrid(*(jnp.arange(size, dtype=jnp.float32) for size in image.shape[:2]), indexing="ij")
        down, right = rows - middle_row, columns - middle_column
        places = [
            middle_row + jnp.cos(angle) * down - jnp.sin(angle) * right,
            middle_column + jnp.sin(angle) * down + jnp.cos(angle) * right,
        ]

        def turn(channel: Array) -> Array:
            return jax.scipy.ndimage.map_coordinates(channel, places, order=1, mode="nearest")

        return jax.vmap(turn, in_axes=-1, out_axes=-1)(image)

    return transform


def noise(deviation: float) -> Transform:
    """Gaussian noise added, of a standard deviation in units of the image.

    Raises:
        ValueError: deviation is not positive.
    """
    check_number(deviation, "deviation")
    if not 0 < deviation < math.inf:
        raise ValueError(f"deviation must be positive, got {deviation}")
    return lambda key, image: image + deviation * jax.random.normal(key, image.shape, image.dtype)


def _resampled(image: Array, rows: Array, columns: Array) -> Array:
    """The image at the crossings of rows and columns, between pixels by linear interpolation.

    Two matrix products: their gradient is two more, where that of a gather would be a scatter.
    """
    down, right = (_weights(places, size) for places, size in zip((rows, columns), image.shape, strict=False))
    return jnp.einsum("ih,hwc,jw->ijc", down, image, right, precision=lax.Precision.HIGHEST)


def _weights(places: Array, size: int) -> Array:
    """What each of `size` pixels counts at each place, `[place, size]`."""
    inside = jnp.clip(places, 0, size - 1)
    return jnp.maximum(1 - jnp.abs(inside[:, None] - jnp.arange(size)[None]), 0)
