"""Max-sensitivity and average sensitivity: how far a map can move while its image stays inside a small ball."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jax import Array

from saliency_jax.robustness.balls import BallNorm, Norm, ball_of, check_norm, length
from saliency_jax.robustness.measurement import (
    Scaling,
    hashable,
    in_chunks,
    map_of,
    measured,
    over_explainers,
    subject,
)
from saliency_jax.robustness.points import POINTS, check_moves
from saliency_jax.robustness.search import SEARCHES, Search, check_search, found_by, largest, sample
from saliency_jax.scores import Kind
from saliency_jax.typing import Apply, Explainer, Images, Params, Score

LEAST_WAY = 0.1
"""How far at least a point past a kink is taken, as a share of the radius: nothing is divided by the way to it."""


class _Settings(NamedTuple):
    search: Search
    map_norm: Norm
    scaling: Scaling | None


def max_sensitivity(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    radius: float,
    norm: BallNorm = "linf",
    map_norm: Norm = "l2",
    samples: int = 50,
    kinks: int = 8,
    ascent: int = 20,
    image_range: tuple[float, float] | None = None,
    scaling: Scaling | None = None,
    kind: Kind = "logit",
    batch_size: int | None = None,
) -> xr.Dataset:
    """A lower bound of the farthest that every explainer's map moves within a ball around every image.

    SENS_MAX(x) = max_{|d| <= radius} |R(x + d) - R(x)|

    A constant map has the least, 0: report it beside `infidelity`. The searches are those of `lipschitz_estimate`, and
    every one of them gives a lower bound. An explainer that draws random numbers has the same ones at x and at x + d.

    Args:
        apply, params, images, targets, explainers, key: as in `lipschitz_estimate`.
        radius: of the ball, in units of the images.
        norm: of the ball, "linf" or "l2".
        map_norm: of the difference of the maps: "l1", "l2" or "linf".
        samples, kinks, ascent, image_range, scaling, kind, batch_size: as in `lipschitz_estimate`.

    Returns:
        A Dataset with
        `max_sensitivity` (explainer, image): the largest that any search found, in units of the map;
        `relative_max_sensitivity` (explainer, image): that over |R(x)|, which is what the authors' code, Captum and
        Quantus call max-sensitivity; NaN for a map of zeros;
        `map_length` (explainer, image): |R(x)|;
        `by_search` (explainer, search, image): as in `lipschitz_estimate`, in units of the map.

    Raises:
        ValueError: an argument is wrong, named with the rule and the value; or the score does not depend on the image.
        TypeError: images are not floating point, targets not integers.

    Source: Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", definition 3.1.

    Cost: as `lipschitz_estimate`.
    """
    measure = "max_sensitivity"
    of = subject(apply, params, images, targets, explainers, measure=measure, key=key, kind=kind, batch_size=batch_size)
    search = check_search(samples, kinks, ascent, norm)
    ball = ball_of(radius, image_range, of.images)
    ball = ball._replace(gap=LEAST_WAY * ball.radius)
    check_norm(map_norm, "map_norm", ("l1", "l2", "linf"))
    check_moves(of, search, ball)
    settings = _Settings(search, map_norm, hashable(scaling))
    parts = {}
    for name, explain in of.explainers.items():
        found = measured(_farthest, explain, settings, ball, of, draws=POINTS)
        parts[name] = found_by(found["largest"], measure)
        parts[name] |= _relative(parts[name][measure][1], found["length"], measure)
    coords = {"search": list(SEARCHES), "image": range(len(of.images))}
    attrs = {"measure": measure, "radius": ball.radius, "norm": norm, "map_norm": map_norm}
    return over_explainers(parts, coords, attrs)


def average_sensitivity(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    radius: float,
    norm: BallNorm = "linf",
    map_norm: Norm = "l2",
    samples: int = 50,
    image_range: tuple[float, float] | None = None,
    scaling: Scaling | None = None,
    kind: Kind = "logit",
    batch_size: int | None = None,
) -> xr.Dataset:
    """How far every explainer's map moves on average within a ball around every image.

    SENS_AVG(x) = E_d |R(x + d) - R(x)|, d uniform in the ball

    Args:
        apply, params, images, targets, explainers, key, radius, norm, map_norm: as in `max_sensitivity`.
        samples: points drawn for each image, the ones that `max_sensitivity` draws for the same key.
        image_range, scaling, kind, batch_size: as in `max_sensitivity`.

    Returns:
        A Dataset with
        `average_sensitivity` (explainer, image), in units of the map;
        `standard_error` (explainer, image): of that mean; NaN for a single sample;
        `relative_average_sensitivity` (explainer, image): the mean over |R(x)|; NaN for a map of zeros;
        `map_length` (explainer, image): |R(x)|.

    Raises:
        ValueError, TypeError: as `max_sensitivity`.

    Source: Bhatt, Weller and Moura 2020, definition 2; Yeh et al. 2019 for the maximum in its place.

    Cost: samples explanations for each image and explainer.
    """
    measure = "average_sensitivity"
    of = subject(apply, params, images, targets, explainers, measure=measure, key=key, kind=kind, batch_size=batch_size)
    ball, search = ball_of(radius, image_range, of.images), check_search(samples, 0, 0, norm)
    check_norm(map_norm, "map_norm", ("l1", "l2", "linf"))
    check_moves(of, search, ball)
    settings = _Settings(search, map_norm, hashable(scaling))
    parts = {}
    for name, explain in of.explainers.items():
        found = measured(_moved, explain, settings, ball, of, draws=POINTS)
        spread = found["moved"].std(axis=1, ddof=1) if samples > 1 else np.full(len(of.images), np.nan)
        mean = found["moved"].mean(axis=1)
        parts[name] = {
            measure: (("image",), mean),
            "standard_error": (("image",), spread / np.sqrt(samples)),
            **_relative(mean, found["length"], measure),
        }
    attrs = {"measure": measure, "radius": ball.radius, "norm": norm, "map_norm": map_norm, "samples": samples}
    return over_explainers(parts, {"image": range(len(of.images))}, attrs)


def _relative(values: np.ndarray, lengths: np.ndarray, name: str) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    zero = lengths == 0
    relative = np.where(zero, np.nan, values / np.where(zero, 1, lengths))
    return {f"relative_{name}": (("image",), relative), "map_length": (("image",), lengths)}


def _farthest(explain: Explainer, score: Score, image: Array, keys: Any, settings: _Settings, ball: Any) -> Any:
    mapped = partial(map_of, explain, score, key=keys[0], scaling=settings.scaling)
    reference = mapped(image)

    def moved(point: Array) -> Array:
        return length(mapped(point) - reference, settings.map_norm)

    found = largest(moved, score, image, keys[1], settings.search, ball)
    return {"largest": found, "length": length(reference, settings.map_norm)}


def _moved(explain: Explainer, score: Score, image: Array, keys: Any, settings: _Settings, ball: Any) -> Any:
    mapped = partial(map_of, explain, score, key=keys[0], scaling=settings.scaling)
    reference = mapped(image)

    def moved(i: Array) -> Array:
        point = sample(image, keys[1], i, settings.search.norm, ball)
        return length(mapped(point) - reference, settings.map_norm)

    return {"moved": in_chunks(moved, settings.search.samples), "length": length(reference, settings.map_norm)}
