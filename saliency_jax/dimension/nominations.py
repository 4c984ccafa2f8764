"""Candidates for the nearest neighbours, from matrix products."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, PartitionSpec

TILE_BYTES = 1 << 26
"""What the points of one tile may take."""
TILE_POINTS = 2048
"""The most points of one tile: a tile's products with another are this squared."""


class Space(NamedTuple):
    """Points as they are multiplied: centred, in [-1, 1], and in tiles, the last one padded.

    Attributes:
        coordinates: `[tile, point of the tile, feature]`.
        squares: of the points' norms, `[point]`, padding included.
        groups: a number for each point, `[point]`; -1 for padding.
        scale: what the coordinates were divided by.
    """

    coordinates: Array
    squares: Array
    groups: Array
    scale: Array


def prepared(points: Array, groups: Any, period: float | None) -> Space:
    """The space in which candidates are sought.

    On a flat torus it is that of each coordinate's circle, whose chords are shorter than its arcs: what they nominate
    is near, and what they do not is farther than they say.
    """
    count, features = points.shape
    tile = int(np.clip(TILE_BYTES // (points.dtype.itemsize * features), 16, TILE_POINTS))
    tile = min(tile, -(-count // 4))
    groups = np.zeros(count, int) if groups is None else jnp.unique(jnp.asarray(groups), return_inverse=True)[1]
    return _prepared(points, groups, period, tile=tile)


@partial(jax.jit, static_argnames="tile")
def _prepared(points: Array, groups: Array, period: Any, *, tile: int) -> Space:
    if period is not None:
        angles = points * (2 * jnp.pi / period)
        points = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=1) * (period / (2 * jnp.pi))
    count = len(points)
    # As a product, the mean is one pass over the points on all cores.
    centre = jnp.matmul(jnp.full((1, count), 1 / count, points.dtype), points, precision=jax.lax.Precision.HIGHEST)
    # Squares of very large and very small coordinates leave the range of float32.
    scale = jnp.abs(points - centre).max()
    padding = -count % tile
    coordinates = jnp.pad((points - centre) / scale, ((0, padding), (0, 0)))
    return Space(
        coordinates.reshape(-1, tile, coordinates.shape[1]),
        jnp.square(coordinates).sum(1),
        jnp.pad(groups, (0, padding), constant_values=-1),
        scale,
    )


@partial(jax.jit, static_argnames=("candidates", "mesh"))
def nominations_of_all(space: Space, *, candidates: int, mesh: Mesh | None) -> tuple[Array, Array]:
    """Every point's candidates, from each pair of tiles once: products are symmetric.

    Returns:
        Squared distances in the space's unit, smallest first, infinite where there are too few, and the points,
        `[point, candidate]`, padding included.
    """
    tiles = len(space.coordinates)
    pairs = np.stack(np.triu_indices(tiles), axis=1)
    if mesh is None:
        return _from_pairs(space, jnp.asarray(pairs), candidates)
    devices = mesh.devices.shape[0]
    # Dealt in turn; a pair that is dealt twice would nominate its points twice, so that what is missing is padding's.
    padding = np.full((-len(pairs) % devices, 2), -1)
    dealt = jnp.asarray(np.concatenate([pairs, padding]).reshape(-1, devices, 2).swapaxes(0, 1))
    axis = PartitionSpec(mesh.axis_names[0])
    share = jax.shard_map(
        lambda space, pairs: jax.tree.map(lambda part: part[None], _from_pairs(space, pairs[0], candidates)),
        mesh=mesh,
        in_specs=(PartitionSpec(), axis),
        out_specs=axis,
        check_vma=False,
    )
    nominal, found = (jnp.moveaxis(part, 0, 1).reshape(len(space.squares), -1) for part in share(space, dealt))
    return _nearest(nominal, found, candidates)


@partial(jax.jit, static_argnames="candidates")
def nominations_of_some(space: Space, rows: Any, *, candidates: int) -> tuple[Array, Array]:
    """The candidates of some points among all, tile by tile, as `nominations_of_all` gives them."""
    tile = space.coordinates.shape[1]
    flat = space.coordinates.reshape(-1, space.coordinates.shape[2])

    def of_row(row: Array) -> tuple[Array, Array]:
        products = jnp.matmul(space.coordinates, flat[row], precision=jax.lax.Precision.HIGHEST).reshape(-1)
        nominal = space.squares[row] + space.squares - 2 * products
        everyone = jnp.arange(len(space.squares))
        barred = (space.groups != space.groups[row]) | (everyone == row)
        return _nearest(jnp.where(barred, jnp.inf, nominal), everyone, candidates)

    return jax.lax.map(of_row, jnp.asarray(rows), batch_size=min(tile, 16))


def _from_pairs(space: Space, pairs: Array, candidates: int) -> tuple[Array, Array]:
    """Every point's candidates among the tiles that its own is paired with."""
    tile = space.coordinates.shape[1]
    squares, groups = space.squares.reshape(-1, tile), space.groups.reshape(-1, tile)

    def met(best: tuple[Array, Array], pair: Array) -> tuple[tuple[Array, Array], None]:
        a, b = pair
        products = jax.lax.dot_general(
            space.coordinates[a],
            space.coordinates[b],
            (((1,), (1,)), ((), ())),
            precision=jax.lax.Precision.HIGHEST,
        )
        nominal = squares[a][:, None] + squares[b][None] - 2 * products
        rows, columns = (number * tile + jnp.arange(tile) for number in pair)
        barred = (groups[a][:, None] != groups[b][None]) | (rows[:, None] == columns[None]) | (a < 0)
        nominal = jnp.where(barred, jnp.inf, nominal)
        best = _merged(best, a, nominal, columns, candidates)
        # A tile with itself has met all its points already.
        mirrored = jnp.where(a == b, jnp.inf, nominal.T)
        return _merged(best, b, mirrored, rows, candidates), None

    shape = (len(space.coordinates), tile, candidates)
    start = jnp.full(shape, jnp.inf, squares.dtype), jnp.zeros(shape, int)
    nominal, found = jax.lax.scan(met, start, pairs)[0]
    return nominal.reshape(-1, candidates), found.reshape(-1, candidates)


def _merged(
    best: tuple[Array, Array], tile: Array, nominal: Array, points: Array, candidates: int
) -> tuple[Array, Array]:
    """One tile's candidates after it has met some more points."""
    together = jnp.concatenate([best[0][tile], nominal], axis=1)
    found = jnp.concatenate([best[1][tile], jnp.broadcast_to(points, nominal.shape)], axis=1)
    nominal, found = _nearest(together, found, candidates)
    return best[0].at[tile].set(nominal), best[1].at[tile].set(found)


def _nearest(nominal: Array, points: Array, candidates: int) -> tuple[Array, Array]:
    negative, place = jax.lax.top_k(-nominal, candidates)
    return -negative, jnp.take_along_axis(points, place, -1)
