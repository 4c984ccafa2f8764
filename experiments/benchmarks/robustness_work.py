"""The gradients and forward passes that a measure of robustness.py consists of, by themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from robustness_problem import SHIFTS, Problem, Values

import saliency_jax as sj
from saliency_jax.scores import class_score
from saliency_jax.tracing import compiled

BATCH = 64
"""Inputs at once."""


class Work(NamedTuple):
    """How often a measure has to run the network for one image, its map among it.

    Attributes:
        gradients: with respect to the input.
        forwards: without a gradient.
    """

    gradients: int
    forwards: int = 0


def least_work(measure: str, of: Problem) -> Work:
    """What a measure cannot do without."""
    height, width = of.network.image_shape[:2]
    work = {
        "max-sensitivity": Work(1 + of.samples),
        "local Lipschitz": Work(1 + of.samples),
        "continuity": Work(1 + len(SHIFTS)),
        "selectivity": Work(1, (height // 4) * (width // 4)),
        "pixel flipping": Work(1, height * width // 28),
        "infidelity": Work(1, 1 + of.samples),
    }
    return work[measure.strip()]


def network_alone(of: Problem, work: Work) -> Values:
    """Runs the network as often as a measure of all images has to, in one program."""
    of_all = [jnp.tile(of.images, (times, 1, 1, 1)) for times in work]
    targets = [jnp.tile(of.targets, times) for times in work]

    def gradient(params: Any, image: jax.Array, target: jax.Array) -> jax.Array:
        return sj.gradient(class_score(of.network.apply, params, target), image)

    def forward(params: Any, image: jax.Array, target: jax.Array) -> jax.Array:
        return class_score(of.network.apply, params, target)(image)

    @compiled
    def run(params: Any, images: list[jax.Array], targets: list[jax.Array]) -> list[jax.Array]:
        each = zip((gradient, forward), images, targets, strict=True)
        return [_in_batches(partial(take, params), *items) for take, *items in each]

    return lambda: jax.block_until_ready(run(of.params, of_all, targets))


def _in_batches(take: Callable, images: jax.Array, targets: jax.Array) -> jax.Array:
    return jax.lax.map(lambda item: take(*item), (images, targets), batch_size=BATCH) if len(images) else images
