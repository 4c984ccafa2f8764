"""Principal components against NumPy's singular values in float64, and the Gaussian of equal covariance."""

import dimension_by_hand as by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from saliency_jax.dimension import gaussian_control, nearest_neighbours, pca_dimension, spectrum

draw = np.random.default_rng(0).normal


def with_constant_columns():
    points = draw(size=(60, 8))
    # A mean of equal numbers differs from them by rounding.
    points[:, 2], points[:, 5] = 0.1, 1e5 + 0.3
    return points


SETS = {
    "more points": draw(size=(60, 8)) * np.geomspace(1, 0.01, 8),
    "more features": draw(size=(30, 70)) * np.geomspace(1, 0.01, 70),
    "square": draw(size=(20, 20)),
    "of lower rank": draw(size=(60, 3)) @ draw(size=(3, 8)),
    "constant columns": with_constant_columns(),
    "copies": np.repeat(draw(size=(15, 4)), 4, axis=0),
    "images": draw(size=(60, 2, 2, 2)),
}


def standardized(points):
    points = points.reshape(len(points), -1)
    constant = (points == points[:1]).all(0)
    return np.where(constant, 0, (points - points.mean(0)) / np.where(constant, 1, points.std(0)))


def variances(points, scaled):
    points = standardized(points) if scaled else points.reshape(len(points), -1)
    return np.linalg.svd(points - points.mean(0), compute_uv=False) ** 2 / (len(points) - 1)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("precise", "bound"), [(True, 1e-12), (False, 1e-5)])
@pytest.mark.parametrize("name", list(SETS))
def test_variances_and_coordinates_are_those_of_the_singular_values(name, precise, bound, scaled):
    points = SETS[name]
    expected = variances(points, scaled)
    with jax.enable_x64(precise):
        found = spectrum(points, standardized=scaled)
    np.testing.assert_allclose(found.variances, expected, rtol=0, atol=bound * expected.max())
    assert found.coordinates.shape == (len(points), min(len(points), points[0].size))
    # Coordinates on the components keep all scalar products, and are uncorrelated.
    matrix = standardized(points) if scaled else points.reshape(len(points), -1)
    matrix = matrix - matrix.mean(0)
    coordinates = np.asarray(found.coordinates, np.float64)
    allowed = 10 * bound * len(points) * expected.max()
    np.testing.assert_allclose(coordinates @ coordinates.T, matrix @ matrix.T, rtol=0, atol=allowed)
    covariance = coordinates.T @ coordinates / (len(points) - 1)
    np.testing.assert_allclose(covariance, np.diag(expected), rtol=0, atol=allowed)


@pytest.mark.parametrize("variance", [0.3, 0.85, 0.999])
@pytest.mark.parametrize("name", ["more points", "more features", "constant columns"])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_count_is_the_first_whose_share_is_larger(name, variance, scaled):
    share = np.cumsum(variances(SETS[name], scaled)) / variances(SETS[name], scaled).sum()
    expected = int(np.sum(share <= variance)) + 1
    found = pca_dimension(SETS[name], variance=variance, standardized=scaled)
    assert found.value == expected
    assert found.low <= expected <= found.high
    np.testing.assert_allclose(found.fit, share[expected - 1], rtol=1e-5)
    from_zero = pca_dimension(SETS[name], variance=variance, standardized=scaled, zero_based=True)
    assert (from_zero.value, from_zero.low, from_zero.high) == (expected - 1, found.low - 1, found.high - 1)
    again = pca_dimension(spectrum(SETS[name], standardized=scaled), variance=variance)
    np.testing.assert_array_equal(np.array(again, float), np.array(found, float))


def test_a_share_that_is_just_reached_is_not_enough():
    # Four equal variances: three carry 0.75, which is not more than 0.75.
    points = np.concatenate([np.eye(4), -np.eye(4)]).astype(np.float32)
    assert pca_dimension(points, variance=0.74).value == 3
    assert pca_dimension(points, variance=0.76).value == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda x: 1e25 * x,
        lambda x: 1e-25 * x,
        lambda x: x * np.geomspace(1e-6, 1e6, 8),
        lambda x: x + 100,
        lambda x: x[::-1, ::-1],
        lambda x: np.concatenate([x, np.full((60, 1), 0.1)], axis=1),
    ],
)
def test_the_standardized_count_does_not_depend_on_units(change):
    points = draw(size=(60, 3)) @ draw(size=(3, 8)) + 0.1 * draw(size=(60, 8))
    found, expected = (pca_dimension(x.astype(np.float32)) for x in (change(points), points))
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    np.testing.assert_allclose(found.fit, expected.fit, rtol=1e-4)


