"""TwoNN against its formulas written out in float64, in closed form, and under what must not change it."""

import dimension_by_hand as by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.dimension import Neighbours, among, nearest_neighbours, two_nn

COUNT = 300


def gaussian(features, seed=0, count=COUNT):
    return np.random.default_rng(seed).normal(size=(count, features))


def with_copies():
    points = gaussian(4, seed=5)
    points[20:50] = points[0]
    points[50:60] = points[60:70]
    return points


def padded(points):
    """In six features, the last ones 0: one shape is compiled for all."""
    return np.pad(points, ((0, 0), (0, 6 - points.shape[1])))


SETS = {
    "gaussian": gaussian(6),
    "plane in space": by_hand.isometric(gaussian(2, seed=1), 6),
    "skewed": padded(np.exp(gaussian(3, seed=2))),
    "copies": padded(with_copies()),
    # In a lattice with holes some points' neighbours are equally far, others' are not.
    "lattice": padded(by_hand.lattice(10, 3)[np.random.default_rng(3).permutation(1000)[:COUNT]]),
    "heavy tails": np.random.default_rng(4).standard_t(2, size=(COUNT, 6)),
}


@pytest.mark.parametrize("discard", [0.1, 0.25, 0.8])
@pytest.mark.parametrize("name", list(SETS))
def test_estimates_are_those_of_the_papers_procedure(name, discard):
    points = SETS[name]
    logs = by_hand.log_ratios(points)
    with jax.enable_x64(True):
        found = nearest_neighbours(points)
        line, ml, censored = (
            two_nn(found, discard=discard, method=method) for method in ("linear", "ml", "censored_ml")
        )
    value, fit = by_hand.two_nn_line(logs, 1 - discard)
    np.testing.assert_allclose([line.value, line.fit], [value, fit], rtol=1e-9)
    np.testing.assert_allclose(ml.value, by_hand.two_nn_likelihood(logs), rtol=1e-9)
    np.testing.assert_allclose(censored.value, by_hand.two_nn_likelihood(logs, 1 - discard), rtol=1e-9)
    near, far = np.sort(by_hand.all_distances(points), axis=1)[:, :2].T
    assert line.duplicates == (near == 0).sum()
    assert line.points == ml.points == len(logs)
    usable = (near > 0) & (near < far)
    np.testing.assert_allclose(line.scale, (near + far)[usable].mean() / 2, rtol=1e-9)


