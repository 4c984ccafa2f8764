"""Projection: every prototype becomes the nearest patch of the training images of its class."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Shaped

from saliency_jax.checks import check_batch, check_targets
from saliency_jax.prototypes.batches import batch_places
from saliency_jax.prototypes.checks import check_variables
from saliency_jax.prototypes.distances import distances_between
from saliency_jax.prototypes.network import ProtoPNet, prototype_classes
from saliency_jax.tracing import compiled
from saliency_jax.typing import Images, Params

Labels = Shaped[Array, "..."] | Shaped[np.ndarray, "..."]


class Sources(NamedTuple):
    """The training patch that each prototype is."""

    image: Int[np.ndarray, " prototype"]
    """Which of the images."""
    row: Int[np.ndarray, " prototype"]
    """Of the patch in the grid of patches."""
    column: Int[np.ndarray, " prototype"]
    distance: Float[np.ndarray, " prototype"]
    """How far the prototype was from it before."""


class Projection(NamedTuple):
    """Variables whose prototypes are training patches, and which."""

    variables: Params
    sources: Sources


def project(model: ProtoPNet, variables: Params, images: Images, labels: Labels, *, batch_size: int = 80) -> Projection:
    """Replace every prototype by the nearest patch of the images of its class.

    p_j <- argmin_{z patch of an image of class c(j)} distance(z, p_j)

    Distances are computed from differences, not by a matrix product, so that what is nearest is decided by the data
    and not by rounding. Of equally near patches the first one counts, by image and then row by row.

    Args:
        model: the network.
        variables: its variables.
        images: `[n, height, width, channel]`: the training images as they are, not augmented.
        labels: their classes, `[n]`.
        batch_size: images at a time.

    Returns:
        Variables with other prototypes and all else the same, and where the prototypes come from.

    Raises:
        ValueError: a class that has prototypes has no image, a label is no class, or images are no batch of images.
        TypeError: labels are not integer, or images not floating point.
        FloatingPointError: patches or prototypes are not finite.

    Source: Chen et al. (2019), section 2.2, equation 3.

    Cost: one pass over the images; memory of batch_size x prototypes of a class x places x depth besides.
    """
    check_batch(images)
    check_variables(model, variables)
    check_targets(labels, batch=len(images), classes=model.classes, argument="labels")
    labels = np.asarray(labels)
    classes = np.asarray(prototype_classes(model))
    if missing := sorted(set(classes.tolist()) - set(labels.tolist())):
        raise ValueError(f"labels must name an image of every class that has prototypes, none is of {missing[:5]}")
    places = jnp.asarray(batch_places(len(labels), batch_size))
    slots = jnp.asarray(_slots(classes, model.classes))
    best, width = _search(model, variables, jnp.asarray(images), jnp.asarray(labels), places, slots)
    distance, image, place, vectors = (np.asarray(array) for array in best)
    if not np.isfinite(distance).all():
        worst = int(np.argmin(np.isfinite(distance)))
        raise FloatingPointError(f"no patch has a finite distance to prototype {worst}: patches or prototypes are not")
    projected = {**variables, "params": {**variables["params"], "prototype_vectors": jnp.asarray(vectors)}}
    return Projection(projected, Sources(image, place // int(width), place % int(width), distance))


def _slots(classes: Int[np.ndarray, " prototype"], count: int) -> Int[np.ndarray, "class slot"]:
    """The prototypes of each class, padded by a number that is no prototype's."""
    most = int(np.bincount(classes, minlength=count).max())
    slots = np.full((count, most), len(classes))
    for c in range(count):
        own = np.flatnonzero(classes == c)
        slots[c, : len(own)] = own
    return slots


@partial(compiled, static_argnames="model")
def _search(
    model: ProtoPNet, variables: Params, images: Array, labels: Array, batches: Array, slots: Array
) -> tuple[tuple[Array, ...], int]:
    """Smallest distance, image, place and vector of each prototype, over one batch after another; the grid's width."""
    prototypes = variables["params"]["prototype_vectors"]
    count = len(prototypes)
    # One more, at infinity, for the slots of classes that have fewer prototypes than others.
    padded = jnp.concatenate([prototypes, jnp.full_like(prototypes[:1], jnp.inf)])

    def merge(best: tuple[Array, ...], numbers: Array) -> tuple[tuple[Array, ...], None]:
        features = model.apply(variables, images[numbers], method="patches")
        patches = features.reshape(len(numbers), -1, features.shape[-1])
        asked = slots[labels[numbers]]
        compared = distances_between(patches[:, None], padded[asked][:, :, None], model.distance)
        nearest, places = compared.min(axis=2), compared.argmin(axis=2)
        found = jax.ops.segment_min(nearest.ravel(), asked.ravel(), count + 1)
        # Of the patches that are as near as the nearest, the first.
        flat = jnp.arange(len(numbers))[:, None] * patches.shape[1] + places
        flat = jnp.where(nearest == found[asked], flat, patches.shape[0] * patches.shape[1])
        first = jnp.minimum(
            jax.ops.segment_min(flat.ravel(), asked.ravel(), count + 1)[:count], patches.shape[0] * patches.shape[1] - 1
        )
        image, place = numbers[first // patches.shape[1]], first % patches.shape[1]
        new = (found[:count], image, place, patches.reshape(-1, patches.shape[-1])[first])
        # A NaN counts as nearer than all, so that it is seen whatever the batches.
        nearer = (found[:count] < best[0]) | jnp.isnan(found[:count])
        return tuple(
            jnp.where(nearer.reshape(-1, *(1,) * (old.ndim - 1)), fresh, old)
            for old, fresh in zip(best, new, strict=True)
        ), None

    nobody: tuple[Array, ...] = (jnp.full(count, jnp.inf), *(jnp.zeros(count, int) for _ in range(2)), prototypes)
    width = jax.eval_shape(lambda x: model.apply(variables, x, method="patches"), images[:1]).shape[2]
    best, _ = jax.lax.scan(merge, nobody, batches)
    return best, width
