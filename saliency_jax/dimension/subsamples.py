"""An estimate over subsamples: how it depends on the number of points, and how much it scatters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_integer, check_number, check_one_key, check_sequence
from saliency_jax.dimension.neighbours import Neighbours, among, nearest_neighbours
from saliency_jax.dimension.points import check_points
from saliency_jax.dimension.two_nn import Method, check_options, estimate, kept_of

BLOCKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
NEIGHBOURS = 12
"""Neighbours kept for subsamples of nine tenths: that fewer than two of them are in one has a probability of 1e-10."""


class Decimation(NamedTuple):
    """TwoNN over disjoint blocks of the points, for each number of blocks.

    Attributes:
        blocks: into how many blocks the points were divided, `[division]`.
        size: points of a block, `[division]`.
        value: the mean over the blocks, `[division]`.
        spread: the standard deviation over them, `[division]`; NaN for one block.
        scale: the mean distance of the two nearest neighbours, `[division]`.
    """

    blocks: np.ndarray
    size: np.ndarray
    value: np.ndarray
    spread: np.ndarray
    scale: np.ndarray


def decimation(
    points: Any, key: Array, *, blocks: Sequence[int] = BLOCKS, discard: float = 0.1, method: Method = "linear"
) -> Decimation:
    """TwoNN over fewer and fewer points: a dimension that does not depend on the scale stays as it is.

    The points are shuffled and divided into b disjoint blocks of N // b. For each b their neighbours are sought anew.

    Args:
        points: `[point, feature, ...]`.
        key: shuffles them.
        blocks: the numbers of blocks.
        discard: as in `two_nn`.
        method: as in `two_nn`.

    Returns:
        Decimation.

    Raises:
        ValueError: a number of blocks leaves fewer than 5 points to a block, discard or method are none of `two_nn`, or
            points are not finite or all equal.
        TypeError: points are not floating point.

    Source: Ansuini et al., NeurIPS 2019, block analysis; Facco et al. (2017), fig. 2.
    """
    check_points(points)
    check_one_key(key)
    check_sequence(blocks, int, "blocks")
    if not blocks or min(blocks) < 1 or max(blocks) * 5 > len(points):
        raise ValueError(f"blocks must be at least 1 and leave 5 of the {len(points)} points to each, got {blocks}")
    check_options(discard, method)
    order = np.asarray(jax.random.permutation(key, len(points)))
    rows = []
    for number in blocks:
        size = len(points) // number
        chosen = order[: size * number]
        found = nearest_neighbours(points[chosen], groups=np.repeat(np.arange(number), size))
        distances, indices = found.distances.reshape(number, size, 2), found.indices.reshape(number, size, 2) % size
        value, _, _ = _estimates(distances, indices, kept_of(size, discard), method=method)
        spread = value.std() if number > 1 else np.nan
        rows.append((number, size, value.mean(), spread, distances.mean()))
    counts, sizes, *rest = (np.array(column) for column in zip(*rows, strict=True))
    return Decimation(counts, sizes, *(column.astype(float) for column in rest))


def resampled(
    points: Any,
    key: Array,
    *,
    fraction: float = 0.9,
    repeats: int = 20,
    discard: float = 0.1,
    method: Method = "linear",
) -> Array:
    """TwoNN over random subsamples without replacement, whose mean and standard deviation the paper reports.

    That deviation is no standard error: subsamples of nine tenths have nearly all points in common, and it comes out
    1.7 to 2 times too small. The interval of `two_nn` is calibrated; this is for comparison with published numbers.

    Args:
        points: `[point, feature, ...]`, or Neighbours with some more than two for each point.
        key: draws the subsamples.
        fraction: of the points in a subsample.
        repeats: how many.
        discard: as in `two_nn`.
        method: as in `two_nn`.

    Returns:
        One value for each subsample, `[repeat]`; NaN where a point has fewer than two of its neighbours in it.

    Raises:
        ValueError: fraction is not in (0, 1] or leaves fewer than 3 points, repeats is under 1, discard or method are
            none of `two_nn`, or points are not finite or all equal.
        TypeError: points are not floating point.

    Source: Ansuini et al., NeurIPS 2019, appendix.
    """
    check_one_key(key)
    check_number(fraction, "fraction")
    check_integer(repeats, "repeats")
    if not 0 < fraction <= 1 or repeats < 1:
        raise ValueError(f"fraction must be in (0, 1] and repeats at least 1, got {fraction} and {repeats}")
    check_options(discard, method)
    if not isinstance(points, Neighbours):
        check_points(points)
        points = nearest_neighbours(points, neighbours=min(NEIGHBOURS, len(points) - 1))
    size = round(fraction * len(points.distances))
    if size < 3:
        raise ValueError(f"fraction must leave at least 3 of the {len(points.distances)} points, got {fraction}")
    return _resampled(points, jax.random.split(key, repeats), kept_of(size, discard), size=size, method=method)


@partial(jax.jit, static_argnames="method")
def _estimates(distances: Array, indices: Array, kept: Any, *, method: Method) -> tuple[Array, Array, Array]:
    return jax.vmap(partial(estimate, kept=kept, method=method))(distances, indices)


@partial(jax.jit, static_argnames=("size", "method"))
def _resampled(found: Neighbours, keys: Array, kept: Any, *, size: int, method: Method) -> Array:
    def one(key: Array) -> Array:
        members = jax.random.choice(key, len(found.distances), (size,), replace=False)
        there = among(found, jnp.sort(members))
        value = estimate(there.distances, there.indices, kept, method=method)[0]
        return jnp.where(jnp.isnan(there.distances).any(), jnp.nan, value)

    return jax.lax.map(one, keys)