def test_intervals_hold_the_count_where_the_share_is_at_its_threshold():
    """Of these variances two carry just less than is asked for, so that half of all samples count two, not three."""
    deviations, asked = np.sqrt([0.6, 0.29, 0.08, 0.03]), 0.891
    random = np.random.default_rng(3)
    found = [
        pca_dimension(random.normal(size=(500, 4)) * deviations, variance=asked, standardized=False) for _ in range(200)
    ]
    values = np.array([one.value for one in found])
    assert 50 < np.sum(values == 2) < 150
    hits = sum(one.low <= 3 <= one.high for one in found)
    # One side alone can be missed: 97.5%.
    low, high = scipy.stats.binom.ppf([0.001, 0.999], 200, 0.975)
    assert low <= hits <= high
    # And no interval holds everything.
    assert max(one.high for one in found) == 3


def test_intervals_grow_with_confidence():
    points = draw(size=(60, 3)) @ draw(size=(3, 50)) + draw(size=(60, 50))
    narrow, wide = (pca_dimension(points, confidence=confidence) for confidence in (0.1, 0.9999))
    assert wide.low < narrow.low <= narrow.value <= narrow.high < wide.high


@pytest.mark.parametrize("features", [4, 9])
def test_the_control_has_the_points_covariance(features, key):
    points = (np.random.default_rng(4).random((20_000, 4)) * [3, 1, 0.5, 0.1]).astype(np.float32)
    points = by_hand.isometric(points, features).astype(np.float32)
    found = np.asarray(gaussian_control(points, key), np.float64)
    assert found.shape == (20_000, features)
    covariance = np.cov(found.T)
    expected = np.zeros(features)
    expected[:4] = np.linalg.eigvalsh(np.cov(points.T.astype(np.float64)))[::-1][:4]
    # The standard error of an entry is sqrt(v_a v_b / N), on the diagonal sqrt(2 / N) v; beside it there is rounding.
    error = np.sqrt(2 * np.outer(expected, expected) / 20_000)
    assert (np.abs(covariance - np.diag(expected)) < 4.5 * error + 1e-5).all()
    # Uniform coordinates are not normal, the control's are.
    assert scipy.stats.kstest(found[:, 0] / found[:, 0].std(), "norm").pvalue > 1e-3


def test_the_control_of_few_points_in_many_features_has_neighbours(key):
    control = gaussian_control(SETS["more features"], key)
    assert control.shape == (30, 30)
    distances = nearest_neighbours(control).distances
    assert np.isfinite(distances).all()
    assert (distances > 0).all()


def test_the_control_is_drawn_from_its_key(key):
    points = SETS["more points"]
    first, again, of_spectrum = (gaussian_control(x, key) for x in (points, points, spectrum(points)))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, of_spectrum)
    assert not np.any(first == gaussian_control(points, jax.random.key(1)))


@pytest.mark.parametrize(
    ("points", "options", "error", "match"),
    [
        (SETS["square"], {"variance": 0.0}, ValueError, "variance must be between 0 and 1, got 0.0"),
        (SETS["square"], {"variance": 1.0}, ValueError, "variance must be between 0 and 1, got 1.0"),
        (SETS["square"], {"variance": 90}, ValueError, "variance must be between 0 and 1, got 90"),
        (SETS["square"], {"confidence": np.nan}, ValueError, "confidence must be between 0 and 1, got nan"),
        (np.where(SETS["square"] > 2, np.inf, SETS["square"]), {}, ValueError, r"points must be finite, found \d+ NaN"),
        (SETS["square"].astype(int), {}, TypeError, "points must be floating point, got int"),
        (np.full((9, 2), 0.1), {}, ValueError, "points must not all be equal, got 9 copies of one point"),
        (jnp.ones(4), {}, ValueError, r"points must be \[point, feature, ...\] and not empty, got shape \(4,\)"),
        (
            (1e25 * SETS["square"]).astype(np.float32),
            {"standardized": False},
            ValueError,
            "points must have variances in the range of float32, got (inf|nan) in all",
        ),
        (
            (1e-25 * SETS["square"]).astype(np.float32),
            {"standardized": False},
            ValueError,
            "points must have variances in the range of float32, got 0.0 in all",
        ),
    ],
)
def test_what_has_no_count_is_named(as_a_user, points, options, error, match):
    with pytest.raises(error, match=match):
        pca_dimension(points, **options)
