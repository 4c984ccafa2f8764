"""What is added to the score, `term(image) -> scalar`: the penalties. Densities stand in experts.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_finite_number

Term = Callable[[Array], Array]
"""`term(image) -> scalar`, added to the score: a log density, or a penalty with its sign."""


def l2(weight: Any, *, centre: Any = 0.0) -> Term:
    """The penalty -weight ||x - centre||^2 summed over pixels and channels.

    Args:
        weight: not negative; a traced value for many weights at once.
        centre: one number or an image.

    Raises:
        ValueError: weight is negative or not finite.

    Source: Simonyan et al. 2014, equation 1; Montavon et al. 2018, section 3.1, with centre their mean image.
    """
    check_weight(weight)
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
    """Raise ValueError where a weight that is a plain number is negative or not finite."""
    if isinstance(weight, int | float) and not 0 <= weight < math.inf:
        raise ValueError(f"{argument} must not be negative and be finite, got {weight}")
    check_finite_number(weight, argument)
