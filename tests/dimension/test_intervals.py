"""Intervals: how often they hold the dimension, and their variance written out over all pairs of points."""

from functools import partial

import dimension_by_hand as by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from saliency_jax.dimension import gride, intervals, levina_bickel, nearest_neighbours, two_nn
from saliency_jax.dimension.gride import estimate as gride_estimate
from saliency_jax.dimension.two_nn import estimate, kept_of

COUNT = 300


def pairwise_variance(influences, indices, least):
    """Each pair of points in the proportion of the neighbourhoods that they share, at least some times the sum."""
    used = influences != 0
    psi = np.where(used, influences - influences[used].sum() / used.sum(), 0)
    inside = np.eye(len(psi), dtype=int)
    for point, row in enumerate(indices):
        np.add.at(inside[point], row, 1)
    shared = psi @ (inside @ inside.T / (indices.shape[1] + 1)) @ psi
    return max(shared, least * np.sum(psi**2))


@pytest.mark.parametrize("neighbours", [1, 2, 9])
@pytest.mark.parametrize("least", [1.6, 1.9])
@pytest.mark.parametrize("alike", [False, True])
def test_variance_is_the_sum_over_all_pairs(neighbours, alike, least):
    points = np.random.default_rng(0).normal(size=(COUNT, 2))
    _, indices = by_hand.sorted_neighbours(points, neighbours)
    # Influences that neighbours have in common, by which the pairs outweigh the least; or of each its own.
    influences = np.sin(3 * points[:, 0]) if alike else np.random.default_rng(1).normal(size=COUNT)
    influences[:40] = 0
    with jax.enable_x64(True):
        found = float(intervals.variance(jnp.asarray(influences), jnp.asarray(indices), least=least))
    np.testing.assert_allclose(found, pairwise_variance(influences, indices, least), rtol=1e-12)
    centred = np.where(influences == 0, 0, influences - influences.sum() / (COUNT - 40))
    assert (found > 1.01 * least * np.sum(centred**2)) == alike


def test_sums_of_points_that_share_single_distances_alone_vary_as_told():
    """Any two points at a distance of their own, drawn for the pair: what many dimensions become."""
    random, count, draws = np.random.default_rng(8), 300, 2500
    means = {2: [], 20: []}
    above = np.triu_indices(count, 1)
    for _ in range(draws):
        distances = np.full((count, count), np.inf)
        distances[above] = random.random(len(above[0]))
        nearest = np.sort(np.partition(np.minimum(distances, distances.T), 20, axis=1)[:, :20], axis=1)
        for k, found in means.items():
            found.append(np.log(nearest[:, k - 1 : k] / nearest[:, : k - 1]).sum(1).mean() / (k - 1))
    for k, found in means.items():
        # Of independent points 1: the sums are of Gamma(k - 1).
        ratio = np.var(found) * count * (k - 1)
        # 1.5 and 1.87: a bound of 11% tells both from TwoNN's 1.6 and from each other.
        assert abs(ratio / intervals.shared_by_sums(k) - 1) < 4 * np.sqrt(2 / draws), (k, ratio)


def test_no_influence_has_no_variance():
    assert intervals.variance(jnp.zeros(5), jnp.zeros((5, 2), int)) == 0


def jackknifed(estimate, count):
    """The jackknife's variance, from the estimates without each point."""
    without = np.array([estimate(np.delete(np.arange(count), i)) for i in range(count)])
    return (count - 1) / count * np.sum((without - without.mean()) ** 2)


def independent(logs):
    """Distances of points with these ratios whose neighbourhoods share nothing: each is thrice the point itself.

    Their variance is 3^2 / 3 times the sum of the squared influences.
    """
    distances = jnp.stack([jnp.ones(COUNT), jnp.exp(jnp.asarray(logs))], axis=1)
    return distances, jnp.tile(jnp.arange(COUNT)[:, None], (1, 2))


def test_influences_of_the_line_are_those_of_the_jackknife():
    logs = np.random.default_rng(2).exponential(1 / 5, COUNT)
    expected = jackknifed(lambda kept: by_hand.two_nn_line(np.sort(logs[kept]))[0], COUNT)
    with jax.enable_x64(True):
        variance = float(estimate(*independent(logs), kept_of(COUNT, 0.1), method="linear")[1])
    np.testing.assert_allclose(variance / 3, expected, rtol=0.05)


