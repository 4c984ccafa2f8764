"""What every metric asks of its arguments: two floating maps of one shape, in one dtype."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from saliency_jax.checks import dtype_of


def floating(x: ArrayLike, name: str = "x") -> Array:
    """The array in its own floating dtype, float16 and bfloat16 widened to float32.

    Raises:
        TypeError: if the dtype is not a real floating one.
        ValueError: if the array is empty.
    """
    dtype_of(x, name)
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{name} must be an array of floats, found dtype {x.dtype}")
    if x.size == 0:
        raise ValueError(f"{name} must have at least one element, found shape {x.shape}")
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def as_pair(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """Two maps in the wider of their two dtypes.

    Raises:
        TypeError: if one of the dtypes is not a real floating one.
        ValueError: if the shapes differ or a map is empty.
    """
    a, b = floating(a, "a"), floating(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"a and b must have the same shape, found {a.shape} and {b.shape}")
    dtype = jnp.promote_types(a.dtype, b.dtype)
    return a.astype(dtype), b.astype(dtype)


def planes(image: Array) -> Array:
    """`[height, width]` or `[height, width, channel]` to `[channel, height, width]`.

    Neighbourhoods are gathered along rows, and rows of neighbours in memory are what vectorizes: on the CPU ten times
    faster than with the channels innermost.

    Raises:
        ValueError: if the array has another number of axes.
    """
    if image.ndim not in (2, 3):
        raise ValueError(
            "a map must have the shape [height, width] or [height, width, channel], "
            f"found {image.shape}; batches go through jax.vmap"
        )
    return image[None] if image.ndim == 2 else jnp.moveaxis(image, -1, 0)
