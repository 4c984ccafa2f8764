"""Gride against the maximum of the paper's likelihood, and what must not change it."""

import dimension_by_hand as by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.dimension import Neighbours, gride, nearest_neighbours, two_nn

COUNT = 300
RANGES = [1, (2, 4), (3, 7)]
PAIRS = [(1, 2), (2, 4), (3, 7)]


def gaussian(features, seed=0):
    return np.random.default_rng(seed).normal(size=(COUNT, features))


SETS = {
    "gaussian": gaussian(6),
    "curve": np.sort(np.random.default_rng(1).random((COUNT, 1)), axis=0) ** 2,
    "lattice": by_hand.lattice(10, 3)[np.random.default_rng(3).permutation(1000)[:COUNT]],
    "copies": np.concatenate([gaussian(6, seed=2), gaussian(6, seed=2)[:30], gaussian(6, seed=2)[:1]]),
}


@pytest.mark.slow
@pytest.mark.parametrize("outlier", [20.0, 2.0, None])
@pytest.mark.parametrize("name", list(SETS))
def test_estimates_and_errors_are_those_of_the_likelihood(name, outlier):
    with jax.enable_x64(True):
        found = gride(SETS[name], ranges=RANGES, outlier=outlier)
    for place, (near, far) in enumerate(PAIRS):
        logs = by_hand.gride_logs(SETS[name], near, far, outlier)
        if name == "lattice" and (logs == 0).any() and far - near > 1:
            continue  # The density of ratios of 1 is 0 there: no likelihood to maximize.
        value = by_hand.gride_maximum(logs, near, far)
        # As in DADApy, of all points, those that are left out too.
        error = by_hand.gride_error(value, by_hand.gride_logs(SETS[name], near, far, None), near, far)
        np.testing.assert_allclose(found.value[place], value, rtol=1e-6)
        np.testing.assert_allclose(found.error[place], error, rtol=1e-5)
        assert found.points[place] == len(logs)
        distances = np.sort(by_hand.all_distances(by_hand.distinct(SETS[name])), axis=1)
        np.testing.assert_allclose(found.scale[place], distances[:, [near - 1, far - 1]].mean(), rtol=1e-12)
    assert found.duplicates == (61 if name == "copies" else 0)


def test_the_first_range_is_two_nn_by_likelihood():
    with jax.enable_x64(True):
        found, expected = gride(SETS["gaussian"], ranges=[1], outlier=None), two_nn(SETS["gaussian"], method="ml")
    np.testing.assert_allclose(found.value[0], expected.value, rtol=1e-9)


def test_copies_are_counted_once_each():
    with jax.enable_x64(True):
        found, expected = (gride(SETS["copies"][:end], ranges=RANGES) for end in (None, COUNT))
    for name in ("value", "low", "high", "points", "fit", "error", "scale"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, err_msg=name)
    assert expected.duplicates == 0


def test_one_ratio_for_all_points_has_a_closed_form():
    # At (1, 2) the slope of the likelihood is (N - 1) / d - N log mu.
    distances = jnp.tile(jnp.array([[1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]]), (COUNT, 1))
    with jax.enable_x64(True):
        found = gride(Neighbours(distances.astype(float), jnp.zeros((COUNT, 7), int)), ranges=[1], outlier=None)
    np.testing.assert_allclose(found.value, (COUNT - 1) / (COUNT * np.log(1.5)), rtol=1e-9)


@pytest.mark.parametrize("outlier", [20.0, None])
def test_a_likelihood_without_a_maximum_gives_nan(outlier):
    # On a lattice the first two neighbours of every point are equally far.
    found = gride(by_hand.lattice(18, 2)[:COUNT].astype(np.float32), ranges=[1], outlier=outlier)
    assert np.isnan([found.value, found.low, found.high]).all()


@pytest.mark.slow
@pytest.mark.parametrize("change", [lambda x: 1e20 * x, lambda x: by_hand.isometric(x, 7), lambda x: x[::-1] + 2])
def test_what_keeps_ratios_of_distances_keeps_the_estimates(change):
    found, expected = (gride(x.astype(np.float32), ranges=RANGES) for x in (change(SETS["gaussian"]), SETS["gaussian"]))
    for name in ("value", "low", "high", "points", "fit", "error"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=2e-4, err_msg=name)


def test_the_model_fits_uniform_points_and_not_a_set_with_two_dimensions():
    torus = np.random.default_rng(5).random((COUNT, 3)).astype(np.float32)
    uniform = gride(nearest_neighbours(torus, neighbours=7, period=1.0), ranges=RANGES)
    assert (np.abs(uniform.value - 3) < 4 * 1.3 * uniform.error).all()
    assert (uniform.fit > 0.99).all()
    mixed = np.concatenate([SETS["curve"][:150] * np.ones((1, 6)), 10 + gaussian(6, seed=6)[150:]])
    assert (gride(mixed.astype(np.float32), ranges=RANGES).fit < uniform.fit).all()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"ranges": []}, ValueError, r"ranges must be neighbours 1 <= k1 < k2, or k for \(k, 2k\), got \[\]"),
        ({"ranges": [0]}, ValueError, r"ranges must be .* got \[0\]"),
        ({"ranges": [(3, 3)]}, ValueError, r"ranges must be .* got \[\(3, 3\)\]"),
        ({"ranges": [(1, 2, 3)]}, ValueError, r"ranges must be .* got \[\(1, 2, 3\)\]"),
        ({"ranges": [200]}, ValueError, "neighbours must be at least 1 and fewer than the 300 points, got 400"),
        ({"outlier": 0.0}, ValueError, "outlier must be positive or None, got 0.0"),
        ({"outlier": np.nan}, ValueError, "outlier must be positive or None, got nan"),
        ({"confidence": 1.0}, ValueError, "confidence must be between 0 and 1, got 1.0"),
    ],
)
def test_options_out_of_range_are_named(as_a_user, options, error, match):
    with pytest.raises(error, match=match):
        gride(SETS["gaussian"], **options)


@pytest.mark.slow
def test_points_that_cannot_be_used_are_named(as_a_user):
    with pytest.raises(ValueError, match=r"more than 64 distinct ones .* got 20 \(300 of 300 have a copy\)"):
        gride(np.tile(gaussian(3)[:20], (15, 1)))
    with pytest.raises(ValueError, match="must be among distinct points, but 61 have a copy: pass points"):
        gride(nearest_neighbours(SETS["copies"], neighbours=7), ranges=RANGES)
    with pytest.raises(ValueError, match="must hold at least 7 for each point, got 6"):
        gride(nearest_neighbours(SETS["gaussian"], neighbours=6), ranges=RANGES)
    with pytest.raises(TypeError, match="points must be floating point, got int"):
        gride(SETS["gaussian"].astype(int))
