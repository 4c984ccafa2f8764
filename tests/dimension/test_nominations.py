"""Tiles, products that are spoilt, and devices: what nominates candidates changes no neighbour."""

from pathlib import Path

import dimension_by_hand as by_hand
import jax.numpy as jnp
import numpy as np
import pytest
from eight_devices import run_on_eight_devices

from saliency_jax.dimension import nearest_neighbours, neighbours, nominations


def gaussian(count, features, seed=0):
    return np.random.default_rng(seed).normal(size=(count, features)).astype(np.float32)


def assert_exact(found, points, **options):
    distances, indices = by_hand.sorted_neighbours(points, found.distances.shape[1], **options)
    np.testing.assert_allclose(found.distances, distances, rtol=2e-6)
    np.testing.assert_array_equal(found.indices, np.where(np.isinf(distances), -1, indices))


@pytest.mark.parametrize(
    ("count", "points_of_a_tile", "bytes_of_a_tile"),
    [(131, 16, 1 << 20), (128, 32, 1 << 20), (97, 1, 1 << 20), (103, 2048, 1), (65, 64, 1 << 20)],
)
def test_tiles_of_any_size_give_every_neighbour(monkeypatch, count, points_of_a_tile, bytes_of_a_tile):
    monkeypatch.setattr(nominations, "TILE_POINTS", points_of_a_tile)
    monkeypatch.setattr(nominations, "TILE_BYTES", bytes_of_a_tile)
    points = gaussian(count, 4, seed=count)
    tiles, tile, _ = nominations.prepared(jnp.asarray(points), None, None).coordinates.shape
    assert tiles >= 4
    assert tiles * tile >= count > (tiles - 1) * tile
    assert_exact(nearest_neighbours(points, neighbours=3), points)


def test_blocks_of_one_row_give_every_neighbour(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 1)
    points = gaussian(61, 4)
    assert_exact(nearest_neighbours(points), points)


def test_nominations_are_the_nearest_by_products():
    points = gaussian(120, 4)
    space = nominations.prepared(jnp.asarray(points), None, None)
    nominal, found = nominations.nominations_of_all(space, candidates=6, mesh=None)
    distances, indices = by_hand.sorted_neighbours(points, 6)
    np.testing.assert_array_equal(found[:120], indices)
    np.testing.assert_allclose(np.sqrt(nominal[:120]) * space.scale, distances, rtol=1e-4)
    some = nominations.nominations_of_some(space, np.array([3, 119, 50]), candidates=6)
    np.testing.assert_array_equal(some[1], indices[[3, 119, 50]])


@pytest.fixture
def searched_again(monkeypatch):
    """The rows that were searched again, each time: among more candidates, and at the end among all points."""
    rows = []

    def recorded(search, place):
        def recording(*arguments, **options):
            rows.append(set(np.asarray(arguments[place]).tolist()))
            return search(*arguments, **options)

        return recording

    monkeypatch.setattr(neighbours, "nominations_of_some", recorded(neighbours.nominations_of_some, 1))
    monkeypatch.setattr(neighbours, "_exhaustive", recorded(neighbours._exhaustive, 3))
    return rows


@pytest.mark.parametrize("kind", ["gaussian", "many copies", "copies", "lattice"])
def test_products_in_bfloat16_change_no_neighbour(monkeypatch, searched_again, kind):
    """Three digits of a coordinate are left, and the products' own precision says how far they can be believed."""
    prepare = nominations.prepared

    def rounded(*arguments):
        space = prepare(*arguments)
        return space._replace(
            coordinates=space.coordinates.astype(jnp.bfloat16), squares=space.squares.astype(jnp.bfloat16)
        )

    monkeypatch.setattr(neighbours, "prepared", rounded)
    points = {
        "gaussian": gaussian(150, 5, seed=1),
        # More copies of one point than the second search has candidates.
        "many copies": gaussian(250, 5, seed=1)[np.maximum(np.arange(250) - 100, 0)],
        "copies": gaussian(75, 5, seed=2)[np.arange(150) % 75],
        "lattice": by_hand.lattice(6, 3)[:150].astype(np.float32),
    }[kind]
    assert_exact(nearest_neighbours(points), points)
    # The first candidates alone would not have been enough.
    assert len(searched_again) == (2 if kind == "many copies" else 1)
    assert len(searched_again[0]) > 10


def test_ties_beyond_the_first_measured_are_decided_among_the_candidates_that_there_are(monkeypatch, searched_again):
    """Clusters of five points, all as far from each other: of four equal neighbours two are asked for."""
    widths, rank = [], neighbours._ranked

    def recording(*arguments):
        widths.append((len(arguments[2]), arguments[4].shape[1]))
        return rank(*arguments)

    monkeypatch.setattr(neighbours, "_ranked", recording)
    points = (np.eye(5)[None] + 50 * np.arange(12)[:, None, None]).reshape(60, 5).astype(np.float32)
    assert_exact(nearest_neighbours(points), points)
    assert widths == [(60, 3), (64, 6)] and searched_again == []


def test_random_candidates_with_uncertain_products_are_all_searched_again(monkeypatch, searched_again):
    """Where the farthest candidate is no farther than the neighbours found, nothing is believed."""
    nominate = nominations.nominations_of_all

    def arbitrary(space, *, candidates, mesh):
        nominal, found = nominate(space, candidates=candidates, mesh=mesh)
        others = (jnp.arange(len(found))[:, None] + 1 + jnp.arange(candidates)[None]) % 140
        return jnp.zeros_like(nominal), others

    monkeypatch.setattr(neighbours, "nominations_of_all", arbitrary)
    points = gaussian(140, 5, seed=3)
    assert_exact(nearest_neighbours(points), points)
    assert searched_again[0] == set(range(140))


def test_points_well_apart_are_searched_once(searched_again):
    nearest_neighbours(gaussian(150, 5, seed=1))
    assert not searched_again


def test_only_rows_within_the_products_rounding_are_searched_again(searched_again):
    # Thirty points within a millionth of one another, which float32 products of coordinates near 1 cannot tell apart.
    points = gaussian(150, 3, seed=4)
    points[:30] = points[0] + np.float32(1e-6) * gaussian(30, 3, seed=5)
    assert_exact(nearest_neighbours(points), points)
    # Besides them at most those whose first candidates are all of them.
    assert set(range(30)) <= searched_again[0]
    assert len(searched_again[0]) < 35


ON_EIGHT_DEVICES = """
import sys; sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from jax.sharding import Mesh
from test_nominations import assert_exact, gaussian
from saliency_jax.dimension import nearest_neighbours
assert jax.device_count() == 8
devices = np.array(jax.devices())
line, square = Mesh(devices, ("points",)), Mesh(devices.reshape(4, 2), ("points", "model"))
groups = np.arange(101) % 3
copies = gaussian(101, 4)
copies[:40] = copies[50]
for mesh in (line, square):
    assert_exact(nearest_neighbours(gaussian(101, 4), neighbours=3, mesh=mesh), gaussian(101, 4))
assert_exact(nearest_neighbours(copies, neighbours=3, mesh=line), copies)
found = nearest_neighbours(copies, neighbours=3, groups=groups, mesh=line)
assert_exact(found, copies, groups=groups)
torus = np.abs(gaussian(101, 4)) % 1
assert_exact(nearest_neighbours(torus, neighbours=3, period=1.0, mesh=line), torus, period=1.0)
print("done")
"""


@pytest.mark.slow
def test_eight_devices_give_the_same_neighbours():
    run_on_eight_devices(ON_EIGHT_DEVICES, Path(__file__).parent)
