"""Balls around an image: lengths by a named norm, points drawn inside a ball, and the way back into it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency_jax.checks import is_concrete

Norm = Literal["l1", "l2", "linf"]
BallNorm = Literal["l2", "linf"]


class Ball(NamedTuple):
    """The points x + d with |d| <= radius whose pixels lie in [low, high]: the numbers of a search, without its norm.

    Attributes:
        radius: the largest length of d, in units of the images.
        low, high: the range of the images; infinite where it is not stated.
        gap: points that are less than this away make no pair, where slopes are measured.
    """

    radius: Any
    low: Any
    high: Any
    gap: Any


def _euclidean(x: Array) -> Array:
    square = jnp.sum(jnp.square(x))
    zero = square == 0
    # The root has no gradient at 0; a maximum that is searched there is to have one, of 0.
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


_LENGTHS: Mapping[str, Callable[[Array], Array]] = {
    # |x| as x sign(x), whose gradient at 0 is 0 and not 1.
    "l1": lambda x: jnp.sum(x * jnp.sign(x)),
    "l2": _euclidean,
    "linf": lambda x: jnp.max(x * jnp.sign(x)),
}


def length(x: Float[Array, ...], norm: Norm) -> Float[Array, ""]:
    """The norm of an array taken as one vector; its gradient at 0 is 0."""
    return _LENGTHS[norm](x)


def draw(key: Any, image: Array, radius: Any, norm: BallNorm) -> Array:
    """A perturbation from the uniform distribution in the ball: by volume in "l2", each pixel by itself in "linf"."""
    if norm == "linf":
        return radius * jax.random.uniform(key, image.shape, image.dtype, -1, 1)
    # The first n coordinates of a point drawn on the unit sphere of n + 2 dimensions are uniform in the ball of n.
    size = math.prod(image.shape)
    normal = jax.random.normal(key, (size + 2,), image.dtype)
    return radius * (normal[:size] / length(normal, "l2")).reshape(image.shape)


def inside(image: Array, point: Array, ball: Ball, norm: BallNorm) -> Array:
    """A point brought back into the ball around the image, and then into the range: the image itself lies in both."""
    difference = point - image
    if norm == "linf":
        difference = jnp.clip(difference, -ball.radius, ball.radius)
    else:
        found = length(difference, "l2")
        difference = difference * jnp.where(found > ball.radius, ball.radius / jnp.where(found == 0, 1, found), 1)
    return jnp.clip(image + difference, ball.low, ball.high)


def ball_of(radius: Any, image_range: tuple[float, float] | None, images: Any) -> Ball:
    """The checked numbers of a ball around each image, without a gap.

    Raises:
        ValueError: the radius is not a positive number, the range is none, or an image lies outside of it.
    """
    check_positive(radius, "radius")
    if image_range is None:
        return Ball(float(radius), -math.inf, math.inf, 0.0)
    if not isinstance(image_range, Sequence) or len(image_range) != 2:
        raise ValueError(f"image_range must be two finite numbers, the lower first, got {image_range!r}")
    low, high = map(float, image_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"image_range must be two finite numbers, the lower first, got {image_range!r}")
    if is_concrete(images):
        values = np.asarray(images)
        least, most = float(values.min()), float(values.max())
        if least < low or most > high:
            raise ValueError(f"images must lie in image_range [{low:g}, {high:g}], found values {least:g} to {most:g}")
    return Ball(float(radius), low, high, 0.0)


def with_gap(ball: Ball, gap: Any) -> Ball:
    """The ball with a checked gap: a hundredth of the radius where it is None.

    Raises:
        ValueError: the gap is not a positive number, or larger than the radius.
    """
    if gap is None:
        return ball._replace(gap=0.01 * ball.radius)
    check_positive(gap, "gap")
    if gap > ball.radius:
        raise ValueError(f"gap must be at most the radius {ball.radius:g}, got {gap!r}")
    return ball._replace(gap=float(gap))


def check_positive(value: Any, argument: str) -> None:
    """Raise ValueError unless a value is one positive number that float32 can hold."""
    number = isinstance(value, (int, float, np.number, np.ndarray, Array)) and not isinstance(value, bool)
    if not number or np.ndim(value) != 0 or not 0 < value <= float(np.finfo(np.float32).max):
        raise ValueError(f"{argument} must be one positive number, got {value!r}")


def check_count(value: Any, argument: str, least: int) -> None:
    """Raise ValueError unless a value is an integer of at least `least`; one past 32 bits is refused as well."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value < 2**31:
        raise ValueError(f"{argument} must be an integer of at least {least}, got {value!r}")


def check_norm(norm: Any, argument: str, known: tuple[str, ...]) -> None:
    """Raise ValueError unless a norm is one of those that are known there."""
    if norm not in known:
        raise ValueError(f"{argument} must be one of {list(known)}, got {norm!r}")
