"""Explainers that take one gradient of the score."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import ArrayLike

from saliency_jax.checks import check_function, check_image
from saliency_jax.explainers.baseline import broadcast_baseline
from saliency_jax.tracing.acceleration import accelerated_gradient
from saliency_jax.typing import Image, Map, Score


def gradient(score: Score, image: Image, key: Any = None) -> Map:
    """The gradient of the score in the image: R = df/dx, signed, all channels.

    Args:
        score: `score(image) -> scalar`.
        image: one image, usually `[height, width, channel]`.
        key: not used; explainers share one signature.

    Returns:
        A map shaped like the image, in units of the score per unit of the image.

    Raises:
        TypeError: the image is not floating point, or the score is not a real scalar.
        ValueError: the image is empty or not finite.

    Source: Simonyan, Vedaldi and Zisserman 2014, section 3 (there the absolute maximum over channels).
    """
    check_function(score, "score")
    check_image(image)
    return accelerated_gradient(score)(jnp.asarray(image))


def gradient_times_input(score: Score, image: Image, key: Any = None) -> Map:
    """The gradient times the image: R = x * df/dx, in units of the score.

    Args, Returns, Raises: as `gradient`.

    Source: Shrikumar, Greenside and Kundaje 2017, section 2.
    """
    return gradient(score, image) * image


def simple_taylor(score: Score, image: Image, key: Any = None, *, root: ArrayLike | None = None) -> Map:
    """The first-order terms of a Taylor expansion around a root point: R = (x - root) * df/dx(root).

    Args:
        score: `score(image) -> scalar`.
        image: one image.
        key: not used; explainers share one signature.
        root: a point at which the score is 0, a number or an array shaped like the image. Where None, the point
            near 0 on the ray to the image: a ReLU network without biases has the same gradient along the whole ray, so
            that R = x * df/dx, which sums to the score.

    Returns:
        A map shaped like the image, in units of the score.

    Raises:
        TypeError: the image is not floating point, or the score is not a real scalar.
        ValueError: the image is empty or not finite, or the root does not fit it.

    Source: Montavon, Samek and Mueller 2018, section 4.2.
    """
    check_image(image)
    image = jnp.asarray(image)
    if root is None:
        return gradient_times_input(score, image)
    root = broadcast_baseline(root, image, "root")
    return gradient(score, root) * (image - root)


def sensitivity(score: Score, image: Image, key: Any = None) -> Map:
    """The squared gradient: R = (df/dx)^2, which sums to the squared norm of the gradient.

    Args, Returns, Raises: as `gradient`.

    Source: Montavon, Samek and Mueller 2018, section 4.1.
    """
    return jnp.square(gradient(score, image))
