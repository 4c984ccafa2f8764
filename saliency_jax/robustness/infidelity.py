"""Infidelity: how badly a map predicts what a perturbation of the image does to the score."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from saliency_jax.checks import check_finite_number, check_function, check_images
from saliency_jax.keys import named, numbered
from saliency_jax.robustness.balls import check_count, check_positive
from saliency_jax.robustness.measurement import (
    check_depends,
    hashable,
    in_chunks,
    map_of,
    measured,
    over_explainers,
    subject,
)
from saliency_jax.scores import Kind
from saliency_jax.typing import Apply, Explainer, Images, Params, Score

Perturbation = Callable[[Array, Any], Array]
"""`perturbation(image, key) -> I`, an array like the image: what is taken away from it, x - I being what is left."""


@dataclass(frozen=True)
class GaussianNoise:
    """I ~ N(0, deviation^2) for every pixel. Source: Yeh et al. 2019, section 2.4 (noisy baseline around x itself)."""

    deviation: float

    def __call__(self, image: Array, key: Any) -> Array:
        """One draw."""
        return self.deviation * jax.random.normal(key, image.shape, image.dtype)


@dataclass(frozen=True)
class SquareRemoval:
    """A square at a random place, all channels, replaced by a number. Source: Yeh et al. 2019, section 2.4.

    The sides are drawn with the place: 1 to `largest` pixels.
    """

    largest: int
    fill: float = 0.0

    def __call__(self, image: Array, key: Any) -> Array:
        """One draw."""
        height, width = image.shape[:2]
        of_side, *of_corner = jax.random.split(key, 3)
        side = jax.random.randint(of_side, (), 1, self.largest + 1)
        down, right = (
            jax.random.randint(k, (), 0, size - side + 1) for k, size in zip(of_corner, (height, width), strict=True)
        )
        rows, columns = (
            (jnp.arange(size) >= start) & (jnp.arange(size) < start + side)
            for size, start in ((height, down), (width, right))
        )
        hidden = rows[:, None, None] & columns[None, :, None]
        return jnp.where(hidden, image - self.fill, 0)


def gaussian_noise(deviation: float) -> Perturbation:
    """Independent normal noise of a standard deviation in units of the images, for `infidelity`.

    Raises:
        ValueError: the deviation is not a positive number.
    """
    check_positive(deviation, "deviation")
    return GaussianNoise(float(deviation))


def square_removal(largest: int, *, fill: float = 0.0) -> Perturbation:
    """Squares of 1 to `largest` pixels at random places replaced by a number, for `infidelity`.

    Raises:
        ValueError: largest is no positive integer; when it is used, such a square hides the whole image.
    """
    check_count(largest, "largest", 1)
    check_finite_number(fill, "fill")
    return SquareRemoval(int(largest), float(fill))


class _Settings(NamedTuple):
    perturbation: Perturbation
    samples: int
    in_score_units: tuple[bool, ...]


class _Numbers(NamedTuple):
    baseline: Any


def infidelity(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    perturbation: Perturbation,
    samples: int = 100,
    in_score_units: Collection[str] = (),
    baseline: float = 0.0,
    kind: Kind = "logit",
    batch_size: int | None = None,
) -> xr.Dataset:
    """The mean squared error of every explainer's map as a linear model of what perturbations do to the score.

    INFD(x) = E_I (I . R(x) - (f(x) - f(x - I)))^2

    The gradient of an affine score has an infidelity of 0. All explainers share the perturbed images and their scores.

    Args:
        apply, params, images, targets, explainers: as in `lipschitz_estimate`.
        key: a JAX key; perturbation s of image i is drawn from `fold_in(fold_in(key', i), s)`.
        perturbation: `perturbation(image, key) -> I` like the image: `gaussian_noise(deviation)`,
            `square_removal(largest)`, or one's own.
        samples: perturbations of each image.
        in_score_units: the names of the explainers whose maps are in units of the score, as those that multiply by the
            image are. A map R of those predicts f(x) - f(x - I) by the sum of R I / (x - baseline), the share of each
            pixel that is taken away; a pixel that equals the baseline has none.
        baseline: the value of a pixel that is not there, for these.
        kind: what of the logits is explained and predicted, as in `class_score`.
        batch_size: images measured at once; as many as the memory holds where None.

    Returns:
        A Dataset with
        `infidelity` (explainer, image), in squared units of the score;
        `scaled_infidelity` (explainer, image): the least that any multiple of the map attains, so that maps of other
        units can be compared; NaN where the map predicts no change at all;
        `scale` (explainer, image): that multiple;
        `standard_error` (explainer, image): of `infidelity`; NaN for a single sample.

    Raises:
        ValueError: an argument is wrong, named with the rule and the value; a perturbation hides the whole image; or
            the score does not depend on the image.
        TypeError: images are not floating point, targets not integers.

    Source: Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", definition 2.1; the scale is that of
        the authors' code.

    Cost: samples forward passes for each image, and one explanation for each explainer.
    """
    of = subject(
        apply, params, images, targets, explainers, measure="infidelity", key=key, kind=kind, batch_size=batch_size
    )
    check_count(samples, "samples", 1)
    check_function(perturbation, "perturbation")
    check_finite_number(baseline, "baseline")
    if not isinstance(in_score_units, Collection):
        raise TypeError(f"in_score_units must be names of explainers, got {in_score_units!r}")
    if unknown := [name for name in in_score_units if name not in explainers]:
        raise ValueError(f"in_score_units must be names of explainers {list(explainers)}, got {unknown}")
    height, width = of.images.shape[1:3]
    if isinstance(perturbation, SquareRemoval) and perturbation.largest >= min(height, width):
        raise ValueError(
            f"perturbation must leave a part of every image of {height} x {width} pixels, but squares of "
            f"{perturbation.largest} pixels can hide a whole side of it"
        )
    perturbation = hashable(perturbation)
    first = _all_drawn(of.images, of.key, perturbation=perturbation, samples=1)[0]
    check_depends(of, of.images - first, "they are perturbed")
    settings = _Settings(perturbation, int(samples), tuple(name in in_score_units for name in explainers))
    found = measured(_predictions, tuple(of.explainers.values()), settings, _Numbers(baseline), of, draws=PERTURBATIONS)
    parts = {name: _errors(found["predicted"][:, e], found["change"]) for e, name in enumerate(explainers)}
    return over_explainers(
        parts, {"image": range(len(of.images))}, {"measure": "infidelity", "samples": samples, "baseline": baseline}
    )


PERTURBATIONS = "perturbations"


def _drawn(perturbation: Perturbation, image: Array, key: Any, i: Array) -> Array:
    found = perturbation(image, jax.random.fold_in(key, i))
    if getattr(found, "shape", None) != image.shape:
        what = getattr(found, "shape", None) or type(found).__name__
        raise ValueError(f"perturbation must give an array shaped like the image {image.shape}, got {what}")
    return found


def perturbations(images: Images, perturbation: Perturbation, *, key: Any, samples: int) -> Array:
    """What `infidelity` takes away from the images for the same key, `[sample, *images.shape]`."""
    check_function(perturbation, "perturbation")
    check_count(samples, "samples", 1)
    check_images(images)
    return _all_drawn(jnp.asarray(images), key, perturbation=hashable(perturbation), samples=int(samples))


@partial(jax.jit, static_argnames=("perturbation", "samples"))
def _all_drawn(images: Array, key: Any, *, perturbation: Perturbation, samples: int) -> Array:
    keys = numbered(named(key, PERTURBATIONS), len(images))

    def of_all(i: Array) -> Array:
        return jax.vmap(lambda image, k: _drawn(perturbation, image, k, i))(images, keys)

    return jax.lax.map(of_all, jnp.arange(samples))


def _predictions(
    explainers: tuple[Explainer, ...], score: Score, image: Array, keys: Any, settings: _Settings, numbers: Any
) -> Any:
    """What each map predicts for each perturbation, `[explainer, sample]`, and what the score does, `[sample]`."""
    whole = image - numbers.baseline
    there = whole != 0
    by_pixel = jnp.where(there, 1 / jnp.where(there, whole, 1), 0)
    weights = [by_pixel if share else 1 for share in settings.in_score_units]
    maps = jnp.stack([map_of(explain, score, image, keys[0]) for explain in explainers])
    maps = maps * jnp.stack([jnp.broadcast_to(weight, image.shape) for weight in weights]).astype(image.dtype)
    before = score(image)

    def predict(i: Array) -> tuple[Array, Array]:
        taken = _drawn(settings.perturbation, image, keys[1], i)
        dot = jnp.sum(maps * taken[None], axis=tuple(range(1, maps.ndim)))
        return dot, before - score(image - taken)

    predicted, change = in_chunks(predict, settings.samples)
    return {"predicted": predicted.T, "change": change}


def _errors(predicted: np.ndarray, change: np.ndarray) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """The variables of one explainer from `[image, sample]`, in float64."""
    predicted, change = predicted.astype(np.float64), change.astype(np.float64)
    squares = np.square(predicted - change)
    samples = squares.shape[1]
    power = np.square(predicted).sum(axis=1)
    flat = power == 0
    scale = np.where(flat, np.nan, (predicted * change).sum(axis=1) / np.where(flat, 1, power))
    error = squares.std(axis=1, ddof=1) / np.sqrt(samples) if samples > 1 else np.full(len(squares), np.nan)
    values = {
        "infidelity": squares.mean(axis=1),
        "scaled_infidelity": np.square(scale[:, None] * predicted - change).mean(axis=1),
        "scale": scale,
        "standard_error": error,
    }
    return {name: (("image",), value) for name, value in values.items()}
