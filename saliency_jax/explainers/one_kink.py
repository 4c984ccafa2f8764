"""The average gradient on a straight path of a score that bends at most once between two neighbouring points."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_integer
from saliency_jax.explainers.chunks import fold_chunks
from saliency_jax.tracing.acceleration import accelerated_value_and_gradient
from saliency_jax.typing import Image, Map, Score

ONE_KINK = "one_kink"
"""The name of this rule among those of `integrated_gradients`."""


class Point(NamedTuple):
    """What is known at points of the path: each `[...]`, the gradients `[..., *image]`."""

    place: Array
    value: Array
    slope: Array
    gradient: Array


def average_with_one_kink(
    score: Score, start: Image, difference: Map, steps: int, *, at_once: int | None = None
) -> Map:
    """The gradient's average from `start` to `start + difference`, its weights found from the score's own values.

    On the path the score is F(a) = f(x0 + a d) with the slope F'(a) = df/dx . d. Between two neighbouring points a and
    b it may have the slope F'(a) up to one kink t and F'(b) after it; then F(b) - F(a) = (t - a) F'(a) + (b - t) F'(b)
    gives t, and the integral of the gradient from a to b is (t - a) df/dx(a) + (b - t) df/dx(b). So the average has
    the sum over the path that completeness asks for, wherever t lies between a and b; elsewhere t is the nearer end.
    Where the slopes are equal it is the middle, as in the trapezoid rule. Exact for a network of ReLUs of whose kinks
    no two share a step, and for a quadratic score; of a smooth score the error falls about as the square of a step.

    Args:
        score: `score(image) -> scalar`.
        start: the baseline x0, shaped like the image.
        difference: d, the image less its baseline.
        steps: the number of points, the two ends among them.
        at_once: how many points are computed together.

    Returns:
        The average gradient, shaped like the image.

    Raises:
        ValueError: steps is under 2.
        TypeError: steps is no integer.
    """
    check_integer(steps, "steps")
    if steps < 2:
        raise ValueError(f"steps must be at least 2 for rule {ONE_KINK!r}, which needs both ends, got {steps}")
    places = jnp.linspace(0, 1, steps, dtype=difference.dtype)
    value_and_gradient = accelerated_value_and_gradient(score)

    def point_at(place: Array) -> Point:
        value, gradient = value_and_gradient(start + place * difference)
        return Point(place, value.astype(place.dtype), jnp.sum(gradient * difference), gradient)

    def add_chunk(carry: tuple[Map, Point], indices: Array, valid: Array) -> tuple[Map, Point]:
        # Past the last point the chunk repeats it, which makes intervals of no width: `valid` need not be asked.
        total, last = carry
        points = jax.vmap(point_at)(places[indices])
        points = jax.tree.map(lambda one, others: jnp.concatenate([one[None], others]), last, points)
        total = total + jnp.tensordot(_weights(points), points.gradient, axes=1, precision="highest")
        return total, jax.tree.map(lambda x: x[-1], points)

    # The point before the first one stands at the same place, so that the interval between them has no width.
    nothing = jnp.zeros((), difference.dtype)
    before_first = Point(nothing, nothing, nothing, jnp.zeros_like(difference))
    average, _ = fold_chunks(add_chunk, (jnp.zeros_like(difference), before_first), steps, at_once=at_once)
    return average


def _weights(points: Point) -> Array:
    """Of each point, how much of the path has its gradient."""
    width, rise = jnp.diff(points.place), jnp.diff(points.value)
    first, last = points.slope[:-1], points.slope[1:]
    bend = width * (first - last)
    share = (rise - width * last) / jnp.where(bend == 0, 1, bend)
    before = width * jnp.where(bend == 0, 0.5, jnp.clip(share, 0, 1))
    return jnp.pad(before, (0, 1)) + jnp.pad(width - before, (1, 0))
