"""The kinks of a ReLU network that lie nearest to an image: where one ReLU changes its sign.

Inside one pattern of signs the score is affine and its gradient constant; a gradient jumps across a kink. Points drawn
at random straddle the kinks that matter by luck alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_function, check_image, check_integer, check_one_key
from saliency_jax.keys import numbered
from saliency_jax.tracing import canonical_convolutions
from saliency_jax.tracing.execution import Visited
from saliency_jax.tracing.naming import Planned, plan_of
from saliency_jax.tracing.operations import Operation
from saliency_jax.tracing.override import run_planned
from saliency_jax.tracing.taps import planned_taps
from saliency_jax.typing import Score

DIRECTIONS = 8
"""Random directions by which the length of every ReLU's gradient is estimated."""


class Kinks(NamedTuple):
    """Kinks near an image x: x + distance * normal lies on the kink, to first order.

    Attributes:
        normals: `[kink, *image]`, unit vectors towards the kinks.
        distances: `[kink]`, Euclidean, in units of the image; infinite where a ReLU does not look at the image.
    """

    normals: Array
    distances: Array


def nearest_kinks(score: Score, image: Array, key: Any, count: int) -> Kinks:
    """The kinks whose crossing changes the gradient the most for its way.

    A ReLU with the input z and the score's gradient g in its output lies |z| / |dz/dx| from its kink, where the score's
    gradient jumps by g dz/dx: those of the largest |g| |dz/dx|^2 / |z| are taken. |dz/dx| is first estimated for all
    ReLUs at once, from the change of z along random directions, and then computed for those that were taken.

    Args:
        score: `score(image) -> scalar`.
        image: one image.
        key: a JAX key for the directions.
        count: how many.

    Returns:
        As many kinks, or all where the network has fewer ReLUs; none where it has no ReLU.

    Cost: two forward passes for each of 8 directions, and one gradient for each kink.
    """
    check_function(score, "score")
    check_image(image)
    check_one_key(key)
    check_integer(count, "count")
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    planned = plan_of(score, image)
    relus = {tap.name: tap.shape for tap in planned_taps(planned) if tap.kind == "relu"}
    if not relus:
        return Kinks(jnp.zeros((0, *image.shape), image.dtype), jnp.zeros(0, image.dtype))

    def find(image: Array) -> Kinks:
        return _kinks(planned, relus, image, key, count)

    return canonical_convolutions(find)(image)


def in_range(kinks: Kinks, image: Array, low: Any, high: Any) -> Kinks:
    """The kinks by the way that leaves pixels alone which stand at the end of their range and would go past it."""
    outward = ((image <= low)[None] & (kinks.normals < 0)) | ((image >= high)[None] & (kinks.normals > 0))
    free = jnp.where(outward, 0, kinks.normals)
    share = jnp.sqrt(jnp.sum(jnp.square(free), axis=tuple(range(1, free.ndim))))
    stuck = share == 0
    unit = jnp.where(stuck, 1, share)
    # A step along the free part goes that share of it towards the kink.
    return Kinks(free / unit.reshape(-1, *(1,) * image.ndim), jnp.where(stuck, jnp.inf, kinks.distances / unit))


def _kinks(planned: Planned, relus: dict[str, tuple[int, ...]], image: Array, key: Any, count: int) -> Kinks:
    visitors = dict.fromkeys(relus, _probed_relu)
    probes = {name: jnp.zeros(shape, image.dtype) for name, shape in relus.items()}

    def run(x: Array, probes: dict[str, Array]) -> Visited:
        return run_planned(planned, (x,), visitors, probes)

    def before(x: Array) -> Array:
        observed = run(x, probes).observed
        return jnp.concatenate([observed[name].ravel() for name in relus])

    gradients = jax.grad(lambda probes: run(image, probes).outputs)(probes)
    change = jnp.concatenate([gradients[name].ravel() for name in relus])
    inputs, along = jax.linearize(before, image)
    directions = jax.vmap(lambda k: jax.random.normal(k, image.shape, image.dtype))(numbered(key, DIRECTIONS))
    steepness = jnp.mean(jnp.square(jax.vmap(along)(directions)), axis=0)
    gain = jnp.abs(change) * steepness
    # A ReLU that stands at its kink already has a distance of 0 and comes first.
    order = jnp.where(gain > 0, gain / jnp.abs(inputs), -1)
    _, chosen = jax.lax.top_k(order, min(count, len(inputs)))
    slopes = jax.vmap(lambda i: jax.grad(lambda x: before(x)[i])(image))(chosen)
    steep = jnp.sqrt(jnp.sum(jnp.square(slopes), axis=tuple(range(1, slopes.ndim))))
    flat = steep == 0
    distances = jnp.where(flat, jnp.inf, jnp.abs(inputs[chosen]) / jnp.where(flat, 1, steep))
    towards = -jnp.where(inputs[chosen] < 0, -1, 1) / jnp.where(flat, 1, steep)
    return Kinks(slopes * towards.reshape(-1, *(1,) * image.ndim).astype(image.dtype), distances)


def _probed_relu(operation: Operation, inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Visited:
    """A ReLU that shows its input; what it is handed is added to its result, which thereby has a gradient."""
    [output] = operation.run(inputs, sides)
    return Visited([output + given], inputs[0])