@pytest.mark.parametrize(("method", "kept"), [("ml", COUNT), ("censored_ml", 210)])
def test_influences_of_the_likelihood_have_the_variance_of_an_inverse_gamma(method, kept):
    """The sum of the n smallest exponentials, the others censored, has Gamma(n): (n - 1) / sum has d^2 / (n - 2)."""
    random, relative = np.random.default_rng(3), []
    for _ in range(50):
        value, variance, _ = estimate(
            *independent(random.exponential(1 / 5, COUNT).astype(np.float32)), kept_of(COUNT, 0.3), method=method
        )
        relative.append(float(variance / 3 / value**2) * (kept - 2))
    assert abs(np.mean(relative) - 1) < max(4 * scipy.stats.sem(relative), 0.01)


@pytest.mark.parametrize(("near", "far"), [(1, 2), (2, 4)])
def test_influences_of_gride_are_those_of_the_jackknife(near, far):
    count = 80
    # Ratios of neighbours' distances: mu^-d is of Beta(k1, k2 - k1).
    logs = -np.log(np.random.default_rng(3).beta(near, far - near, count)) / 4
    with jax.enable_x64(True):
        distances = jnp.ones((count, far)).at[:, far - 1].set(jnp.exp(jnp.asarray(logs)))
        themselves = jnp.tile(jnp.arange(count)[:, None], (1, far))
        _, variance, *_ = gride_estimate(distances, themselves, near=near, far=far, outlier=np.inf)
    expected = jackknifed(lambda kept: by_hand.gride_maximum(logs[kept], near, far), count)
    np.testing.assert_allclose(float(variance) / (far + 1), expected, rtol=0.1)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_intervals_are_normal_on_the_scale_of_the_logarithm(confidence):
    low, high = intervals.interval(4.0, 0.25, confidence)
    expected = scipy.stats.norm.interval(confidence, np.log(4), np.sqrt(0.25) / 4)
    np.testing.assert_allclose(np.log([low, high]), expected, rtol=1e-12)


@pytest.mark.parametrize("estimator", [two_nn, partial(levina_bickel, neighbours=5), partial(gride, ranges=[2])])
def test_intervals_hold_the_estimate_and_grow_with_confidence(estimator):
    points = np.random.default_rng(4).normal(size=(COUNT, 6)).astype(np.float32)
    found = nearest_neighbours(points, neighbours=5)
    narrow, wide = (estimator(found, confidence=confidence) for confidence in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high
    # Wider than if points were independent.
    assert narrow.high - narrow.low > 2 * scipy.stats.norm.ppf(0.75) * narrow.error


def held(d, count, draws, estimators, seed):
    """Of how many flat tori each estimator's interval holds the dimension."""
    random = np.random.default_rng(seed)
    hits = np.zeros(len(estimators), int)
    for _ in range(draws):
        found = nearest_neighbours(random.random((count, d), np.float32), neighbours=5, period=1.0)
        hits += [bool(np.all((e.low <= d) & (d <= e.high))) for e in (estimator(found) for estimator in estimators)]
    return hits


def assert_covered(hits, draws):
    """That coverage is between 92 and 98% is not refuted by a binomial's tails of one in a thousand."""
    low = scipy.stats.binom.ppf(0.001, draws, 0.92)
    high = scipy.stats.binom.ppf(0.999, draws, 0.98)
    assert (low <= hits).all(), (hits, draws)
    assert (hits <= high).all(), (hits, draws)


@pytest.mark.parametrize("d", [2, 5])
def test_intervals_hold_the_dimension_of_small_tori(d):
    estimators = [two_nn, partial(two_nn, method="ml")]
    assert_covered(held(d, COUNT, 100, estimators, seed=d), 100)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 5, 10])
def test_intervals_hold_the_dimension_of_tori_in_92_to_98_of_a_hundred_draws(d):
    estimators = [
        two_nn,
        partial(two_nn, method="ml"),
        partial(two_nn, method="censored_ml"),
        partial(gride, ranges=[1], outlier=None),
        partial(levina_bickel, neighbours=5),
    ]
    hits = held(d, 1000, 200, estimators, seed=10 + d)
    assert_covered(hits, 200)
