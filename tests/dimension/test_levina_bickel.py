"""Levina-Bickel against its formula, in closed form, and what must not change it."""

import dimension_by_hand as by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.dimension import Neighbours, levina_bickel, nearest_neighbours

COUNT = 300
POINTS = np.random.default_rng(0).normal(size=(COUNT, 6))
SETS = {
    "gaussian": POINTS,
    "lattice": by_hand.lattice(10, 3)[np.random.default_rng(3).permutation(1000)[:COUNT]],
    "copies": np.concatenate([POINTS, POINTS[:30], POINTS[:1]]),
}


@pytest.mark.parametrize("neighbours", [3, 20])
@pytest.mark.parametrize("name", list(SETS))
def test_estimates_are_those_of_the_formula(name, neighbours):
    with jax.enable_x64(True):
        found = levina_bickel(SETS[name], neighbours=neighbours)
        unbiased = levina_bickel(SETS[name], neighbours=neighbours, unbiased=True)
    expected = by_hand.levina_bickel_mean(SETS[name], neighbours)
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)
    shrunk = (neighbours - 2) / (neighbours - 1)
    for part in ("value", "low", "high", "error"):
        np.testing.assert_allclose(getattr(unbiased, part), shrunk * getattr(found, part), rtol=1e-10)
    np.testing.assert_allclose(found.error, expected / np.sqrt(COUNT * (neighbours - 1)), rtol=1e-10)
    assert (found.points, found.duplicates) == (COUNT, 61 if name == "copies" else 0)
    distances = np.sort(by_hand.all_distances(by_hand.distinct(SETS[name])), axis=1)[:, :neighbours]
    np.testing.assert_allclose(found.scale, distances.mean(), rtol=1e-10)


def test_float32_agrees():
    found = levina_bickel(POINTS.astype(np.float32)).value
    np.testing.assert_allclose(found, by_hand.levina_bickel_mean(POINTS, 20), rtol=1e-5)


def test_distances_in_a_geometric_series_have_a_closed_form():
    # log(r_20 / r_j) = c (20 - j), whose mean over j < 20 is 10 c.
    c = 0.03
    with jax.enable_x64(True):
        distances = jnp.tile(jnp.exp(c * jnp.arange(20.0))[None], (COUNT, 1))
        found = levina_bickel(Neighbours(distances, jnp.zeros((COUNT, 20), int)))
    np.testing.assert_allclose(found.value, 1 / (10 * c), rtol=1e-10)


def test_a_flat_torus_has_its_dimension_and_follows_the_model():
    torus = np.random.default_rng(5).random((COUNT, 3)).astype(np.float32)
    found = levina_bickel(nearest_neighbours(torus, neighbours=20, period=1.0))
    assert abs(found.value - 3) < 4 * 1.3 * found.error
    assert found.fit > 0.99
    two = np.concatenate([np.linspace(0, 1, 150)[:, None] ** 2 * np.ones((1, 6)), 10 + POINTS[150:]])
    assert levina_bickel(two.astype(np.float32)).fit < found.fit


@pytest.mark.parametrize("change", [lambda x: 1e20 * x, lambda x: by_hand.isometric(x, 7), lambda x: x[::-1] + 2])
def test_what_keeps_ratios_of_distances_keeps_the_estimate(change):
    found, expected = (levina_bickel(x.astype(np.float32)) for x in (change(POINTS), POINTS))
    np.testing.assert_allclose(found[:4] + found[5:7], expected[:4] + expected[5:7], rtol=1e-4)


@pytest.mark.parametrize(
    ("points", "options", "error", "match"),
    [
        (POINTS, {"neighbours": 2}, ValueError, "neighbours must be at least 3, got 2"),
        (POINTS, {"neighbours": 300}, ValueError, "fewer than the 300 points, got 300"),
        (POINTS, {"confidence": 0}, ValueError, "confidence must be between 0 and 1, got 0"),
        (np.tile(POINTS[:20], (15, 1)), {}, ValueError, "more than 20 distinct ones to have 20 neighbours, got 20"),
        (np.where(POINTS > 2, np.nan, POINTS), {}, ValueError, r"points must be finite, found \d+ NaN"),
        (POINTS.astype(int), {}, TypeError, "points must be floating point, got int"),
        (np.zeros((50, 2)), {}, ValueError, "points must not all be equal, got 50 copies"),
    ],
)
def test_what_has_no_estimate_is_named(as_a_user, points, options, error, match):
    with pytest.raises(error, match=match):
        levina_bickel(points, **options)


def test_neighbours_among_copies_are_refused():
    with pytest.raises(ValueError, match="must be among distinct points, but 61 have a copy: pass points"):
        levina_bickel(nearest_neighbours(SETS["copies"], neighbours=20))
