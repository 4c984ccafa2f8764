"""Neighbours against all distances in float64 and SciPy's trees."""

import dimension_by_hand as by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from saliency_jax.dimension import among, nearest_neighbours

EPS = float(np.finfo(np.float32).eps)


def gaussian(count, features, seed=0):
    return np.random.default_rng(seed).normal(size=(count, features)).astype(np.float32)


def clusters(width):
    """Ten clusters of twenty points, their centres 1 apart, each as wide as it says."""
    centres = np.random.default_rng(1).normal(size=(10, 1, 3))
    return (centres + width * np.random.default_rng(2).normal(size=(10, 20, 3))).reshape(200, 3)


def copies():
    points = gaussian(200, 3, seed=3)
    # More copies of one point than candidates, two pairs, and zeros of both signs.
    points[10:60] = points[0]
    points[70], points[90] = points[80], points[100]
    points[110], points[111] = 0.0, -0.0
    return points


SETS = {
    "one feature": gaussian(201, 1),
    "three features": gaussian(200, 3),
    "more features than points": gaussian(37, 90),
    "odd": gaussian(173, 5),
    "copies": copies(),
    "lattice": by_hand.lattice(6, 3).astype(np.float32),
    "powers": (2.0 ** np.arange(-40, 40)[:, None]).astype(np.float32),
    "1e25": 1e25 * gaussian(200, 3),
    "1e-25": 1e-25 * gaussian(200, 3),
    "one far away": np.concatenate([gaussian(199, 3), np.full((1, 3), 1e20, np.float32)]),
    "offset": gaussian(200, 3) + np.float32(1e4),
    "clusters": clusters(1e-6).astype(np.float32),
    "images": gaussian(200, 12).reshape(200, 2, 3, 2),
}


@pytest.mark.parametrize(
    ("name", "neighbours"), [*((name, 3) for name in SETS), ("three features", 11), ("copies", 11)]
)
def test_distances_are_exact_and_no_other_point_is_nearer(name, neighbours):
    points = SETS[name]
    found = nearest_neighbours(points, neighbours=neighbours)
    everything = by_hand.all_distances(points)
    expected = np.sort(everything, axis=1)[:, :neighbours]
    bound = 4 * EPS * np.sqrt(points[0].size)
    np.testing.assert_allclose(found.distances, expected, rtol=bound)
    # The points named are at the distances named, each once, none itself.
    np.testing.assert_allclose(np.take_along_axis(everything, np.asarray(found.indices), 1), expected, rtol=bound)
    assert all(len(set(row)) == neighbours for row in np.asarray(found.indices).tolist())
    assert found.distances.dtype == np.float32
    # 0 where rows are equal, and nowhere else.
    np.testing.assert_array_equal(found.distances == 0, expected == 0)


@pytest.mark.parametrize("name", ["lattice", "copies"])
def test_of_equally_near_points_the_first_are_named(name):
    found = nearest_neighbours(SETS[name], neighbours=3)
    _, expected = by_hand.sorted_neighbours(SETS[name], 3)
    np.testing.assert_array_equal(found.indices, expected)


def test_double_precision_is_that_of_a_tree():
    points = np.random.default_rng(4).normal(size=(200, 3))
    with jax.enable_x64(True):
        found = nearest_neighbours(points, neighbours=3)
        distances, indices = cKDTree(points).query(points, k=4)
        np.testing.assert_allclose(found.distances, distances[:, 1:], rtol=1e-14)
        np.testing.assert_array_equal(found.indices, indices[:, 1:])


def test_clusters_a_million_times_farther_apart_than_wide_keep_their_digits():
    # Given in float64, in which they are still distinct; in float32 the neighbours are those of what is left of them.
    points = clusters(1e-6)
    with jax.enable_x64(True):
        found = nearest_neighbours(points, neighbours=3)
    distances, indices = by_hand.sorted_neighbours(points, 3)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-9)
    np.testing.assert_array_equal(found.indices, indices)


def test_float64_points_with_a_large_mean_keep_their_distances_in_float32():
    points = np.random.default_rng(5).normal(size=(200, 3)) + 1e7
    found = nearest_neighbours(points, neighbours=3)
    assert found.distances.dtype == np.float32
    np.testing.assert_allclose(found.distances, by_hand.sorted_neighbours(points, 3)[0], rtol=1e-5, atol=1e-6)


