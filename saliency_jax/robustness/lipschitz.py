"""The local Lipschitz estimate: how much faster a map can change than its image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import xarray as xr
from jax import Array

from saliency_jax.robustness.balls import BallNorm, Norm, ball_of, check_norm, length, with_gap
from saliency_jax.robustness.measurement import Scaling, hashable, map_of, measured, over_explainers, subject
from saliency_jax.robustness.points import POINTS, check_moves
from saliency_jax.robustness.search import SEARCHES, Search, check_search, found_by, largest
from saliency_jax.scores import Kind
from saliency_jax.typing import Apply, Explainer, Images, Params, Score


class _Settings(NamedTuple):
    search: Search
    map_norm: Norm
    image_norm: Norm
    scaling: Scaling | None


def lipschitz_estimate(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    radius: float,
    gap: float | None = None,
    norm: BallNorm = "l2",
    map_norm: Norm = "l2",
    image_norm: Norm = "l2",
    samples: int = 100,
    kinks: int = 8,
    ascent: int = 20,
    image_range: tuple[float, float] | None = None,
    scaling: Scaling | None = None,
    kind: Kind = "logit",
    batch_size: int | None = None,
) -> xr.Dataset:
    """A lower bound of the local Lipschitz constant of every explainer around every image.

    L(x) = max_{gap <= |x' - x| <= radius} |R(x') - R(x)|_map / |x' - x|_image

    The maximum is searched among points drawn uniformly in the ball, points just across the kinks of the network's
    ReLUs that lie nearest, and by gradient ascent from the best of these: every search gives a lower bound, and drawing
    alone a poor one, as almost all points of a ball in many dimensions lie at its rim.

    The paper has no gap. But where a map jumps, as the gradient of a ReLU network does at its kinks and at an image in
    which the maximum of a pool is a tie (an even background), there is no finite constant, and only the rounding would
    bound what is found: the jump over the gap takes its place. Measure with two gaps to tell a jump from a steep slope.
    An explainer that draws random numbers has the same ones at x and at x'.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its parameters.
        images: `[batch, height, width, channel]`.
        targets: the class to explain for each image, `[batch]` integers.
        explainers: name -> explainer.
        key: a JAX key; all explainers meet the same points.
        radius: of the ball around each image, in units of the images.
        gap: the least distance |x' - x|_image of a pair; a hundredth of the radius where None.
        norm: of the ball, "l2" or "linf".
        map_norm, image_norm: of the two differences, "l1", "l2" or "linf".
        samples: points drawn for each image.
        kinks: points across the nearest kinks; 0 for none. They need a model that has forward-mode derivatives.
        ascent: steps of gradient ascent; 0 for none. They need an explainer that can be differentiated.
        image_range: the least and the greatest value that a pixel can have; perturbed images stay inside.
        scaling: `scaling(map) -> map` that each map goes through by itself, such as
            `saliency_jax.similarity.scaling.by_mean_square`; None compares the maps as they are.
        kind: what of the logits is explained, as in `class_score`.
        batch_size: images measured at once; as many as the memory holds where None.

    Returns:
        A Dataset with `lipschitz_estimate` (explainer, image), in units of the map per unit of the image, the largest
        that any search found, and `by_search` (explainer, search, image) for the searches "samples", "kinks" and
        "ascent". NaN where a map on the way was NaN, and in `by_search` also where a search found no point.

    Raises:
        ValueError: an argument is wrong, named with the rule and the value; or the score does not depend on the image.
        TypeError: images are not floating point, targets not integers.

    Source: Alvarez-Melis and Jaakkola 2018, "On the robustness of interpretability methods", equation 2. Kinks and
        ascent are not theirs.

    Cost: for each image and explainer samples + 2 ascent + kinks explanations, and kinks gradients of the score.
    """
    measure = "lipschitz_estimate"
    of = subject(apply, params, images, targets, explainers, measure=measure, key=key, kind=kind, batch_size=batch_size)
    ball = with_gap(ball_of(radius, image_range, of.images), gap)
    for argument, value in (("map_norm", map_norm), ("image_norm", image_norm)):
        check_norm(value, argument, ("l1", "l2", "linf"))
    search = check_search(samples, kinks, ascent, norm)._replace(gap_norm=image_norm)
    check_moves(of, search, ball)
    settings = _Settings(search, map_norm, image_norm, hashable(scaling))
    parts = {
        name: found_by(measured(_estimates, explain, settings, ball, of, draws=POINTS)["largest"], measure)
        for name, explain in of.explainers.items()
    }
    coords = {"search": list(SEARCHES), "image": range(len(of.images))}
    attrs = {
        "measure": measure,
        "radius": ball.radius,
        "gap": ball.gap,
        "norm": norm,
        "map_norm": map_norm,
        "image_norm": image_norm,
    }
    return over_explainers(parts, coords, attrs)


def _estimates(explain: Explainer, score: Score, image: Array, keys: Any, settings: _Settings, ball: Any) -> Any:
    mapped = partial(map_of, explain, score, key=keys[0], scaling=settings.scaling)
    reference = mapped(image)

    def ratio(point: Array) -> Array:
        return slope_between(mapped(point) - reference, point - image, settings.map_norm, settings.image_norm, ball.gap)

    return {"largest": largest(ratio, score, image, keys[1], settings.search, ball)}


ROUNDING = 1e-3
"""A pair may be this share of the gap closer, by rounding."""


def slope_between(of_maps: Array, of_images: Array, map_norm: Norm, image_norm: Norm, gap: Any) -> Array:
    """The length of one difference over that of another; -inf where that is 0 or under the gap: there is no pair."""
    distance = length(of_images, image_norm)
    close = (distance == 0) | (distance < (1 - ROUNDING) * gap)
    return jnp.where(close, -jnp.inf, length(of_maps, map_norm) / jnp.where(close, 1, distance))
