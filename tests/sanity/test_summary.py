"""Means over images and seeds: against closed forms, and the interval against the spread that it claims to cover."""

import numpy as np
import pytest
import xarray as xr

from saliency_jax.sanity.summary import mean_interval


def measurement(values, **attrs):
    return xr.DataArray(values, dims=("explainer", "seed", "image"), coords={"explainer": list("ab")[: len(values)]})


def test_mean_is_the_plain_mean_and_count_the_number_of_values():
    values = np.random.default_rng(0).normal(size=(2, 3, 7))
    found = mean_interval(measurement(values))
    np.testing.assert_allclose(found["mean"], values.mean((1, 2)), rtol=1e-12)
    assert (found["count"] == 21).all()
    assert (found["low"] < found["mean"]).all() and (found["mean"] < found["high"]).all()


def test_nan_is_left_out_and_counted_and_a_mean_of_nothing_is_nan():
    values = np.random.default_rng(1).normal(size=(2, 3, 7))
    values[0, 1, 2] = np.nan
    values[1] = np.nan
    found = mean_interval(measurement(values))
    assert float(found["mean"][0]) == pytest.approx(np.nanmean(values[0]), rel=1e-12)
    assert found["count"].values.tolist() == [20, 0]
    assert np.isnan(found.sel(explainer="b")[["mean", "low", "high"]].to_array()).all()


def test_constant_measurements_have_an_interval_of_no_width():
    found = mean_interval(measurement(np.full((1, 3, 5), 0.25)))
    assert float(found["low"][0]) == float(found["high"][0]) == 0.25


def test_interval_covers_the_true_mean_when_images_and_seeds_both_vary():
    # value = image effect + seed effect: a bootstrap over the pairs would cover about half of the time.
    random = np.random.default_rng(2)
    covered, tries = 0, 200
    for _ in range(tries):
        values = random.normal(size=(1, 1, 40)) + random.normal(size=(1, 25, 1))
        found = mean_interval(measurement(values), resamples=300)
        covered += float(found["low"][0]) <= 0 <= float(found["high"][0])
    # Percentile bootstraps of 25 groups cover a little less than they say; three standard errors below 0.93.
    assert covered / tries >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / tries)


def test_one_dimension_alone_agrees_with_the_normal_interval():
    values = np.random.default_rng(3).normal(size=(1, 1, 400))
    found = mean_interval(measurement(values).isel(seed=0), dims=("image",))
    half = 1.96 * values.std() / np.sqrt(400)
    np.testing.assert_allclose(float(found["high"][0] - found["low"][0]), 2 * half, rtol=0.1)


def test_same_measurements_give_the_same_interval():
    values = np.random.default_rng(4).normal(size=(2, 3, 7))
    xr.testing.assert_identical(mean_interval(measurement(values)), mean_interval(measurement(values)))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"dims": ("layer",)}, "dimensions"), ({"level": 1.0}, "level"), ({"resamples": 0}, "resamples")],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(measurement(np.zeros((1, 2, 3))), **options)
