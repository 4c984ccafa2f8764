"""The point that stands for "nothing": a number, or an image."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike

from saliency_jax.checks import check_finite


def broadcast_baseline(baseline: ArrayLike, image: Array, argument: str = "baseline") -> Array:
    """A baseline, a number or an array, shaped like the image and of its dtype.

    Raises:
        ValueError: it is not finite, or of another shape.
    """
    check_finite(baseline, argument)
    shape = jnp.shape(baseline)
    if shape not in ((), image.shape):
        raise ValueError(f"{argument} must be a number or shaped like the image {image.shape}, got shape {shape}")
    return jnp.broadcast_to(jnp.asarray(baseline, image.dtype), image.shape)
