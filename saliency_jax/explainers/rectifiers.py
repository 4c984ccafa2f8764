"""Guided backpropagation and deconvnet: gradients with another rule for every ReLU, however the model writes it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_function, check_image, check_score_output
from saliency_jax.tracing.acceleration import fast_pooling
from saliency_jax.tracing.canonical import canonical_convolutions
from saliency_jax.tracing.naming import plan_of
from saliency_jax.tracing.override import BackwardRule, Site, backward, run_planned
from saliency_jax.tracing.taps import check_activations
from saliency_jax.typing import Image, Map, Score


def guided_backprop(score: Score, image: Image, key: Any = None) -> Map:
    """The gradient, kept at every ReLU only where it is positive and where the ReLU is on: R = 1[x > 0] 1[g > 0] g.

    Every ReLU counts that the score computes, as a function or as a module, in any spelling that is max(x, 0) or
    min(max(x, 0), c); see `relus`.

    Args:
        score: `score(image) -> scalar`.
        image: one image, usually `[height, width, channel]`.
        key: not used; explainers share one signature.

    Returns:
        A map shaped like the image.

    Raises:
        TypeError: the image is not floating point, or the score is not a real scalar.
        ValueError: the image is empty or not finite, or the score holds no ReLU; or
            a ReLU stands in an equation that cannot be entered; it is named.

    Source: Springenberg et al. 2015, section 3.4.
    """
    return _with_relu_rule(score, image, guided)


def deconvnet(score: Score, image: Image, key: Any = None) -> Map:
    """The gradient with every ReLU applied to what comes back instead of what went in: R = max(g, 0).

    Args, Returns, Raises: as `guided_backprop`.

    Source: Zeiler and Fergus 2014, section 2.1, as Springenberg et al. 2015 write it.
    """
    return _with_relu_rule(score, image, deconvolved)


def relus(score: Score, image: Image) -> tuple[str, ...]:
    """The names of the ReLUs that `guided_backprop` and `deconvnet` change, in execution order; one in a scan once.

    Args:
        score: `score(image) -> scalar`.
        image: one image.
    """
    check_function(score, "score")
    check_image(image)
    plan = plan_of(score, jnp.asarray(image)).plan
    return tuple(operation.name for operation in plan.everything() if operation.kind == "relu")


def guided(site: Site, cotangent: Array) -> tuple[Array]:
    """The backward rule of a ReLU in guided backprop: what is positive of the gradient, where the unit is on."""
    [found] = site.gradient(jnp.maximum(cotangent, 0))
    # A ReLU written as a maximum lets half of the gradient pass at 0.
    return (jnp.where(site.inputs[0] > 0, found, 0),)


def deconvolved(site: Site, cotangent: Array) -> tuple[Array]:
    """The backward rule of a ReLU in a deconvnet: what is positive of the gradient, whether the unit is on or off."""
    return (jnp.maximum(cotangent, 0),)


def _with_relu_rule(score: Score, image: Image, rule: BackwardRule) -> Map:
    check_function(score, "score")
    check_image(image)
    planned = plan_of(fast_pooling(score), jnp.asarray(image))
    check_score_output(planned.outputs)
    visitors = {op.name: backward(rule) for op in planned.plan.everything() if op.kind == "relu"}
    if not visitors:
        raise ValueError(
            "score must hold a ReLU, in any spelling of max(x, 0), for guided backpropagation and deconvnet; none was "
            "found that the image reaches (GELU, SiLU and other smooth activations are none)"
        )
    check_activations(planned, jnp.asarray(image))
    gradient = canonical_convolutions(jax.grad(lambda x: run_planned(planned, (x,), visitors).outputs))
    return gradient(jnp.asarray(image))
