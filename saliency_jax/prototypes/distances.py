"""How far the patches of an image are from prototypes, and how alike that makes them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

Distance = Literal["l2", "cosine"]
Similarity = Literal["log", "linear"]

EPSILON = 1e-4
"""Of the logarithmic similarity: what keeps it finite at distance 0, where it is log(1 / EPSILON) = 9.2103."""


class Nearest(NamedTuple):
    """The patch of each image that is nearest to each prototype."""

    distances: Float[Array, "batch prototype"]
    places: Int[Array, "batch prototype"]
    """Its place in the grid of patches, row by row: `row * width + column`; the first of equally near ones."""


def distance_maps(
    features: Float[Array, "batch height width depth"], prototypes: Float[Array, "prototype depth"], kind: Distance
) -> Float[Array, "batch height width prototype"]:
    """The distance of every patch to every prototype, by one matrix product.

    "l2": sum_k (z_k - p_k)^2 = |z|^2 - 2 z p + |p|^2, never under 0. "cosine": 1 - z p / (|z| |p|), where a vector of
    zeros has the cosine 0 with every other one.

    Rounding in the product leaves an error of about 1e-7 |z - c|^2, where c is the mean prototype; `nearest_patches`
    gives the smallest distances without it.

    Args:
        features: the patches, one vector each.
        prototypes: one vector each.
        kind: "l2" or "cosine".
    """
    if kind == "cosine":
        return jax.nn.relu(1 - jnp.matmul(_unit(features), _unit(prototypes).T, precision="highest"))
    # Distances do not change with the origin, and rounding errors are smaller where the vectors are.
    origin = jax.lax.stop_gradient(prototypes.mean(axis=0))
    patches, centres = features - origin[None, None, None], prototypes - origin[None]
    products = jnp.matmul(patches, centres.T, precision="highest")
    squares = (patches**2).sum(-1, keepdims=True) + (centres**2).sum(-1)[None, None, None]
    # jax.nn.relu and not maximum: a distance of 0 has the gradient 0.
    return jax.nn.relu(squares - 2 * products)


def nearest_patches(
    features: Float[Array, "batch height width depth"], prototypes: Float[Array, "prototype depth"], kind: Distance
) -> Nearest:
    """The nearest patch of each image to each prototype, its distance computed from the differences themselves.

    A prototype that is a patch of the image has the distance 0 from it, exactly; a matrix product would leave 1e-6.
    Which patch is nearest is decided by `distance_maps`: of two that differ by less than its rounding either may be.
    Gradients are those of the minimum over places: of the nearest patch alone.

    Args, Returns: as `distance_maps`; the smallest distance over the places and where it is.
    """
    maps = jax.lax.stop_gradient(distance_maps(features, prototypes, kind))
    batch, height, width, count = maps.shape
    places = jnp.argmin(maps.reshape(batch, height * width, count), axis=1)
    # A product with ones and zeros picks the patches; its gradient is a product again, where a gather's is a scatter.
    chosen = jax.nn.one_hot(places, height * width, dtype=features.dtype)
    patches = jnp.matmul(chosen, features.reshape(batch, height * width, -1), precision="highest")
    return Nearest(distances_between(patches, prototypes[None], kind), places)


def distances_between(
    patches: Float[Array, "*#shape depth"], prototypes: Float[Array, "*#shape depth"], kind: Distance
) -> Float[Array, "*shape"]:
    """The distances of pairs of vectors, from their differences: exactly 0 where the two are equal."""
    if kind == "l2":
        return ((patches - prototypes) ** 2).sum(-1)
    # |a - b|^2 / 2 = 1 - a b for unit vectors.
    units = (_unit(patches), _unit(prototypes))
    # The lengths of equal vectors may be summed in another order.
    same = (patches == prototypes).all(-1)
    apart = jnp.where(same, 0, ((units[0] - units[1]) ** 2).sum(-1) / 2)
    # A vector of zeros has no direction; beside one a NaN stays a NaN.
    blank = (patches == 0).all(-1) | (prototypes == 0).all(-1)
    return jnp.where(blank & ~jnp.isnan(apart), 1, apart)


def similarity(distances: Float[Array, "..."], kind: Similarity, distance: Distance) -> Float[Array, "..."]:
    """How alike patches at these distances are: the larger the nearer.

    "log": log((d + 1) / (d + EPSILON)), from 9.2103 at 0 down to 0. "linear": -d, and 1 - d, the cosine itself, where
    the distance is that of the cosine.
    """
    if kind == "log":
        return jnp.log((distances + 1) / (distances + EPSILON))
    return 1 - distances if distance == "cosine" else -distances


def _unit(vectors: Array) -> Array:
    """Vectors of length 1; zeros stay zeros, with a gradient of 0."""
    squares = (vectors**2).sum(-1, keepdims=True)
    # Asked as == 0, so that a NaN stays one.
    lengths = jnp.sqrt(jnp.where(squares == 0, 1, squares))
    return jnp.where(squares == 0, 0, vectors / lengths)
