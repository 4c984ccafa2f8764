"""Exact nearest neighbours in bounded memory, whatever the precision of the device's matrix products.

Distances from |x|^2 + |y|^2 - 2xy lose their digits where points are close beside their norms, and more of them where a
device multiplies in TF32 or bfloat16. Here such products only nominate candidates. The distances are sums of squared
differences, and a row is believed when no point outside its candidates can be nearer within the products' rounding;
else it is searched again with more candidates, at the end with all.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from saliency_jax.checks import check_integer, check_number
from saliency_jax.dimension.nominations import Space, nominations_of_all, nominations_of_some, prepared
from saliency_jax.dimension.points import as_matrix, check_points

SPARE = 4
"""Candidates beyond the neighbours that are asked for, in the first search."""
FIRST = 1
"""How many of them are measured where no more are needed to be sure."""
BLOCK_BYTES = 1 << 24
"""What the differences of one block of rows to their candidates may take: little enough for a processor's cache."""


class Neighbours(NamedTuple):
    """The nearest neighbours of every point.

    Attributes:
        distances: Euclidean, `[point, neighbour]`, nearest first, in the unit of the points.
        indices: which points they are, `[point, neighbour]`; -1 where there is none.
    """

    distances: Array
    indices: Array


def nearest_neighbours(
    points: Any,
    *,
    neighbours: int = 2,
    groups: Any = None,
    period: float | None = None,
    mesh: Mesh | None = None,
) -> Neighbours:
    """The exact nearest neighbours of every point among the others, copies of it included.

    Time grows like N^2 D / 2, memory like N D.

    Args:
        points: `[point, feature, ...]`, floating point; further axes are flattened.
        neighbours: how many of each point.
        groups: a group's number for each point, `[point]` integers; neighbours are sought within the point's group.
        period: the length after which every coordinate repeats: distances are those of a flat torus. None: of space.
        mesh: devices to share the rows among, along the mesh's first axis; the points are replicated.

    Returns:
        Neighbours. Where a group has too few points, distances are infinite and indices -1.

    Raises:
        ValueError: neighbours is not in [1, points), points are not finite or all equal, or groups do not fit.
        TypeError: points are not floating point.
    """
    check_points(points)
    count = len(points)
    check_integer(neighbours, "neighbours")
    if not 1 <= neighbours < count:
        raise ValueError(f"neighbours must be at least 1 and fewer than the {count} points, got {neighbours}")
    if groups is not None and jnp.shape(groups) != (count,):
        raise ValueError(f"groups must hold one number for each of the {count} points, got shape {jnp.shape(groups)}")
    if period is not None:
        check_number(period, "period")
    if period is not None and not 0 < period < np.inf:
        raise ValueError(f"period must be positive and finite, got {period}")
    if mesh is not None and not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, got {type(mesh).__name__}")
    matrix = as_matrix(points)
    if mesh is not None:
        matrix = jax.device_put(matrix, NamedSharding(mesh, PartitionSpec()))
    space = prepared(matrix, groups, period)
    rows, candidates = np.arange(count), min(neighbours + SPARE, count - 1)
    # Chosen from on the host: every operation outside of a program would be compiled anew for every number of points.
    nominal, found = (np.asarray(x)[:count] for x in nominations_of_all(space, candidates=candidates, mesh=mesh))
    measured = min(neighbours + FIRST, candidates)
    distances = np.empty((count, neighbours), matrix.dtype)
    indices = np.empty((count, neighbours), np.int32)
    while True:
        nearer = nominal[:, : measured + 1], found[:, :measured]
        ranked = _ranked(space, matrix, rows, *nearer, neighbours, period, mesh)
        distances[rows], indices[rows], believed = (np.asarray(part) for part in ranked)
        if believed.all():
            break
        rows = np.unique(rows[~believed])
        # To a power of two: every number of rows would be compiled anew.
        rows = np.pad(rows, (0, (1 << (len(rows) - 1).bit_length()) - len(rows)), mode="edge")
        if measured < candidates:
            measured, nominal, found = candidates, nominal[rows], found[rows]
            continue
        candidates *= 8
        if candidates * 4 > count:
            nearest = _exhaustive(
                matrix, np.asarray(space.groups)[:count], period, jnp.asarray(rows), neighbours=neighbours
            )
            distances[rows], indices[rows] = (np.asarray(part) for part in nearest)
            break
        nominal, found = (np.asarray(x) for x in nominations_of_some(space, rows, candidates=candidates))
        measured = candidates
    return Neighbours(jnp.asarray(distances), jnp.asarray(indices))


