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


def of_draws(of: Problem) -> Work:
    """A gradient for the map of every image and of every point that is drawn around it."""
    return Work(1 + of.samples)


def of_translations(of: Problem) -> Work:
    """A gradient for the map of every image and of its translations."""
    return Work(1 + len(SHIFTS))


def of_curve(of: Problem, patch: int, patches_in_step: int = 1) -> Work:
    """A map of every image, and a forward pass for each step of its curve, as `patch_curve` takes them."""
    height, width = of.network.image_shape[:2]
    return Work(1, -(-(height // patch) * (width // patch) // patches_in_step))


def of_changes(of: Problem) -> Work:
    """A map of every image, and the scores of the image and of every point that is drawn around it."""
    return Work(1, 1 + of.samples)


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
