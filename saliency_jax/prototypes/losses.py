"""What ProtoPNet is trained for: right classes, patches near prototypes of their own class and far from the others.

    loss = cross entropy + 0.8 cluster + (-0.08) separation + 1e-4 L1

`nearest` is the smallest distance of each image to each prototype, `[batch, prototype]`; `own` tells for each image
which prototypes are of its class, `[batch, prototype]`, 1 or 0.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float, Int

from saliency_jax.checks import check_floating, check_targets

Known = Array | np.ndarray
"""What a model's classes and a batch's labels come as."""


class Weights(NamedTuple):
    """How much each term counts; the defaults are the paper's."""

    cross_entropy: float = 1.0
    cluster: float = 0.8
    separation: float = -0.08
    """Negative: a large distance to the prototypes of other classes is good."""
    l1: float = 1e-4


class Terms(NamedTuple):
    """The terms of the loss, before they are weighted."""

    cross_entropy: Float[Array, ""]
    cluster: Float[Array, ""]
    separation: Float[Array, ""]
    l1: Float[Array, ""]


def terms(
    logits: Float[Array, "batch class"],
    nearest: Float[Array, "batch prototype"],
    labels: Int[Known, " batch"],
    last_layer: Float[Array, "prototype class"],
    own_class: Float[Known, "prototype class"],
    *,
    max_distance: float | None = None,
) -> Terms:
    """All terms of the loss for a batch.

    Args:
        logits: of the network.
        nearest: the smallest distance of each image to each prototype.
        labels: the classes of the images.
        last_layer: the weights from similarities to logits.
        own_class: 1 where a prototype belongs to a class, else 0.
        max_distance: as in `cluster_cost`.

    Raises:
        ValueError: the shapes do not fit each other, or a label is no class.
        TypeError: an array is not floating point, or labels are not integer.

    Source: Chen et al. (2019), equations 1 and 2.
    """
    for name, array in {"logits": logits, "nearest": nearest, "last_layer": last_layer, "own_class": own_class}.items():
        check_floating(array, name)
        if jnp.ndim(array) != 2:
            raise ValueError(f"{name} must have two axes, got shape {jnp.shape(array)}")
    batch, classes, prototypes = *logits.shape, nearest.shape[1]
    for name, array, shape in (
        ("nearest", nearest, (batch, prototypes)),
        ("last_layer", last_layer, (prototypes, classes)),
        ("own_class", own_class, (prototypes, classes)),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
    check_targets(labels, batch=batch, classes=classes, argument="labels")
    own = jnp.asarray(own_class).T[jnp.asarray(labels)]
    return Terms(
        cross_entropy(logits, labels),
        cluster_cost(nearest, own, max_distance=max_distance),
        separation_cost(nearest, own, max_distance=max_distance),
        last_layer_l1(last_layer, own_class),
    )


def total(terms: Terms, weights: Weights) -> Float[Array, ""]:
    """The loss: each term times its weight, summed."""
    return sum((weight * term for weight, term in zip(weights, terms, strict=True)), jnp.zeros(()))


def cross_entropy(logits: Float[Array, "batch class"], labels: Int[Known, " batch"]) -> Float[Array, ""]:
    """mean_i(-log softmax(logits_i)[label_i])."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def cluster_cost(
    nearest: Float[Array, "batch prototype"],
    own: Float[Array, "batch prototype"],
    *,
    max_distance: float | None = None,
) -> Float[Array, ""]:
    """mean_i min_{j of the own class} d_ij: how far images are from the nearest prototype of their class.

    An image whose class has no prototype, as after pruning, counts as 0.

    Args:
        nearest: d_ij.
        own: 1 where prototype j is of the class of image i, else 0.
        max_distance: None for the minimum itself. A number gives the original program's
            max - max_j((max - d_ij) own_ij) instead, which stays at `max_distance`, with no gradient, where every d_ij
            is larger: there 128, the length of a prototype.
    """
    return _smallest(nearest, own, max_distance).mean()


def separation_cost(
    nearest: Float[Array, "batch prototype"],
    own: Float[Array, "batch prototype"],
    *,
    max_distance: float | None = None,
) -> Float[Array, ""]:
    """mean_i min_{j of other classes} d_ij: how far images are from the nearest prototype of another class.

    Args: as `cluster_cost`.
    """
    return _smallest(nearest, 1 - own, max_distance).mean()


def mean_separation(nearest: Float[Array, "batch prototype"], own: Float[Array, "batch prototype"]) -> Float[Array, ""]:
    """mean_i mean_{j of other classes} d_ij: what the original program reports beside the separation cost."""
    return ((nearest * (1 - own)).sum(axis=1) / (1 - own).sum(axis=1)).mean()


def last_layer_l1(
    last_layer: Float[Array, "prototype class"], own_class: Float[Known, "prototype class"]
) -> Float[Array, ""]:
    """sum_{j, c not the class of j} |w_jc|: a prototype is to speak for its own class and not against others."""
    return jnp.abs(last_layer * (1 - own_class)).sum()


def _smallest(nearest: Array, of: Array, max_distance: float | None) -> Array:
    """The smallest distance to the prototypes that count for each image; 0 where none does.

    A minimum over distances times the mask would be 0, and one with a large number in the others' place rounds.
    """
    if max_distance is not None:
        return max_distance - jnp.max((max_distance - nearest) * of, axis=1)
    smallest = jnp.min(jnp.where(of > 0, nearest, jnp.inf), axis=1)
    return jnp.where((of > 0).any(axis=1), smallest, 0.0)
