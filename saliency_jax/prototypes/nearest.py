"""The patches of many images that are nearest to each prototype."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from saliency_jax.checks import check_batch, check_integer
from saliency_jax.prototypes.batches import batch_places
from saliency_jax.prototypes.checks import check_variables
from saliency_jax.prototypes.network import ProtoPNet, prototype_classes
from saliency_jax.tracing import compiled
from saliency_jax.typing import Images, Params


class NearestImages(NamedTuple):
    """For each prototype the images with the nearest patches, nearest first, one patch an image."""

    image: Int[np.ndarray, "prototype neighbour"]
    row: Int[np.ndarray, "prototype neighbour"]
    """Of the patch in the grid of patches."""
    column: Int[np.ndarray, "prototype neighbour"]
    distance: Float[np.ndarray, "prototype neighbour"]


def nearest_images(
    model: ProtoPNet, variables: Params, images: Images, *, count: int, batch_size: int = 80
) -> NearestImages:
    """The `count` images with the patch nearest to each prototype; of equally near ones the first images.

    Args:
        model: the network.
        variables: its variables.
        images: `[n, height, width, channel]`: what the model takes.
        count: how many for each prototype, at most n.
        batch_size: images at a time.

    Raises:
        ValueError: count is not in [1, n], or images are no batch of images.
        TypeError: images are not floating point, or count is no integer.
        FloatingPointError: a distance is not finite.

    Source: Chen et al. (2019), section 2.4 (the nearest patches of a prototype).

    Cost: one pass over the images; memory of prototype x (count + batch_size) besides.
    """
    check_batch(images)
    check_variables(model, variables)
    check_integer(count, "count")
    if not 1 <= count <= len(images):
        raise ValueError(f"count must be between 1 and the {len(images)} images, got {count}")
    places = batch_places(len(images), batch_size)
    found, width = _search(model, variables, jnp.asarray(images), jnp.asarray(places), count=count)
    distance, image, place = (np.asarray(array) for array in found)
    if not np.isfinite(distance).all():
        raise FloatingPointError(
            f"distances to prototype {int(np.argmin(np.isfinite(distance).all(axis=1)))} are not finite"
        )
    return NearestImages(image, place // int(width), place % int(width), distance)


def of_own_class(
    model: ProtoPNet, found: NearestImages, labels: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " prototype"]:
    """How many of each prototype's nearest images are of its own class."""
    return (np.asarray(labels)[found.image] == np.asarray(prototype_classes(model))[:, None]).sum(axis=1)


@partial(compiled, static_argnames=("model", "count"))
def _search(model: ProtoPNet, variables: Params, images: Array, batches: Array, *, count: int) -> tuple:
    """Distances, images and places of the nearest so far, over one batch after another; and the grid's width."""
    prototypes = len(prototype_classes(model))

    def merge(best: tuple, batch: tuple) -> tuple:
        start, numbers = batch
        compared = model.apply(variables, images[numbers], method="compare")
        # What only fills the last batch has been there before.
        fills = start + jnp.arange(len(numbers)) > numbers
        distances = jnp.where(fills[:, None], jnp.inf, compared.distances)
        # top_k may pass over a NaN; so it is seen in the end.
        distances = jnp.where(jnp.isnan(distances), -jnp.inf, distances)
        there = [jnp.broadcast_to(numbers[None], (prototypes, len(numbers))), compared.places.T]
        joined = [jnp.concatenate([old, new], axis=1) for old, new in zip(best, [distances.T, *there], strict=True)]
        _, chosen = jax.lax.top_k(-joined[0], count)
        return tuple(jnp.take_along_axis(array, chosen, axis=1) for array in joined), None

    nobody = (jnp.full((prototypes, count), jnp.inf), *(jnp.zeros((prototypes, count), int) for _ in range(2)))
    width = jax.eval_shape(lambda x: model.apply(variables, x, method="patches"), images[:1]).shape[2]
    starts = jnp.arange(len(batches)) * batches.shape[1]
    best, _ = jax.lax.scan(merge, nobody, (starts, batches))
    return best, width