def among(found: Neighbours, members: Any, *, neighbours: int = 2) -> Neighbours:
    """The nearest neighbours within a subsample, from those within all points: no distance is computed.

    Args:
        found: the neighbours among all points, some more than are asked for.
        members: the subsample's indices, `[member]`, each once.
        neighbours: how many are asked for.

    Returns:
        Neighbours, whose indices count the members. Where fewer than `neighbours` of a member's own are in the
        subsample, its distances are NaN and its indices -1: ask for more neighbours among all points.
    """
    place = jnp.full(len(found.distances), -1).at[members].set(jnp.arange(len(members)))
    distances, indices = found.distances[members], place[found.indices[members]]
    absent = (indices < 0) | (found.indices[members] < 0)
    first = jnp.argsort(absent, axis=1, stable=True)[:, :neighbours]
    missing = jnp.take_along_axis(absent, first, 1)
    return Neighbours(
        jnp.where(missing, jnp.nan, jnp.take_along_axis(distances, first, 1)),
        jnp.where(missing, -1, jnp.take_along_axis(indices, first, 1)),
    )


def _ranked(
    space: Space,
    points: Array,
    rows: np.ndarray,
    nominal: np.ndarray,
    found: np.ndarray,
    neighbours: int,
    period: float | None,
    mesh: Mesh | None,
) -> Any:
    """Distances and indices of the nearest candidates of some rows, and whether no other point can be nearer."""
    shards = 1 if mesh is None else mesh.devices.shape[0]
    row_bytes = 2 * points.dtype.itemsize * found.shape[1] * points.shape[1]
    block = int(np.clip(BLOCK_BYTES // row_bytes, 1, -(-len(rows) // shards)))
    return _rank_blocks(space, points, period, (rows, nominal, found), block=block, neighbours=neighbours, mesh=mesh)


@partial(jax.jit, static_argnames=("block", "neighbours", "mesh"))
def _rank_blocks(
    space: Space,
    points: Array,
    period: Any,
    candidates: tuple[Array, ...],
    *,
    block: int,
    neighbours: int,
    mesh: Mesh | None,
) -> Any:
    count, shards = len(candidates[0]), 1 if mesh is None else mesh.devices.shape[0]
    padding = -count % (block * shards)

    def divided(array: Array) -> Array:
        padded = jnp.concatenate([array, jnp.repeat(array[-1:], padding, axis=0)])
        return padded.reshape(-1, block, *padded.shape[1:])

    def share(space: Space, points: Array, blocks: tuple[Array, ...]) -> Any:
        return jax.lax.map(partial(_rank_block, space, points, period, neighbours), blocks)

    if mesh is not None:
        by_device = PartitionSpec(mesh.axis_names[0])
        specs = (PartitionSpec(), PartitionSpec(), by_device)
        share = jax.shard_map(share, mesh=mesh, in_specs=specs, out_specs=by_device, check_vma=False)
    ranked = share(space, points, tuple(divided(array) for array in candidates))
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:count], ranked)


def _rank_block(space: Space, points: Array, period: Any, neighbours: int, block: tuple[Array, ...]) -> Any:
    # Of the candidates that are measured and, where there is one, of the next.
    rows, nominal, found = block
    absent = jnp.isinf(nominal[:, : found.shape[1]])
    distance = jnp.where(absent, jnp.inf, _distance(points[rows][:, None], points[found], period))
    # Of equal distances the lower index first, so that nothing depends on the order of the candidates.
    distance, found = jax.lax.sort((distance, found), num_keys=2)
    distance, found = distance[:, :neighbours], found[:, :neighbours]
    # A nearer point outside has at most this norm; its product is off by a random walk over the features.
    farthest = distance[:, -1] / space.scale
    norm = jnp.sqrt(space.squares[rows]) + farthest
    rounding = 4 * jnp.finfo(nominal.dtype).eps * np.sqrt(space.coordinates.shape[-1]) * jnp.square(norm)
    believed = nominal[:, -1] > jnp.square(farthest) + rounding
    return distance, jnp.where(jnp.isinf(distance), -1, found), believed


@partial(jax.jit, static_argnames="neighbours")
def _exhaustive(points: Array, groups: Any, period: Any, rows: Any, *, neighbours: int) -> tuple[Array, Array]:
    """The nearest neighbours of some rows among all points, without candidates."""

    def of_row(row: Array) -> tuple[Array, Array]:
        barred = (groups != groups[row]) | (jnp.arange(len(points)) == row)
        distance = jnp.where(barred, jnp.inf, _distance(points[row][None], points, period))
        negative, found = jax.lax.top_k(-distance, neighbours)
        return -negative, jnp.where(jnp.isinf(negative), -1, found)

    return jax.lax.map(of_row, rows)


def _distance(a: Array, b: Array, period: Any) -> Array:
    """The Euclidean distance over the last axis, 0 for equal points alone: a square must not underflow."""
    difference = a - b
    if period is not None:
        difference -= period * jnp.round(difference / period)
    largest = jnp.abs(difference).max(-1)
    divisor = jnp.where(largest > 0, largest, 1)
    return largest * jnp.sqrt(jnp.square(difference / divisor[..., None]).sum(-1))
