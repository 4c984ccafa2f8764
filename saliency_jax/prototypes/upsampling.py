"""Maps of patches enlarged to the image as OpenCV does it, and the box of what is high in them."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from saliency_jax.checks import check_floating
from saliency_jax.prototypes.checks import check_percentile, check_size

SHARPNESS = -0.75
"""The free number of Keys' cubic kernel: OpenCV's and PyTorch's; `jax.image.resize` has -0.5."""


def upsampled(maps: Float[Array, "*maps height width"], shape: tuple[int, ...]) -> Float[Array, "*maps tall wide"]:
    """Maps resized by OpenCV's bicubic interpolation: a = -0.75, borders repeated, no smoothing when it shrinks.

    y = A x B^T, where row i of A holds the cubic weights of the four inputs around (i + 1/2) scale - 1/2.

    Args:
        maps: any number of maps.
        shape: the height and width wanted, in pixels.

    Raises:
        ValueError: a side is under 1, or maps are empty.
        TypeError: maps are not floating point.

    Source: Keys (1981), equation 4.
    """
    check_floating(maps, "maps")
    if jnp.ndim(maps) < 2 or 0 in jnp.shape(maps):
        raise ValueError(f"maps must be [..., height, width] and not empty, got shape {jnp.shape(maps)}")
    check_size(shape, "shape")
    rows, columns = (_weights(maps.shape[axis], shape[axis]) for axis in (-2, -1))
    along_rows = jnp.matmul(jnp.asarray(rows, maps.dtype), maps, precision="highest")
    return jnp.matmul(along_rows, jnp.asarray(columns.T, maps.dtype), precision="highest")


def high_activation_box(pixels: Float[Array, "height width"], *, percentile: float = 95.0) -> Int[Array, " 4"]:
    """The smallest box around all pixels at or above a percentile of the map: top, bottom, left, right.

    Bottom and right are one past the last row and column, as in a slice: `image[top:bottom, left:right]`.

    Args:
        pixels: one map.
        percentile: in [0, 100].

    Raises:
        ValueError: percentile is outside [0, 100], or pixels are not one map.
        TypeError: pixels are not floating point.

    Source: Chen et al. (2019), section 2.4.
    """
    check_floating(pixels, "pixels")
    if jnp.ndim(pixels) != 2 or 0 in jnp.shape(pixels):
        raise ValueError(f"pixels must be one map [height, width] and not empty, got shape {jnp.shape(pixels)}")
    check_percentile(percentile)
    high = pixels >= jnp.percentile(pixels, percentile)
    return jnp.concatenate([_extent(high.any(axis=1)), _extent(high.any(axis=0))])


def high_activation_boxes(
    maps: Float[Array, "map height width"], shape: tuple[int, ...], *, percentile: float = 95.0
) -> Int[Array, "map 4"]:
    """The boxes of many maps of patches, each enlarged to an image of `shape`; one map at a time is in memory.

    Raises:
        ValueError: shape or percentile is none, or maps are not `[map, height, width]`.
        TypeError: maps are not floating point.
    """
    check_floating(maps, "maps")
    if jnp.ndim(maps) != 3:
        raise ValueError(f"maps must be [map, height, width], got shape {jnp.shape(maps)}")
    check_size(shape, "shape")
    check_percentile(percentile)
    return jax.lax.map(lambda one: high_activation_box(upsampled(one, shape), percentile=percentile), maps)


def _extent(there: Array) -> Array:
    return jnp.stack([jnp.argmax(there), there.size - jnp.argmax(there[::-1])])


@lru_cache(maxsize=64)
def _weights(inputs: int, outputs: int) -> np.ndarray:
    """The matrix `[outputs, inputs]` of the interpolation along one axis."""
    centres = (np.arange(outputs) + 0.5) * (inputs / outputs) - 0.5
    first = np.floor(centres).astype(int) - 1
    matrix = np.zeros((outputs, inputs))
    for tap in range(4):
        places = np.clip(first + tap, 0, inputs - 1)
        np.add.at(matrix, (np.arange(outputs), places), _cubic(np.abs(centres - first - tap)))
    return matrix


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' kernel at distances in [0, 2]."""
    near = ((SHARPNESS + 2) * distance - (SHARPNESS + 3)) * distance**2 + 1
    far = SHARPNESS * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)
