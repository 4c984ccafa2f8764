"""Maps that do not look at the model: what an explainer must differ from before it is believed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from saliency_jax.checks import check_image, check_key
from saliency_jax.typing import Image, Map, Score


def edges(score: Score, image: Image, key: Any = None) -> Map:
    """The strength of the image's edges, channel by channel: the Sobel gradient's magnitude.

    R = sqrt((S_y * x)^2 + (S_x * x)^2), S the 3x3 Sobel kernels with weights 1, 2, 1 over 4, the border repeated.

    Args:
        score: not looked at.
        image: `[height, width, channel]` or `[height, width]`.
        key: not used.

    Returns:
        A map shaped like the image, in units of the image, not negative.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the image has not 2 or 3 axes, or is not finite.

    Source: the control of Adebayo et al. 2018, figures 1 and 37, which do not name their detector.
    """
    check_image(image)
    image = jnp.asarray(image)
    if image.ndim not in (2, 3):
        raise ValueError(f"image must be [height, width] or [height, width, channel], got shape {image.shape}")
    down, across = (_sobel(image, axis) for axis in (0, 1))
    return jnp.sqrt(jnp.square(down) + jnp.square(across))


def noise(score: Score, image: Image, key: Any = None) -> Map:
    """Independent standard normal values: a map that looks at nothing. It needs a key."""
    check_image(image)
    check_key(key, "noise")
    return jax.random.normal(key, jnp.shape(image), jnp.result_type(image))


def constant(score: Score, image: Image, key: Any = None) -> Map:
    """Ones: a map without any structure, whose rank correlations are not defined."""
    check_image(image)
    return jnp.ones_like(image)


def _sobel(image: Array, axis: int) -> Array:
    """Difference along one axis, smoothed along the other: (-1, 0, 1) by (1, 2, 1) / 4."""
    padded = jnp.pad(image, [(1, 1), (1, 1)] + [(0, 0)] * (image.ndim - 2), mode="edge")
    across = 1 - axis

    def part(x: Array, along: int, start: int) -> Array:
        return lax.slice_in_dim(x, start, start + image.shape[along], axis=along)

    difference = part(padded, axis, 2) - part(padded, axis, 0)
    return (part(difference, across, 0) + 2 * part(difference, across, 1) + part(difference, across, 2)) / 4
