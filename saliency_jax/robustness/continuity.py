"""Explanation continuity: how fast a map can change at most between two images that are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jaxtyping import ArrayLike

from saliency_jax.robustness.balls import Ball, ball_of, inside, with_gap
from saliency_jax.robustness.fills import broadcast_fill
from saliency_jax.robustness.lipschitz import slope_between
from saliency_jax.robustness.measurement import (
    Scaling,
    best_in_chunks,
    hashable,
    in_chunks,
    map_of,
    measured,
    over_explainers,
    subject,
)
from saliency_jax.robustness.points import POINTS, check_moves
from saliency_jax.robustness.search import Search, check_search, climb, found_by, kinks_in_range, sample
from saliency_jax.scores import Kind
from saliency_jax.typing import Apply, Explainer, Images, Params, Score

PAIRS = ("translations", "samples", "kinks", "ascent")
NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))
"""One pixel right, left, down and up."""

Shift = tuple[int, int]


class _Settings(NamedTuple):
    search: Search
    translations: tuple[Shift, ...]
    scaling: Scaling | None


class _Numbers(NamedTuple):
    ball: Ball
    fill: Any


def continuity(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    radius: float,
    gap: float | None = None,
    translations: Sequence[Shift] = NEIGHBOURS,
    fill: ArrayLike = 0.0,
    samples: int = 50,
    kinks: int = 8,
    ascent: int = 20,
    image_range: tuple[float, float] | None = None,
    scaling: Scaling | None = None,
    kind: Kind = "logit",
    batch_size: int | None = None,
) -> xr.Dataset:
    """The explanation continuity constant of every explainer, searched for at every image: a lower bound.

    C = max_{|x - x'|_2 >= gap} |R(x) - R(x')|_1 / |x - x'|_2

    The maximum over a set of images is the maximum of what is returned. Four kinds of pairs are searched: each image
    and its translations; each image and points drawn uniformly in the Euclidean ball around it; pairs `gap` apart that
    straddle the nearest kinks of the network's ReLUs, on the line across the kink; the image and what gradient ascent
    finds from the best translation or point drawn, inside the ball. Each gives a lower bound of the constant.

    The paper has no gap. But a map that jumps has no finite constant: what is found for pairs across its jump is the
    jump over their distance, and grows tenfold where the gap is made ten times smaller. Measure with two gaps to tell a
    jump from a steep slope. A gap under some thousand roundings of the pixels' dtype measures the rounding.

    Args:
        apply, params, images, targets, explainers, key: as in `lipschitz_estimate`.
        radius: of the Euclidean ball around each image in which pairs are searched, in units of the images.
        gap: the least distance of a pair, and the distance of those that straddle a kink; a hundredth of the radius
            where None.
        translations: shifts (down, right) in pixels; what leaves the frame is lost.
        fill: what enters the frame of a translated image, as `selectivity` takes it: a number, one for each channel, or
            an array like the images.
        samples: points drawn for each image.
        kinks: nearest kinks; 0 for none.
        ascent: steps of gradient ascent; 0 for none.
        image_range, scaling, kind, batch_size: as in `lipschitz_estimate`.

    Returns:
        A Dataset with `continuity` (explainer, image), in units of the map per unit of the image, the largest of
        `by_search` (explainer, search, image) for the searches "translations", "samples", "kinks" and "ascent". NaN
        where a map on the way was NaN, and in `by_search` also where a search found no pair of different images.

    Raises:
        ValueError: an argument is wrong, named with the rule and the value; or the score does not depend on the image.
        TypeError: images are not floating point, targets not integers.

    Source: Montavon, Samek and Mueller 2018, section 7.1. Kinks and ascent are not theirs.

    Cost: for each image and explainer translations + samples + 2 kinks + 2 ascent explanations, and kinks gradients.
    """
    measure = "continuity"
    of = subject(apply, params, images, targets, explainers, measure=measure, key=key, kind=kind, batch_size=batch_size)
    ball, search = with_gap(ball_of(radius, image_range, of.images), gap), check_search(samples, kinks, ascent, "l2")
    shifts = _checked_shifts(translations, of.images.shape)
    check_moves(of, search, ball)
    settings = _Settings(search, shifts, hashable(scaling))
    numbers = _Numbers(ball, broadcast_fill(fill, of.images))
    parts = {
        name: found_by(measured(_constants, explain, settings, numbers, of, draws=POINTS)["largest"], measure)
        for name, explain in of.explainers.items()
    }
    coords = {"search": list(PAIRS), "image": range(len(of.images))}
    return over_explainers(parts, coords, {"measure": measure, "radius": ball.radius, "gap": ball.gap})


def _constants(explain: Explainer, score: Score, image: Array, keys: Any, settings: _Settings, numbers: Any) -> Any:
    mapped = partial(map_of, explain, score, key=keys[0], scaling=settings.scaling)
    reference, ball, search = mapped(image), numbers.ball, settings.search

    def slope(point: Array) -> Array:
        return slope_between(mapped(point) - reference, point - image, "l1", "l2", ball.gap)

    shifts = len(settings.translations)
    shifted = [translated(image, shift, numbers.fill) for shift in settings.translations]

    def point(i: Array) -> Array:
        drawn = sample(image, keys[1], jnp.maximum(i - shifts, 0), "l2", ball)
        return jnp.where(i < shifts, jnp.stack(shifted)[jnp.minimum(i, shifts - 1)], drawn) if shifts else drawn

    # Translations and draws in one list: the explainer stands in the program once for both.
    values, start = best_in_chunks(lambda i: (slope(point(i)), point(i)), shifts + search.samples)
    nothing = jnp.full((), -jnp.inf, image.dtype)
    found = [
        jnp.max(values[:shifts], initial=-jnp.inf),
        jnp.max(values[shifts:]),
        _across_kinks(mapped, score, image, keys[1], search, ball) if search.kinks else nothing,
        climb(slope, image, inside(image, start, ball, "l2"), search, ball) if search.ascent else nothing,
    ]
    return {"largest": jnp.stack(found)}


def translated(image: Array, shift: Shift, fill: Array) -> Array:
    """An image moved so many pixels down and right; what enters the frame is the fill that stands there."""
    moved = image
    for axis, pixels in enumerate(shift):
        places = jnp.arange(image.shape[axis]) - pixels
        entered = (places < 0) | (places >= image.shape[axis])
        entered = entered.reshape(tuple(-1 if i == axis else 1 for i in range(image.ndim)))
        moved = jnp.where(entered, fill, jnp.roll(moved, pixels, axis))
    return moved


def _across_kinks(mapped: Any, score: Score, image: Array, key: Any, search: Search, ball: Ball) -> Array:
    """The steepest of pairs that straddle the nearest kinks inside the ball."""
    kinks = kinks_in_range(score, image, key, search, ball)
    if not len(kinks.distances):
        return jnp.full((), -jnp.inf, image.dtype)

    def slope(i: Array) -> Array:
        distance, normal = kinks.distances[i], kinks.normals[i]
        # Where the kink is nearer than half the gap the pair starts at the image.
        first = jnp.maximum(jnp.where(jnp.isfinite(distance), distance, 0) - ball.gap / 2, 0)
        ends = jnp.stack([inside(image, image + way * normal, ball, "l2") for way in (first, first + ball.gap)])
        near, far = jax.vmap(mapped)(ends)
        reached = jnp.isfinite(distance) & (first + ball.gap <= ball.radius)
        return jnp.where(reached, slope_between(far - near, ends[1] - ends[0], "l1", "l2", ball.gap), -jnp.inf)

    return jnp.max(in_chunks(slope, len(kinks.distances)))


def _checked_shifts(translations: Sequence[Shift], shape: tuple[int, ...]) -> tuple[Shift, ...]:
    """Translations as integers, each of which leaves a part of the image in the frame and moves it.

    Raises:
        TypeError: they are no sequence.
        ValueError: one is none of these.
    """
    if not isinstance(translations, Sequence | np.ndarray):
        raise TypeError(f"translations must be a sequence of pairs (down, right), got {translations!r}")
    shifts = []
    for shift in translations:
        pixels = np.asarray(shift)
        if pixels.shape != (2,) or pixels.dtype.kind not in "iuf" or not np.array_equal(pixels, np.trunc(pixels)):
            raise ValueError(f"translations must be pairs of whole pixels (down, right), got {shift!r}")
        down, right = map(float, pixels)
        if (down, right) == (0, 0) or abs(down) >= shape[1] or abs(right) >= shape[2]:
            raise ValueError(
                f"translations must move an image of {shape[1]} x {shape[2]} pixels and leave a part of it in the "
                f"frame, got {shift!r}"
            )
        shifts.append((int(down), int(right)))
    return tuple(shifts)
