"""Grad-CAM and guided Grad-CAM: where the channels of one activation speak for the score."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_function, check_image, check_score_output
from saliency_jax.explainers.rectifiers import guided_backprop
from saliency_jax.tracing.naming import Planned, plan_of
from saliency_jax.tracing.taps import (
    Tap,
    activation_after,
    check_activations,
    planned_taps,
    resolve,
    score_and_gradient,
)
from saliency_jax.typing import Image, Map, Score

_POOLED = ("max_pool", "average_pool")


def grad_cam(
    score: Score, image: Image, key: Any = None, *, layer: str | int | None = None, interpolation: str = "bilinear"
) -> Map:
    """The channels of an activation A, weighted by how much the score grows with each: R = max(sum_k w_k A_k, 0).

    w_k is the mean of d score / dA_k over the places of channel k. R is resized to the image, and every channel of the
    map holds it.

    Args:
        score: `score(image) -> scalar`.
        image: one image `[height, width, channel]`.
        key: not used; explainers share one signature.
        layer: which activation, by its name, further address or index in `taps`; the last spatial one that is no
            pooling where None. Where an activation function follows a layer directly, as after a convolution, its
            result is taken, as in the paper. Of a layer inside a scan it is the last turn's.
        interpolation: "nearest", "bilinear", "cubic" (a = -0.5), "lanczos3" or "lanczos5", as in `jax.image.resize`.

    Returns:
        A map shaped like the image, nowhere negative, in units of the score.

    Raises:
        TypeError: the image is not floating point, or the score is not a real scalar.
        ValueError: the image is not one image or not finite, the layer does not exist (the near ones are listed), does
            not depend on the image, or is not spatial; or the interpolation is unknown.

    Source: Selvaraju et al. 2017, equations 1 and 2.
    """
    check_function(score, "score")
    check_image(image)
    image = jnp.asarray(image)
    if image.ndim != 3:
        raise ValueError(f"image must be [height, width, channel], got shape {image.shape}")
    planned = plan_of(score, image)
    check_score_output(planned.outputs)
    check_activations(planned, image)
    name = _last_spatial(planned, image) if layer is None else activation_after(planned, resolve(planned, layer))
    activation, gradient = score_and_gradient(planned, image, name)
    if activation.ndim < 4 or activation.shape[-4] != 1:
        raise ValueError(
            f"layer must be an activation [1, height, width, channel], got {name!r} with shape {activation.shape}"
        )
    activation, gradient = (x.reshape(-1, *x.shape[-3:])[-1] for x in (activation, gradient))
    cam = jnp.maximum(jnp.einsum("hwk,k->hw", activation, gradient.mean(axis=(0, 1))), 0)
    return jnp.broadcast_to(_resized(cam, image.shape[:2], interpolation)[:, :, None], image.shape).astype(image.dtype)


def guided_grad_cam(
    score: Score, image: Image, key: Any = None, *, layer: str | int | None = None, interpolation: str = "bilinear"
) -> Map:
    """Grad-CAM times guided backpropagation, pixel by pixel and channel by channel.

    Args, Returns, Raises: as `grad_cam` and `guided_backprop`; the map is signed.

    Source: Selvaraju et al. 2017, section 3.2.
    """
    return grad_cam(score, image, layer=layer, interpolation=interpolation) * guided_backprop(score, image)


def _last_spatial(planned: Planned, image: Array) -> str:
    """The last activation with more than one place that is no pooling.

    An activation of four axes may also be one of [1, head, query, key]: what is spatial has the size of the image, or
    that of a convolution's or a pooling's result.
    """
    spatial = [tap for tap in planned_taps(planned) if _is_spatial(tap)]
    sizes = {image.shape[:2], *(tap.shape[1:3] for tap in spatial if tap.kind in ("convolution", *_POOLED))}
    names = [tap.name for tap in spatial if tap.kind not in _POOLED and tap.shape[1:3] in sizes]
    if not names:
        raise ValueError(
            "layer must be given: the score has no activation [1, height, width, channel] of more than one place"
        )
    return names[-1]


def _is_spatial(tap: Tap) -> bool:
    return len(tap.shape) >= 4 and tap.shape[-4] == 1 and tap.shape[-3] * tap.shape[-2] > 1


def _resized(cam: Array, shape: tuple[int, ...], interpolation: str) -> Array:
    try:
        return jax.image.resize(cam, shape, interpolation, antialias=False)
    except ValueError as error:
        raise ValueError(f"interpolation must be a method of jax.image.resize, got {interpolation!r}") from error
