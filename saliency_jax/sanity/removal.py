"""Images without the pixels that a map ranks highest: exact counts, and a rule for pixels that rank the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float, Int

from saliency_jax.checks import check_finite, check_images, check_number, dtype_of
from saliency_jax.keys import numbered
from saliency_jax.typing import Images

Ranking = Literal["absolute", "signed"]

RANKINGS: Mapping[str, Callable[[Array], Array]] = {
    "absolute": lambda maps: jnp.abs(maps).sum(axis=-1),
    "signed": lambda maps: maps.sum(axis=-1),
}
"""Name -> what of maps `[..., channel]` ranks the pixels, the largest first."""


def remove_pixels(
    images: Images,
    maps: Images,
    *,
    fraction: float,
    fill: ArrayLike,
    ranking: Ranking = "absolute",
    key: Any = None,
) -> Float[Array, "batch height width channel"]:
    """Each image with the pixels that its map ranks highest replaced by a colour, all channels together.

    Exactly floor(fraction * height * width + 1/2) pixels of every image are replaced. Of pixels that rank the same,
    those that come first in row-major order go first; with a key, those that come first in an order drawn for each
    image. A constant map is one tie: it removes the first rows, or with a key random pixels.

    Args:
        images: `[batch, height, width, channel]`.
        maps: `[batch, height, width, channel]`, finite; their channels may be fewer or more than the images'.
        fraction: the share of the pixels to remove, in [0, 1].
        fill: what stands there then, a number or one for each channel, in units of the images.
        ranking: "absolute" ranks a pixel by sum_c |R_c|, "signed" by sum_c R_c.
        key: a JAX key that orders the ties.

    Returns:
        An array like the images.

    Raises:
        ValueError: images and maps do not fit each other or are not finite, fraction is outside [0, 1], fill fits no
            channels, or ranking is unknown.
        TypeError: images or maps are not floating point.

    Source: Hooker et al. 2019, section 3.
    """
    check_images(images)
    images = jnp.asarray(images)
    colour = checked_fill(fill, images)
    ranks = removal_ranks(maps, ranking=ranking, key=key)
    if ranks.shape != images.shape[:3]:
        raise ValueError(f"maps must be as many and as large as the images {images.shape}, got shape {jnp.shape(maps)}")
    return remove_ranked(images, ranks, pixel_count(fraction, images.shape), colour)


def removal_ranks(maps: Images, *, ranking: Ranking = "absolute", key: Any = None) -> Int[Array, "batch height width"]:
    """When each pixel of an image goes: 0 for the one that its map ranks highest.

    Args, Raises: as `remove_pixels`.

    Returns:
        A permutation of 0 to height * width - 1 for each image.

    Cost: one sort for each image.
    """
    check_images(maps, "maps")
    check_ranking(ranking)
    keys = None if key is None else numbered(key, len(maps))
    return _ranks(jnp.asarray(maps), keys, ranking=ranking)


@partial(jax.jit, static_argnames="ranking")
def _ranks(maps: Array, keys: Any, *, ranking: str) -> Array:
    pixels = maps.shape[1] * maps.shape[2]
    importance = RANKINGS[ranking](maps).reshape(len(maps), pixels)
    places = jnp.arange(pixels, dtype=jnp.int32)
    if keys is None:
        ties = jnp.broadcast_to(places, importance.shape)
    else:
        ties = jax.vmap(lambda key: jax.random.permutation(key, places))(keys)
    order = jnp.lexsort((ties, -importance), axis=-1)
    ranks = jax.vmap(lambda first: jnp.zeros(pixels, jnp.int32).at[first].set(places, unique_indices=True))(order)
    return ranks.reshape(maps.shape[:3])


@jax.jit
def remove_ranked(
    images: Array, ranks: Int[Array, "batch height width"], count: int | Array, fill: Array
) -> Float[Array, "batch height width channel"]:
    """The images with the `count` pixels of the smallest ranks replaced by `fill`, a number or one for each channel."""
    return jnp.where(ranks[..., None] < count, fill.reshape(1, 1, 1, -1), images)


def pixel_count(fraction: float, shape: tuple[int, ...]) -> int:
    """How many pixels of images `[batch, height, width, channel]` a fraction is, rounded to the nearest, halves up.

    Raises:
        ValueError: fraction is outside [0, 1].
    """
    check_number(fraction, "fraction")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be in [0, 1], got {fraction}")
    return math.floor(fraction * shape[1] * shape[2] + 0.5)


def checked_fill(fill: ArrayLike, images: Array) -> Array:
    """A number or one for each channel as an array of the images' dtype.

    Raises:
        ValueError: fill fits no channels, or is not finite.
    """
    dtype_of(fill, "fill")
    colour = jnp.asarray(fill, images.dtype)
    if colour.shape not in ((), images.shape[-1:]):
        raise ValueError(f"fill must be a number or one for each channel {images.shape[-1:]}, got shape {colour.shape}")
    check_finite(colour, "fill")
    return colour


def check_ranking(ranking: Any) -> None:
    """Raise ValueError unless ranking is a name in RANKINGS."""
    if not isinstance(ranking, str) or ranking not in RANKINGS:
        raise ValueError(f"ranking must be one of {list(RANKINGS)}, got {ranking!r}")
