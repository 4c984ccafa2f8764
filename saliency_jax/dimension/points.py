"""What an estimator of dimension asks of its points, and which of them are copies."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_finite, check_no_list, dtype_of


class NoDimension(ValueError):
    """These points have no estimate: too few of them are distinct or finite, whatever is asked of them.

    A sweep over the layers of a network writes it down and goes on; any other ValueError is a mistake of the caller.
    """


def check_points(points: Any) -> None:
    """Raise unless `points` is an array `[point, ...]` of finite floating-point values that are not all one point.

    Raises:
        TypeError: points are not real floating point.
        ValueError: points have fewer than two axes or hold nothing.
        NoDimension: points are not finite, or are all equal.
    """
    check_no_list(points, "points")
    dtype, shape = dtype_of(points, "points"), jnp.shape(points)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"points must be floating point, got {dtype}: convert them, for instance with points.astype('float32')"
        )
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"points must be [point, feature, ...] and not empty, got shape {shape}")
    try:
        check_finite(points, "points")
    except ValueError as error:
        raise NoDimension(str(error)) from None
    values = np.asarray(points)
    if np.all(values == values[:1]):
        raise NoDimension(f"points must not all be equal, got {shape[0]} copies of one point")


def as_matrix(points: Any) -> Array:
    """Points as `[point, feature]` in the precision of the computation: float32, or float64 where JAX has it enabled.

    An offset that is large beside the spread would take the digits that tell the points apart. Where float64 becomes
    float32 it is therefore subtracted before: the median of some points, as one far point moves a mean from all.
    """
    matrix = points.reshape(len(points), -1)
    dtype = jnp.promote_types(jnp.float32, jax.dtypes.canonicalize_dtype(matrix.dtype))
    if isinstance(matrix, np.ndarray) and matrix.dtype != dtype and matrix.dtype.itemsize > 4:
        matrix = matrix - np.median(matrix[:: -(-len(matrix) // 64)], axis=0)
        largest = max(matrix.max(), -matrix.min())
        if largest > jnp.finfo(dtype).max:
            raise NoDimension(f"points must be in the range of {dtype}, got {largest} from their median: rescale them")
    return jnp.asarray(matrix, dtype)


def first_copies(points: Any, has_copy: np.ndarray) -> np.ndarray:
    """Of every set of equal points the first: the indices that are left, `[distinct point]`.

    Args:
        points: `[point, feature]`.
        has_copy: which points have an equal one, `[point]`.
    """
    suspects = np.flatnonzero(has_copy)
    # Adding 0 makes -0 and 0, which are one point, one pattern of bits.
    _, first = np.unique(np.asarray(points)[suspects] + 0.0, axis=0, return_index=True)
    return np.sort(np.concatenate([np.flatnonzero(~has_copy), suspects[first]]))
