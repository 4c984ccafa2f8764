"""Estimates over subsamples against the same subsamples taken one by one."""

import dimension_by_hand as by_hand
import jax
import numpy as np
import pytest

from saliency_jax.dimension import Neighbours, decimation, nearest_neighbours, resampled, two_nn

COUNT = 120
POINTS = np.random.default_rng(0).normal(size=(COUNT, 4)).astype(np.float32)
BLOCKS = [1, 3, 7]


def estimate(points, method):
    logs = by_hand.log_ratios(points)
    return by_hand.two_nn_line(logs)[0] if method == "linear" else by_hand.two_nn_likelihood(logs)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear", "ml"])
def test_blocks_are_estimated_as_if_alone(method, key):
    found = decimation(POINTS, key, blocks=BLOCKS, method=method)
    order = np.asarray(jax.random.permutation(key, COUNT))
    np.testing.assert_array_equal(found.blocks, BLOCKS)
    np.testing.assert_array_equal(found.size, [120, 40, 17])
    for place, (number, size) in enumerate(zip(BLOCKS, found.size, strict=True)):
        blocks = [POINTS[order[start * size : (start + 1) * size]] for start in range(number)]
        values = [estimate(block, method) for block in blocks]
        np.testing.assert_allclose(found.value[place], np.mean(values), rtol=1e-4)
        scale = np.mean([by_hand.sorted_neighbours(block, 2)[0] for block in blocks])
        np.testing.assert_allclose(found.scale[place], scale, rtol=1e-5)
        if number == 1:
            assert np.isnan(found.spread[place])
        else:
            np.testing.assert_allclose(found.spread[place], np.std(values), rtol=1e-3)


def test_one_block_is_two_nn(key):
    found = decimation(POINTS, key, blocks=[1])
    np.testing.assert_allclose(found.value, two_nn(POINTS).value, rtol=1e-5)


@pytest.mark.slow
def test_a_uniform_set_keeps_its_dimension_over_blocks_and_noise_shows_at_small_scales(key):
    random = np.random.default_rng(1)
    line = random.random((960, 1)) * np.ones((1, 2))
    clean, noisy = (
        decimation((line + noise * random.normal(size=line.shape)).astype(np.float32), key, blocks=[1, 16])
        for noise in (0, 0.003)
    )
    # A line with noise in two dimensions: two at the scale of the noise, one at larger ones.
    assert np.abs(clean.value - 1).max() < 0.15
    assert noisy.value[0] > 1.5
    assert noisy.value[1] < noisy.value[0] - 0.3
    assert noisy.scale[1] > 5 * noisy.scale[0]


@pytest.mark.parametrize("method", ["linear", "ml"])
def test_subsamples_are_estimated_as_if_their_neighbours_were_searched_anew(method, key):
    found = resampled(POINTS, key, fraction=0.8, repeats=3, method=method)
    drawn = [jax.random.choice(one, COUNT, (96,), replace=False) for one in jax.random.split(key, 3)]
    expected = [estimate(POINTS[np.asarray(members)], method) for members in drawn]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert len(set(expected)) == 3


def test_all_points_give_the_estimate_of_all_in_every_repeat(key):
    found = resampled(POINTS, key, fraction=1.0, repeats=4)
    np.testing.assert_allclose(found, np.full(4, two_nn(POINTS).value), rtol=1e-5)


def test_neighbours_found_before_give_the_same(key):
    known = nearest_neighbours(POINTS, neighbours=12)
    one, other = (resampled(x, key, fraction=0.8, repeats=3) for x in (POINTS, known))
    np.testing.assert_array_equal(one, other)
    assert len(set(np.asarray(one).tolist())) == 3


def test_a_subsample_that_misses_neighbours_gives_nan(key):
    known = nearest_neighbours(POINTS, neighbours=2)
    assert np.isnan(resampled(known, key, fraction=0.5, repeats=3)).all()


def test_subsamples_are_drawn_from_the_key(key):
    known = nearest_neighbours(POINTS, neighbours=12)
    found, other = (resampled(known, k, fraction=0.8, repeats=3) for k in (key, jax.random.key(1)))
    assert not np.any(found == other)


@pytest.mark.slow
def test_the_deviation_over_nine_tenths_is_no_standard_error(key):
    """The paper's error bars: 1.7 to 2 times too small on flat tori."""
    torus = np.random.default_rng(2).random((1000, 3), np.float32)
    found = nearest_neighbours(torus, neighbours=12, period=1.0)
    interval = two_nn(Neighbours(found.distances, found.indices))
    error = np.log(interval.high / interval.low) / (2 * 1.96) * interval.value
    assert 1.3 < error / float(np.std(resampled(found, key, repeats=50))) < 2.5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"blocks": []}, r"blocks must be at least 1 and leave 5 of the 120 points to each, got \[\]"),
        ({"blocks": [0]}, r"blocks must be at least 1 .* got \[0\]"),
        ({"blocks": [1, 25]}, r"leave 5 of the 120 points to each, got \[1, 25\]"),
        ({"discard": 1.0}, r"discard must be in \[0, 1\), got 1.0"),
        ({"method": "mle"}, "method must be one of linear, ml, censored_ml, got 'mle'"),
    ],
)
def test_bad_blocks_are_named(as_a_user, key, options, match):
    with pytest.raises(ValueError, match=match):
        decimation(POINTS, key, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"fraction": 0.0}, r"fraction must be in \(0, 1\] and repeats at least 1, got 0.0 and 20"),
        ({"fraction": 1.1}, r"fraction must be in \(0, 1\] .* got 1.1 and 20"),
        ({"repeats": 0}, "repeats at least 1, got 0.9 and 0"),
        ({"fraction": 0.01}, "fraction must leave at least 3 of the 120 points, got 0.01"),
        ({"discard": -0.5}, r"discard must be in \[0, 1\), got -0.5"),
        ({"method": "mle"}, "method must be one of linear, ml, censored_ml, got 'mle'"),
    ],
)
def test_bad_subsamples_are_named(as_a_user, key, options, match):
    with pytest.raises(ValueError, match=match):
        resampled(POINTS, key, **options)


@pytest.mark.parametrize("sample", [decimation, resampled])
@pytest.mark.parametrize(
    ("points", "error", "match"),
    [
        (np.where(POINTS > 2, np.nan, POINTS), ValueError, "points must be finite"),
        (np.ones_like(POINTS), ValueError, "points must not all be equal, got"),
        (POINTS.astype(int), TypeError, "points must be floating point"),
    ],
)
def test_bad_points_are_named(as_a_user, key, sample, points, error, match):
    with pytest.raises(error, match=match):
        sample(points, key)
