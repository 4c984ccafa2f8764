"""Figures of dimensions show what the Datasets hold."""

import matplotlib
import numpy as np
import pytest
import xarray as xr

matplotlib.use("Agg")

from saliency_jax.plotting.dimension import dimension_profiles, dimension_spectra

LAYERS = ["input", "conv1", "conv2", "dense", "logits"]
ESTIMATORS = ["two_nn", "levina_bickel", "pca", "gaussian_control"]


def measured(**further):
    """A Dataset as `layer_dimensions_along` gives it; the spectrum of the layer of place p falls like i^-(p + 1)."""
    shape = tuple(len(labels) for labels in further.values())
    values = np.random.default_rng(0).uniform(2, 19, (*shape, len(LAYERS), len(ESTIMATORS)))
    spectra = np.arange(1, 31.0) ** -np.arange(1, len(LAYERS) + 1)[:, None]
    spectra[-1, 10:] = np.nan
    dims = (*further, "layer", "estimator")
    return xr.Dataset(
        {"dimension": (dims, values), "low": (dims, values * 0.9), "high": (dims, values * 1.1)}
        | {"spectrum": ((*further, "layer", "component"), np.tile(spectra, (*shape, 1, 1)))},
        coords={**further, "layer": LAYERS, "estimator": ESTIMATORS, "component": np.arange(1, 31)},
        attrs={"variance": 0.9},
    )


@pytest.fixture(autouse=True)
def close():
    yield
    matplotlib.pyplot.close("all")


def test_repeats_are_a_mean_with_bars_from_the_smallest_to_the_largest():
    dataset = measured(network=["true", "permuted"], seed=[0, 1, 2])
    # Of the second network one was trained.
    for name in ("dimension", "low", "high"):
        dataset[name][1, 1:] = np.nan
    left, _ = dimension_profiles(dataset, repeats="seed").axes
    values = dataset.dimension.sel(estimator="two_nn").values
    drawn = {line.get_label(): line.get_ydata() for line in left.lines if line.get_linestyle() == "-"}
    np.testing.assert_allclose(drawn["true"], values[0].mean(0))
    np.testing.assert_array_equal(drawn["permuted"], values[1, 0])
    [bars, single, *_] = [container.lines[2][0].get_segments() for container in left.containers]
    np.testing.assert_allclose([bar[:, 1] for bar in bars], np.stack([values[0].min(0), values[0].max(0)], axis=1))
    np.testing.assert_array_equal([np.ptp(bar[:, 1]) for bar in single], 0)


def test_repeats_have_to_be_there():
    with pytest.raises(ValueError, match=r"repeats must be an axis of the dataset .*, got 'seed'"):
        dimension_profiles(measured(network=["a"]), repeats="seed")


def test_spectra_of_four_layers_have_their_dimensions_on_them():
    dataset = measured(network=["true", "untrained"])
    panels = dimension_spectra(dataset).axes
    assert [axes.get_title() for axes in panels] == ["input", "conv2", "dense", "logits"]
    for axes, place in zip(panels, (0, 2, 3, 4), strict=True):
        curves = [line for line in axes.lines if len(line.get_xdata()) > 1]
        marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
        # Down to a millionth, below which there is rounding.
        count = np.sum(np.arange(1, 31.0) ** -(place + 1) > 1e-6)
        count = min(count, 10) if place == 4 else count
        for curve in curves:
            np.testing.assert_allclose(curve.get_ydata(), np.arange(1, count + 1.0) ** -(place + 1))
        one = dataset.dimension.isel(layer=place).sel(estimator=["two_nn", "pca", "gaussian_control"])
        np.testing.assert_allclose([line.get_xdata()[0] for line in marks], one.values.ravel())
        for mark in marks:
            # On the curve, which is a power; beyond its last component at the height of that.
            height = min(mark.get_xdata()[0], count) ** -(place + 1)
            np.testing.assert_allclose(mark.get_ydata(), height, rtol=1e-6)


def test_a_dead_layer_has_an_empty_panel_and_an_unknown_one_is_named():
    dataset = measured()
    for name in ("dimension", "low", "high", "spectrum"):
        dataset[name][1] = np.nan
    [panel] = dimension_spectra(dataset, layers=["conv1"]).axes
    assert [line for line in panel.lines if np.size(line.get_xdata())] == []
    with pytest.raises(ValueError, match=r"layers must be among input, .*, got fancy"):
        dimension_spectra(dataset, layers=["fancy"])
