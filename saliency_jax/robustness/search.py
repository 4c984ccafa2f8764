"""Searches for the point of a ball where something is largest: draws, gradient ascent, points across a kink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.keys import named
from saliency_jax.robustness.balls import Ball, BallNorm, Norm, check_count, check_norm, draw, inside, length
from saliency_jax.robustness.kinks import Kinks, in_range, nearest_kinks
from saliency_jax.robustness.measurement import best_in_chunks
from saliency_jax.tracing import canonical_convolutions
from saliency_jax.typing import Score

SEARCHES = ("samples", "kinks", "ascent")
PAST_THE_KINK = 0.02
"""How far past a kink its other side is taken, as a share of the way to it; the gap is the least way."""
FIRST_STEP = 0.5
"""The first step of the ascent, as a share of the distance from the image."""

Objective = Callable[[Array], Array]
"""`objective(point) -> scalar`: -inf where the point makes no pair with the image, NaN where a map is NaN."""


class Search(NamedTuple):
    """How a ball is searched.

    Attributes:
        samples: points drawn uniformly in the ball.
        kinks: points across the nearest kinks; 0 for none.
        ascent: steps of gradient ascent from the best of all these; 0 for none.
        norm: of the ball.
        gap_norm: what the ball's gap is measured by.
    """

    samples: int
    kinks: int
    ascent: int
    norm: BallNorm
    gap_norm: Norm = "l2"


def check_search(samples: int, kinks: int, ascent: int, norm: BallNorm) -> Search:
    """The options of a search, checked.

    Raises:
        ValueError: a number is none of its kind, or the ball's norm is unknown.
    """
    check_count(samples, "samples", 1)
    check_count(kinks, "kinks", 0)
    check_count(ascent, "ascent", 0)
    check_norm(norm, "norm", ("l2", "linf"))
    return Search(int(samples), int(kinks), int(ascent), norm)


def largest(objective: Objective, score: Score, image: Array, key: Any, search: Search, ball: Ball) -> Array:
    """The largest value that each search finds, `[samples, kinks, ascent]`: -inf where it finds no point.

    Every one is a lower bound of the maximum over the ball; NaN where any point's value is NaN.
    """
    nothing = jnp.full((), -jnp.inf, image.dtype)
    kinks = kinks_in_range(score, image, key, search, ball) if search.kinks else None

    def point(i: Array) -> tuple[Array, Array]:
        drawn = sample(image, key, i, search.norm, ball)
        if kinks is None or not len(kinks.distances):
            return drawn, jnp.ones((), bool)
        crossed, reached = across(kinks, image, jnp.maximum(i - search.samples, 0), search, ball)
        return jnp.where(i < search.samples, drawn, crossed), (i < search.samples) | reached

    def value(i: Array) -> tuple[Array, Array]:
        found, reached = point(i)
        return jnp.where(reached, objective(found), -jnp.inf), found

    # Draws and kinks in one list: the explainer stands in the program once for both.
    values, start = best_in_chunks(value, search.samples + (0 if kinks is None else len(kinks.distances)))
    found = [values[: search.samples].max(), jnp.max(values[search.samples :], initial=-jnp.inf)]
    found.append(climb(objective, image, start, search, ball) if search.ascent else nothing)
    return jnp.stack(found)


def sample(image: Array, key: Any, i: Array, norm: BallNorm, ball: Ball) -> Array:
    """The i-th point that is drawn in the ball around an image: from `fold_in(key, i)` alone."""
    return inside(image, image + draw(jax.random.fold_in(key, i), image, ball.radius, norm), ball, norm)


def kinks_in_range(score: Score, image: Array, key: Any, search: Search, ball: Ball) -> Kinks:
    """The nearest kinks by ways that stay in the range of the images."""
    return in_range(nearest_kinks(score, image, named(key, "kinks"), search.kinks), image, ball.low, ball.high)


def across(kinks: Kinks, image: Array, i: Array, search: Search, ball: Ball) -> tuple[Array, Array]:
    """The point just across the i-th kink and no nearer than the gap, and whether it lies in the ball."""
    distance, normal = kinks.distances[i], kinks.normals[i]
    known = jnp.isfinite(distance)
    # A way of length 1 is one of another length by the gap's norm: a kink near the image would make no pair there.
    gap = ball.gap / jnp.where(known, length(normal, search.gap_norm), 1)
    step = jnp.where(known, jnp.maximum((1 + PAST_THE_KINK) * distance, gap), 0) * normal
    return inside(image, image + step, ball, search.norm), known & (length(step, search.norm) <= ball.radius)


def climb(objective: Objective, image: Array, start: Array, search: Search, ball: Ball) -> Array:
    """The largest value on the way of a gradient ascent inside the ball.

    A step that does not improve is taken back and halved. Where the gradient is 0 or not finite there is no step.
    """
    value_and_gradient = canonical_convolutions(jax.value_and_grad(objective))

    def step(state: tuple, _: None) -> tuple[tuple, None]:
        point, value, gradient, share = state
        gradient = jnp.where(jnp.isfinite(gradient), gradient, 0)
        size = share * length(point - image, search.norm)
        if search.norm == "linf":
            way = size * jnp.sign(gradient)
        else:
            steep = length(gradient, "l2")
            way = size * gradient / jnp.where(steep == 0, 1, steep)
        candidate = inside(image, point + way, ball, search.norm)
        reached, slope = value_and_gradient(candidate)
        better = reached > value
        taken = better | jnp.isnan(reached)
        state = (
            jnp.where(better, candidate, point),
            jnp.where(taken, reached, value),
            jnp.where(better, slope, gradient),
            jnp.where(better, share, share / 2),
        )
        return state, None

    # The first turn takes the start itself, from nothing: so the objective stands in the program once.
    first = (start, jnp.full((), -jnp.inf, image.dtype), jnp.zeros_like(start), jnp.asarray(FIRST_STEP, image.dtype))
    (_, value, _, _), _ = jax.lax.scan(step, first, None, length=search.ascent + 1)
    return value


def found_by(largest: np.ndarray, name: str) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """The variables of one explainer from what each search found, `[image, search]`: -inf where it found no point."""
    best = largest.max(axis=1)
    return {
        name: (("image",), np.where(np.isneginf(best), np.nan, best)),
        "by_search": (("search", "image"), np.where(np.isneginf(largest), np.nan, largest).T),
    }
