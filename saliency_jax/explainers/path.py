"""Integrated gradients, and how far a sum of attributions is from what it should be."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float, Shaped

from saliency_jax.checks import check_floating, check_function, check_image, check_map
from saliency_jax.explainers.baseline import broadcast_baseline
from saliency_jax.explainers.chunks import fold_chunks
from saliency_jax.explainers.one_kink import ONE_KINK, average_with_one_kink
from saliency_jax.explainers.quadrature import QUADRATURES, quadrature
from saliency_jax.tracing.acceleration import accelerated_gradient
from saliency_jax.typing import Explainer, Image, Map, Score

RULES = (*QUADRATURES, ONE_KINK)
"""The rules of `integrated_gradients`."""


def integrated_gradients(
    score: Score,
    image: Image,
    key: Any = None,
    *,
    baseline: ArrayLike = 0.0,
    steps: int = 64,
    rule: str = "gauss_legendre",
    multiply_by_input: bool = True,
    at_once: int | None = None,
) -> Map:
    """The gradient averaged along the straight path from a baseline to the image, times the difference.

    R = (x - x0) * integral_0^1 df/dx(x0 + a (x - x0)) da  ~  (x - x0) * sum_k w_k df/dx(x0 + a_k (x - x0)).

    With exact integration the attributions sum to f(x) - f(x0); `completeness_gap` says by how much they miss it.

    Args:
        score: `score(image) -> scalar`.
        image: one image, usually `[height, width, channel]`.
        key: not used; explainers share one signature.
        baseline: x0, a number or an array shaped like the image, in the image's units.
        steps: the number of points on the path; one gradient each.
        rule: the quadrature, a name in `path.RULES`. "paper" is the sum of the released code of Adebayo et al. 2018,
            whose two ends both have full weight. "one_kink" reads its weights off the score's own values
            (`one_kink.average_with_one_kink`): of a ReLU network its sum misses a quarter as much.
        multiply_by_input: False leaves out the factor (x - x0): the local form.
        at_once: how many points are computed together; more is faster on an accelerator and takes more memory.

    Returns:
        A map shaped like the image, in units of the score.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the image is not finite, the baseline does not fit it, the rule is unknown, steps is too small.

    Source: Sundararajan, Taly and Yan 2017, equation 1; the local form: Ancona et al. 2018.
    """
    check_function(score, "score")
    check_image(image)
    image = jnp.asarray(image)
    start = broadcast_baseline(baseline, image)
    difference = image - start
    if not isinstance(rule, str) or rule not in RULES:
        raise ValueError(f"rule must be one of {sorted(RULES)}, got {rule!r}")
    if rule == ONE_KINK:
        average = average_with_one_kink(score, start, difference, steps, at_once=at_once)
    else:
        average = _average_by_quadrature(score, start, difference, quadrature(rule, steps), at_once=at_once)
    return average * difference if multiply_by_input else average


def _average_by_quadrature(
    score: Score, start: Image, difference: Map, points_and_weights: tuple[Any, Any], *, at_once: int | None
) -> Map:
    points, weights = (jnp.asarray(x, difference.dtype) for x in points_and_weights)
    gradient_at = accelerated_gradient(score)

    def add_chunk(total: Array, indices: Array, valid: Array) -> Array:
        gradients = jax.vmap(lambda i: gradient_at(start + points[i] * difference))(indices)
        return total + jnp.tensordot(jnp.where(valid, weights[indices], 0), gradients, axes=1, precision="highest")

    return fold_chunks(add_chunk, jnp.zeros_like(difference), len(points), at_once=at_once)


def completeness_gap(
    score: Score, image: Image, attribution: Shaped[Array, "..."], *, baseline: ArrayLike = 0.0
) -> Float[Array, ""]:
    """What a sum of attributions misses: sum_i R_i - (f(x) - f(x0)), in units of the score.

    Args:
        score: the score that was explained.
        image: the image that was explained.
        attribution: the map, shaped like the image.
        baseline: the x0 of the explanation.

    Raises:
        TypeError: the score is no function, or the map or the image not floating point.
        ValueError: the map or the baseline does not fit the image.

    Source: Sundararajan, Taly and Yan 2017, proposition 1.
    """
    check_function(score, "score")
    check_floating(attribution, "attribution")
    check_image(image)
    image = jnp.asarray(image)
    if jnp.shape(attribution) != image.shape:
        raise ValueError(f"attribution must be shaped like the image {image.shape}, got {jnp.shape(attribution)}")
    return jnp.sum(attribution) - (score(image) - score(broadcast_baseline(baseline, image)))


def completed(explain: Explainer, *, baseline: ArrayLike = 0.0) -> Explainer:
    """An explainer of the family of integrated gradients, its maps moved the least that makes them complete.

    R' = R - gap * (x - x0)^2 / ||x - x0||^2, with gap = sum_i R_i - (f(x) - f(x0)).

    The exact average gradient g of a path satisfies g . (x - x0) = f(x) - f(x0). Its estimate by a quadrature is
    projected on that hyperplane, so that it comes nearer to the exact one in Euclidean distance, whatever the rule
    and the number of points; the kinks of a ReLU network leave 64 points about 0.1% short.

    Args:
        explain: such as `integrated_gradients`, with its options fixed by `functools.partial`.
        baseline: the x0 that it uses.

    Returns:
        An explainer whose maps sum to f(x) - f(x0). An image equal to its baseline keeps its map.

    Raises:
        TypeError: explain is no function.
        ValueError: when called, the baseline does not fit the image.
    """

    check_function(explain, "explain")

    def explain_completely(score: Score, image: Image, key: Any = None) -> Map:
        attribution = explain(score, image, key)
        check_map(attribution, image)
        share = jnp.square(jnp.asarray(image) - broadcast_baseline(baseline, jnp.asarray(image)))
        total = jnp.sum(share)
        gap = completeness_gap(score, image, attribution, baseline=baseline)
        return attribution - jnp.where(total > 0, gap / jnp.where(total > 0, total, 1), 0) * share

    return explain_completely
