"""What is added to the score, `term(image) -> scalar`: the penalties. Densities stand in experts.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_finite, check_no_list, check_number, dtype_of, is_concrete

Term = Callable[[Array], Array]
"""`term(image) -> scalar`, added to the score: a log density, or a penalty with its sign."""


def l2(weight: Any, *, centre: Any = 0.0) -> Term:
    """The penalty -weight ||x - centre||^2 summed over pixels and channels.

    Args:
        weight: not negative; a traced value for many weights at once.
        centre: one number or an image.

    Raises:
        ValueError: weight is negative, or weight or centre not finite.
        TypeError: weight or centre is no number.

    Source: Simonyan et al. 2014, equation 1; Montavon et al. 2018, section 3.1, with centre their mean image.
    """
    check_weight(weight)
    if jnp.issubdtype(dtype_of(centre, "centre"), jnp.complexfloating):
        raise TypeError(f"centre must be a real number or an image, got {dtype_of(centre, 'centre')}")
    check_no_list(centre, "centre")
    check_finite(centre, "centre")
    return lambda image: -weight * jnp.sum(jnp.square(image - jnp.broadcast_to(jnp.asarray(centre), image.shape)))


def total_variation(weight: Any) -> Term:
    """The penalty -weight sum |x_{i+1,j} - x_{i,j}| + |x_{i,j+1} - x_{i,j}| over all pixels and channels.

    Args:
        weight: not negative.

    Raises:
        ValueError: weight is negative or not finite; when called, the image is not `[height, width, channel]`.

    Source: Mahendran and Vedaldi 2015, section 3, with beta = 1 and the two directions apart.
    """
    check_weight(weight)

    def term(image: Array) -> Array:
        if image.ndim != 3:
            raise ValueError(f"total_variation takes an image [height, width, channel], got shape {image.shape}")
        steps = (jnp.diff(image, axis=axis) for axis in (0, 1))
        # Of equal neighbours the gradient is 0, where jnp.abs has that of its right side.
        return -weight * sum(jnp.sum(jnp.where(step == 0, 0, jnp.abs(step))) for step in steps)

    return term


def check_weight(weight: Any, argument: str = "weight") -> None:
    """Raise ValueError where a weight that can be looked at is negative or not finite."""
    check_number(weight, argument)
    # NumPy: under somebody's jit a comparison by jnp could not be looked at.
    if is_concrete(weight) and not 0 <= np.asarray(weight) < math.inf:
        raise ValueError(f"{argument} must not be negative and be finite, got {weight}")
