"""DeepLIFT: the change of the score from a baseline, shared out through every nonlinearity by its secant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_function, check_image, check_score_output
from saliency_jax.explainers.baseline import broadcast_baseline
from saliency_jax.explainers.quadrature import quadrature
from saliency_jax.tracing.canonical import canonical_convolutions
from saliency_jax.tracing.execution import Visited, where
from saliency_jax.tracing.naming import plan_of
from saliency_jax.tracing.operations import Operation
from saliency_jax.tracing.override import BackwardRule, Site, backward, run_planned
from saliency_jax.tracing.pooling import pooling_rule
from saliency_jax.tracing.taps import check_activations
from saliency_jax.typing import Image, Map, Score

POINTS = 16
"""Of the mean gradient that stands in for a secant where an operation has many inputs."""


def deep_lift(score: Score, image: Image, key: Any = None, *, baseline: Any = 0.0) -> Map:
    """The change of the score from a baseline, by the rescale rule: R = m (x - x'), sum R = score(x) - score(x').

    m is the gradient with every activation's derivative replaced by its secant (f(a) - f(a')) / (a - a'), a and a'
    being what it gets from the image and from the baseline. Products of two things that depend on the image take the
    mean of the other factor. Maxima are b + relu(a - b) of the two winners. A softmax, a normalization or a quotient
    has its mean gradient on the way from a' to a.

    Args:
        score: `score(image) -> scalar`.
        image: one image.
        key: not used; explainers share one signature.
        baseline: what stands for "nothing", a number or an array shaped like the image, in its units.

    Returns:
        A map shaped like the image, in units of the score.

    Raises:
        TypeError: the image is not floating point, or the score is not a real scalar.
        ValueError: the image is empty or not finite, or the baseline is neither a number nor shaped like it; or
            an equation for which there is no rule; it is named.

    Source: Shrikumar, Greenside and Kundaje 2017, section 3.5.1; Ancona et al. 2018, equation 6.
    """
    check_function(score, "score")
    check_image(image)
    image = jnp.asarray(image)
    baseline = broadcast_baseline(baseline, image)
    planned = plan_of(score, image)
    check_score_output(planned.outputs)
    check_activations(planned, image)
    rules = {operation.name: _rule(operation) for operation in planned.plan.everything()}
    visited = {name: rule for name, rule in rules.items() if rule is not None}
    reference = run_planned(planned, (baseline,), dict.fromkeys(visited, _read_inputs)).observed
    visitors = {name: backward(rule) for name, rule in visited.items()}
    multipliers = jax.grad(lambda x: run_planned(planned, (x,), visitors, reference).outputs)
    return canonical_convolutions(multipliers)(image) * (image - baseline)


def _rule(operation: Operation) -> BackwardRule | None:
    """The rule of an operation; None where its gradient is its multiplier already, or where it is entered."""
    if operation.kind in _RULES:
        return _RULES[operation.kind]
    if operation.kind in ("unknown", "loop"):
        raise ValueError(f"DeepLIFT has no rule for the {operation.primitive} at {where(operation)}")
    return None


def _read_inputs(operation: Operation, inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Visited:
    return Visited(operation.run(inputs, sides), list(inputs))


def _rescale(site: Site, cotangent: Array) -> tuple[Array]:
    """The secant of an activation; its derivative where the two points are one up to rounding."""
    [x], [start] = site.inputs, site.given
    change = x - start
    tiny = 16 * jnp.finfo(x.dtype).eps * (jnp.abs(x) + jnp.abs(start))
    still = jnp.abs(change) <= tiny
    secant = (site.output - site.function(start)) / jnp.where(still, 1, change)
    [gradient] = site.gradient(cotangent)
    return (jnp.where(still, gradient, cotangent * secant),)


def _maximum(site: Site, cotangent: Array) -> tuple[Array, ...]:
    """Of the winner here and the one there, each as much as makes their changes add up to that of the maximum."""
    function = site.function
    if site.operation.primitive == "reduce_window_max":
        [step] = site.operation.steps

        def function(x: Array) -> Array:
            return pooling_rule(step.equation, x)[0]

    start = tuple(site.given)
    change = tuple(x - x0 for x, x0 in zip(site.inputs, start, strict=True))
    _, of_winner = jax.jvp(function, site.inputs, change)
    value, of_other = jax.jvp(function, start, change)
    same = of_winner == of_other
    part = jnp.where(same, 1, (site.output - value - of_other) / jnp.where(same, 1, of_winner - of_other))
    here = jax.vjp(function, *site.inputs)[1](part * cotangent)
    there = jax.vjp(function, *start)[1]((1 - part) * cotangent)
    return tuple(a + b for a, b in zip(here, there, strict=True))


def _bilinear(site: Site, cotangent: Array) -> tuple[Array, ...]:
    """Each factor times the mean of the other: exact for anything that is linear in each of two inputs."""
    middle = [(x + x0) / 2 for x, x0 in zip(site.inputs, site.given, strict=True)]
    return jax.vjp(site.function, *middle)[1](cotangent)


def _mean_gradient(site: Site, cotangent: Array) -> tuple[Array, ...]:
    """The gradient averaged on the way from the baseline's inputs to the image's."""
    points, weights = quadrature("gauss_legendre", POINTS)

    def at(t: Array) -> tuple[Array, ...]:
        between = [x0 + t.astype(x.dtype) * (x - x0) for x, x0 in zip(site.inputs, site.given, strict=True)]
        return jax.vjp(site.function, *between)[1](cotangent)

    gradients = jax.lax.map(at, jnp.asarray(points))
    return tuple(jnp.tensordot(jnp.asarray(weights, g.dtype), g, 1, precision="highest") for g in gradients)


_RULES: dict[str, BackwardRule] = {
    **dict.fromkeys(("relu", "activation"), _rescale),
    "max_pool": _maximum,
    **dict.fromkeys(("product", "matrix_product"), _bilinear),
    **dict.fromkeys(("softmax", "normalization", "quotient"), _mean_gradient),
}