def test_one_float64_point_far_away_takes_no_digits_from_the_others():
    points = np.concatenate([np.random.default_rng(14).normal(size=(199, 3)), np.full((1, 3), 1e20)])
    found = nearest_neighbours(points, neighbours=3)
    np.testing.assert_allclose(found.distances, by_hand.sorted_neighbours(points, 3)[0], rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_searched_in_single(dtype):
    points = jnp.asarray(gaussian(200, 3), dtype)
    found = nearest_neighbours(points, neighbours=3)
    assert found.distances.dtype == jnp.float32
    np.testing.assert_allclose(found.distances, by_hand.sorted_neighbours(points, 3)[0], rtol=1e-6)


@pytest.mark.parametrize(("features", "period"), [(1, 1.0), (3, 1.0), (3, 0.25), (12, 5.0)])
def test_distances_on_a_flat_torus_are_those_of_a_periodic_tree(features, period):
    points = (period * np.random.default_rng(6).random((200, features))).astype(np.float32)
    found = nearest_neighbours(points, neighbours=3, period=period)
    # A tree takes coordinates under the period; a float32 product may round up to it.
    wrapped = np.where(points < period, points, 0).astype(np.float64)
    distances, indices = cKDTree(wrapped, boxsize=period).query(wrapped, k=4)
    np.testing.assert_allclose(found.distances, distances[:, 1:], rtol=1e-5, atol=2 * EPS * period)
    np.testing.assert_allclose(found.distances, by_hand.sorted_neighbours(points, 3, period=period)[0], rtol=1e-4)
    assert (np.asarray(found.indices) == indices[:, 1:]).mean() > 0.99


def test_whole_periods_change_nothing():
    points = np.random.default_rng(7).random((200, 3)).astype(np.float32)
    moved = points + 4 * np.random.default_rng(8).integers(-2, 3, points.shape).astype(np.float32)
    here, there = (nearest_neighbours(x, period=4.0) for x in (points, moved))
    np.testing.assert_allclose(there.distances, here.distances, atol=1e-5)


GROUPS = np.random.default_rng(9).choice([-7, 3, 1000], 197)


def test_neighbours_are_of_the_points_own_group():
    points = gaussian(200, 3)
    # Besides, a group of two and one of one.
    groups = np.concatenate([GROUPS, [5, 5, 6]])
    found = nearest_neighbours(points, neighbours=3, groups=groups)
    distances, indices = by_hand.sorted_neighbours(points, 3, groups=groups)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-5)
    np.testing.assert_array_equal(found.indices, np.where(np.isinf(distances), -1, indices))
    assert np.isinf(found.distances[197:]).sum() == 2 + 2 + 3


def test_numbers_of_groups_are_names_only():
    points = gaussian(200, 3)
    groups = np.arange(200) % 3
    one, other = (nearest_neighbours(points, neighbours=3, groups=g) for g in (groups, 1000 - 7 * groups))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_as_many_neighbours_as_other_points_are_all_of_them():
    points = gaussian(23, 2)
    found = nearest_neighbours(points, neighbours=22)
    np.testing.assert_array_equal(np.sort(found.indices), [np.delete(np.arange(23), i) for i in range(23)])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_handful_of_points_has_neighbours(count):
    points = gaussian(count, 2, seed=count)
    found = nearest_neighbours(points, neighbours=count - 1)
    np.testing.assert_array_equal(found.indices, by_hand.sorted_neighbours(points, count - 1)[1])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"neighbours": 0}, "neighbours must be at least 1 and fewer than the 30 points, got 0"),
        ({"neighbours": 30}, "neighbours must be at least 1 and fewer than the 30 points, got 30"),
        ({"groups": np.zeros(29, int)}, r"groups must hold one number for each of the 30 points, got shape \(29,\)"),
        ({"groups": np.zeros((30, 1), int)}, r"groups must hold .* got shape \(30, 1\)"),
        ({"period": 0.0}, "period must be positive and finite, got 0.0"),
        ({"period": -1.0}, "period must be positive and finite, got -1.0"),
        ({"period": np.inf}, "period must be positive and finite, got inf"),
        ({"period": np.nan}, "period must be positive and finite, got nan"),
    ],
)
def test_what_cannot_be_searched_is_named(as_a_user, options, match):
    with pytest.raises(ValueError, match=match):
        nearest_neighbours(gaussian(30, 2), **options)


@pytest.mark.parametrize("members", [np.arange(0, 200, 2), np.random.default_rng(10).permutation(200)[:100]])
def test_neighbours_within_a_subsample_are_those_searched_anew(members):
    points = gaussian(200, 3)
    kept = among(nearest_neighbours(points, neighbours=60), members)
    anew = nearest_neighbours(points[members])
    np.testing.assert_allclose(kept.distances, anew.distances, rtol=1e-6)
    np.testing.assert_array_equal(kept.indices, anew.indices)


def test_a_subsample_misses_what_was_not_searched():
    points = gaussian(200, 3)
    members = np.arange(0, 200, 2)
    found = nearest_neighbours(points, neighbours=3)
    kept = among(found, members)
    present = np.isin(found.indices, members).sum(1)[members]
    np.testing.assert_array_equal(np.isnan(kept.distances).sum(1), np.maximum(2 - present, 0))
    np.testing.assert_array_equal(np.isnan(kept.distances), np.asarray(kept.indices) == -1)
    assert 0 < np.isnan(kept.distances).sum() < kept.distances.size
    anew = nearest_neighbours(points[members])
    there = ~np.isnan(kept.distances)
    np.testing.assert_allclose(kept.distances[there], anew.distances[there], rtol=1e-6)
