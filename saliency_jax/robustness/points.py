"""The points that are drawn around images, for whoever wants to see them, and whether they change anything."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency_jax.checks import check_images, check_key
from saliency_jax.keys import named, numbered
from saliency_jax.robustness.balls import Ball, BallNorm, ball_of
from saliency_jax.robustness.measurement import Subject, check_depends
from saliency_jax.robustness.search import Search, check_search, sample
from saliency_jax.typing import Images

POINTS = "points"
"""The name of the key that points are drawn from."""


def perturbed_images(
    images: Images,
    *,
    key: Any,
    radius: float,
    norm: BallNorm = "linf",
    samples: int = 50,
    image_range: tuple[float, float] | None = None,
) -> Float[Array, "sample batch height width channel"]:
    """The points that `max_sensitivity`, `lipschitz_estimate` and `continuity` draw around images for the same key.

    With these, maps that are made elsewhere can be held against these measures on the same perturbations.

    Args:
        images: `[batch, height, width, channel]`.
        key, radius, norm, samples, image_range: as given to the measure; its default norm is its own.

    Raises:
        ValueError, TypeError: as the measure does.
    """
    check_images(images)
    check_key(key, "perturbed_images")
    images = jnp.asarray(images)
    ball, search = ball_of(radius, image_range, images), check_search(samples, 0, 0, norm)
    return _drawn(images, key, ball, norm=search.norm, samples=search.samples)


@partial(jax.jit, static_argnames=("norm", "samples"))
def _drawn(images: Array, key: Any, ball: Ball, *, norm: BallNorm, samples: int) -> Array:
    ball = Ball(*(jnp.asarray(number, images.dtype) for number in ball))
    keys = numbered(named(key, POINTS), len(images))

    def around(i: Array) -> Array:
        return jax.vmap(lambda image, key: sample(image, key, i, norm, ball))(images, keys)

    return jax.lax.map(around, jnp.arange(samples))


def check_moves(of: Subject, search: Search, ball: Ball) -> None:
    """Raise ValueError where the first points of the balls are the images themselves, or the score stays the same."""
    points = _drawn(of.images, of.key, ball, norm=search.norm, samples=1)[0]
    if np.array_equal(points, of.images):
        raise ValueError(
            f"radius must be large enough to change the images in {of.images.dtype}, got {ball.radius:g}: "
            f"perturbed images are the images themselves"
        )
    check_depends(of, points, f"they are perturbed within the radius {ball.radius:g}")
