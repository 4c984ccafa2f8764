"""What stands where a part of an image is missing."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike

from saliency_jax.checks import check_finite


def broadcast_fill(fill: ArrayLike, images: Array) -> Array:
    """A number, one for each channel, one image or an image for each, as an array like the images.

    Raises:
        ValueError: it is not finite, or of another shape.
    """
    check_finite(fill, "fill")
    shape = jnp.shape(fill)
    if shape not in ((), images.shape[-1:], images.shape[1:], images.shape):
        raise ValueError(
            f"fill must be a number, one for each channel, an image {images.shape[1:]} or as many as the images "
            f"{images.shape}, got shape {shape}"
        )
    fill = jnp.asarray(fill, images.dtype)
    return jnp.broadcast_to(fill.reshape((1,) * (images.ndim - fill.ndim) + fill.shape), images.shape)