@pytest.mark.parametrize("name", list(SETS))
def test_float32_agrees(name):
    logs = by_hand.log_ratios(SETS[name].astype(np.float32))
    found = nearest_neighbours(SETS[name].astype(np.float32))
    np.testing.assert_allclose(two_nn(found).value, by_hand.two_nn_line(logs)[0], rtol=1e-4)
    np.testing.assert_allclose(two_nn(found, method="ml").value, by_hand.two_nn_likelihood(logs), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("count", [7, 101])
def test_any_number_of_points_agrees(count):
    points = gaussian(3, seed=count, count=count)
    with jax.enable_x64(True):
        np.testing.assert_allclose(two_nn(points).value, by_hand.two_nn_line(by_hand.log_ratios(points))[0], rtol=1e-9)


def of_ratios(ratios):
    """Neighbours of points that are far apart, with the ratios given."""
    distances = jnp.stack([jnp.ones(len(ratios)), jnp.asarray(ratios)], axis=1)
    return Neighbours(distances, jnp.tile(jnp.arange(len(ratios))[:, None], (1, 2)))


@pytest.mark.parametrize("d", [0.7, 5.0])
def test_the_paretos_own_quantiles_give_its_dimension_and_a_perfect_fit(d):
    with jax.enable_x64(True):
        quantile = np.minimum(np.arange(1, COUNT + 1), COUNT - 0.5) / COUNT
        found = two_nn(of_ratios((1 - quantile) ** (-1 / d)))
        np.testing.assert_allclose([found.value, found.fit], [d, 1], rtol=1e-10)


def test_without_discards_the_censored_likelihood_is_the_likelihood():
    found = nearest_neighbours(SETS["skewed"])
    censored, whole = two_nn(found, method="censored_ml", discard=0.0), two_nn(found, method="ml")
    np.testing.assert_allclose(censored.value, whole.value, rtol=1e-6)


def test_powers_of_two_have_a_sum_of_ratios_by_hand():
    # 2^i has its neighbours at 2^i / 2 and 3/4 of 2^i; 1 at 1 and 3, 2 at 1 and 2.
    points = 2.0 ** np.arange(COUNT)
    expected = (COUNT - 1) / (np.log(3) + np.log(2) + (COUNT - 2) * np.log(1.5))
    with jax.enable_x64(True):
        np.testing.assert_allclose(two_nn(points[:, None], method="ml").value, expected, rtol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_cube_in_more_dimensions_has_its_own_dimension(d):
    cube = np.random.default_rng(d).random((COUNT, d))
    found = two_nn(by_hand.isometric(cube, 6))
    # Four standard errors of dependent points.
    assert abs(found.value - d) < 4 * np.sqrt(1.6) * d / np.sqrt(COUNT)


CHANGES = {
    "scaled": lambda x: 1e-3 * x,
    "very small": lambda x: 1e-25 * x,
    "very large": lambda x: 1e25 * x,
    "moved": lambda x: x + 3,
    "permuted": lambda x: x[np.random.default_rng(8).permutation(len(x))],
    "rotated": lambda x: by_hand.isometric(x, x.shape[1], seed=9),
    "in more dimensions": lambda x: by_hand.isometric(x, 7, seed=10),
    "with a constant column": lambda x: np.concatenate([x, np.full((len(x), 1), 2.5)], axis=1),
    "in two axes": lambda x: x.reshape(len(x), 2, 3),
    "mirrored": lambda x: -x[:, ::-1],
}


@pytest.mark.parametrize("method", ["linear", "ml"])
@pytest.mark.parametrize("change", list(CHANGES))
def test_what_keeps_ratios_of_distances_keeps_the_estimate(change, method):
    before, after = (
        two_nn(x.astype(np.float32), method=method) for x in (SETS["gaussian"], CHANGES[change](SETS["gaussian"]))
    )
    for name in ("value", "low", "high", "points", "duplicates", "fit"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("features", [20, 256])
def test_a_mean_of_a_hundred_times_the_norm_changes_hardly_anything(features, dtype):
    points = by_hand.isometric(gaussian(20, seed=11), features)
    norm = np.linalg.norm(points, axis=1).mean()
    direction = np.random.default_rng(12).normal(size=features)
    offset = 100 * norm * direction / np.linalg.norm(direction)
    found, expected = two_nn((points + offset).astype(dtype)), by_hand.two_nn_line(by_hand.log_ratios(points))[0]
    assert abs(found.value / expected - 1) < 1e-3
    assert found.duplicates == 0


def test_neighbours_found_before_give_the_same():
    points = SETS["gaussian"].astype(np.float32)
    assert two_nn(nearest_neighbours(points, neighbours=5)) == two_nn(points)


def test_minus_zero_is_zero():
    points = gaussian(6, seed=13).astype(np.float32)
    points[:2] = 0.0
    points[1, ::2] = -0.0
    assert two_nn(points).duplicates == 2


def changed(value):
    points = gaussian(2)
    points[3, 1] = value
    return points


@pytest.mark.parametrize(
    ("points", "options", "error", "match"),
    [
        (gaussian(2), {"discard": 1.0}, ValueError, r"discard must be in \[0, 1\), got 1.0"),
        (gaussian(2), {"discard": -0.1}, ValueError, r"discard must be in \[0, 1\), got -0.1"),
        (gaussian(2), {"discard": np.nan}, ValueError, "discard must be .* got nan"),
        (gaussian(2), {"method": "mle"}, ValueError, "method must be one of linear, ml, censored_ml, got 'mle'"),
        (gaussian(2), {"confidence": 0.0}, ValueError, "confidence must be between 0 and 1, got 0.0"),
        (gaussian(2), {"confidence": 95}, ValueError, "confidence must be between 0 and 1, got 95"),
        (changed(np.nan), {}, ValueError, "points must be finite, found 1 NaN or infinite of 600 values"),
        (changed(np.inf), {}, ValueError, "points must be finite, found 1 NaN or infinite"),
        (gaussian(2).astype(int), {}, TypeError, "points must be floating point, got int"),
        (gaussian(2) > 0, {}, TypeError, "points must be floating point, got bool"),
        (np.ones((30, 2)), {}, ValueError, "points must not all be equal, got 30 copies of one point"),
        (np.arange(5.0), {}, ValueError, r"points must be \[point, feature, ...\] and not empty, got shape \(5,\)"),
        (np.ones((0, 3)), {}, ValueError, r"not empty, got shape \(0, 3\)"),
        (np.ones((4, 0)), {}, ValueError, r"not empty, got shape \(4, 0\)"),
        (gaussian(2)[:2], {}, ValueError, "neighbours must be at least 1 and fewer than the 2 points, got 2"),
        (gaussian(2)[:1], {}, ValueError, "points must not all be equal, got 1 copies"),
        (gaussian(2) * 1e300, {}, ValueError, "points must be in the range of float32, got .*e.300"),
        (np.repeat(gaussian(2), 2, axis=0), {}, ValueError, r"at least 3 ratios .* got 0 from 600 points \(600 have a"),
        (np.arange(50.0)[:, None], {}, ValueError, r"got 2 from 50 points \(0 have a copy\)"),
        (by_hand.lattice(8, 2), {}, ValueError, "at least 3 ratios .* got 0 from 64 points"),
        (gaussian(2)[:5], {"discard": 0.9}, ValueError, "got 5 from 5 points .* 0 after discard=0.9"),
    ],
)
def test_what_has_no_estimate_is_named(as_a_user, points, options, error, match):
    with pytest.raises(error, match=match):
        two_nn(points, **options)


@pytest.mark.slow
def test_neighbours_that_are_missing_are_counted():
    points = gaussian(6)
    with pytest.raises(ValueError, match="must hold at least 2 for each point, got 1"):
        two_nn(nearest_neighbours(points, neighbours=1))
    with pytest.raises(ValueError, match="must hold 2 of every point, but 4 points have fewer"):
        two_nn(nearest_neighbours(points, groups=np.r_[0, 0, 1, 1, np.full(COUNT - 4, 2)]))
    kept = among(nearest_neighbours(points, neighbours=3), np.arange(0, COUNT, 2))
    missing = int(np.isnan(kept.distances).any(1).sum())
    assert missing > 0
    with pytest.raises(ValueError, match=f"but {missing} points have fewer"):
        two_nn(kept)
