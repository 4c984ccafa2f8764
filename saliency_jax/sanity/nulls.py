"""What a similarity is worth where there is nothing to find: scores of pairs of maps that do not belong together."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.keys import named

UNRELATED = ("other_image", "permuted_pixels", "noise")
"""A map against the same model's map of another image, against itself with its pixels shuffled, against noise."""

NULLS = (*UNRELATED, "itself")
"""Those, where there is nothing in common; and a map against itself, where nothing has changed."""


def null_partners(maps: Array, key: Any) -> dict[str, Array]:
    """For each map of a batch, one partner of each kind in UNRELATED, which has nothing to do with it.

    Args:
        maps: `[batch, height, width, channel]`, of different images.
        key: a JAX key.

    Returns:
        name -> `[batch, height, width, channel]`. With one image there is no other: that partner is all NaN.

    Source: pairs of images: Arun et al. 2021; the other two: section 4 of Adebayo et al. 2018 compares with noise.
    """
    count = len(maps)
    turn = jax.random.randint(named(key, "other_image"), (), 1, max(count, 2))
    other = jnp.roll(maps, turn, axis=0) if count > 1 else jnp.full_like(maps, jnp.nan)

    def shuffled(key: Array, one: Array) -> Array:
        pixels = one.reshape(-1, one.shape[-1])
        return jax.random.permutation(key, pixels, axis=0).reshape(one.shape)

    keys = jax.random.split(named(key, "permuted_pixels"), count)
    drawn = jax.random.normal(named(key, "noise"), maps.shape, maps.dtype)
    return {"other_image": other, "permuted_pixels": jax.vmap(shuffled)(keys, maps), "noise": drawn}
