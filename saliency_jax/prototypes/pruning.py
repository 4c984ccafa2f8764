"""Pruning: prototypes whose nearest training patches are mostly of other classes are dropped."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from saliency_jax.checks import check_batch, check_integer, check_targets, dtype_of
from saliency_jax.prototypes.checks import check_variables
from saliency_jax.prototypes.nearest import nearest_images, of_own_class
from saliency_jax.prototypes.network import ProtoPNet, prototype_classes
from saliency_jax.prototypes.projection import Labels
from saliency_jax.typing import Images, Params


class Pruned(NamedTuple):
    """A smaller network: `model.apply(variables, images)`."""

    model: ProtoPNet
    variables: Params
    kept: Int[np.ndarray, " prototype"]
    """Which of the prototypes, in ascending order."""


def prune(
    model: ProtoPNet,
    variables: Params,
    images: Images,
    labels: Labels,
    *,
    neighbours: int = 6,
    least: int = 3,
    batch_size: int = 80,
) -> Pruned:
    """Drop every prototype that has fewer than `least` images of its own class among its `neighbours` nearest ones.

    Such a prototype is a patch that many classes share, as of the background. The last layer should be trained again
    afterwards. A class may lose all its prototypes; it then has only what the others' weights say of it.

    Args:
        model: the network, its prototypes projected.
        variables: its variables.
        images: the training images, `[n, height, width, channel]`.
        labels: their classes, `[n]`.
        neighbours: how many nearest images are looked at.
        least: how many of them have to be of the prototype's class.
        batch_size: images at a time.

    Raises:
        ValueError: least is not in [1, neighbours], neighbours is over n, a label is no class, or no prototype would
            be left.
        TypeError: labels are not integer.
        FloatingPointError: a distance is not finite.

    Source: Chen et al. (2019), supplement, section on pruning: 6 and 3.
    """
    check_batch(images)
    check_variables(model, variables)
    check_targets(labels, batch=len(images), classes=model.classes, argument="labels")
    check_integer(neighbours, "neighbours")
    check_integer(least, "least")
    if not 1 <= least <= neighbours:
        raise ValueError(f"least must be between 1 and the {neighbours} neighbours, got {least}")
    if neighbours > len(images):
        raise ValueError(f"neighbours must be at most the {len(images)} images, got {neighbours}")
    found = nearest_images(model, variables, images, count=neighbours, batch_size=batch_size)
    kept = np.flatnonzero(of_own_class(model, found, np.asarray(labels)) >= least)
    if not kept.size:
        raise ValueError(
            f"least must leave a prototype: none has {least} of its {neighbours} nearest images in its own class"
        )
    return keep(model, variables, kept)


def keep(model: ProtoPNet, variables: Params, kept: Int[np.ndarray, " prototype"]) -> Pruned:
    """The network with some of its prototypes, by their indices, and their rows of the last layer.

    Raises:
        ValueError: an index is no prototype's, or there is none.
        TypeError: kept are not integer, or variables not the model's.
    """
    check_variables(model, variables)
    classes = prototype_classes(model)
    if not jnp.issubdtype(dtype_of(kept, "kept"), jnp.integer):
        raise TypeError(f"kept must be integer indices, got {dtype_of(kept, 'kept')}")
    kept = np.asarray(kept)
    if kept.ndim != 1 or not kept.size or kept.min() < 0 or kept.max() >= len(classes):
        raise ValueError(f"kept must be indices of some of the {len(classes)} prototypes, got {kept.tolist()}")
    params = variables["params"]
    smaller = {
        **params,
        "prototype_vectors": jnp.asarray(params["prototype_vectors"])[kept],
        "last_layer": jax.tree.map(lambda kernel: jnp.asarray(kernel)[kept], params["last_layer"]),
    }
    pruned = model.clone(prototypes=None, class_of=tuple(classes[j] for j in kept))
    return Pruned(pruned, {**variables, "params": smaller}, kept)
