"""The experiments on selectivity, continuity and the three analyses run from their commands and are read back."""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from test_experiments import script, short_training

matplotlib.use("Agg")

import xarray as xr
from selectivity_curves import ranked, table

from saliency_jax.data.preprocessing import Preprocessing, normalized
from saliency_jax.models import CNN
from saliency_jax.results import read_dataset

__all__ = ["short_training"]


@pytest.mark.slow
def test_selectivity_prints_the_explainers_in_order_and_goes_on_from_what_is_there(short_training, tmp_path, capsys):
    module = script("selectivity.py")
    options = module.Options(images=6, explainers=("gradient", "noise"), patch=7, out=tmp_path, compilation_cache=None)
    dataset = module.main(options)
    printed = capsys.readouterr().out
    stored = read_dataset(tmp_path / "results.nc")
    np.testing.assert_array_equal(stored.area, dataset.area)
    assert dataset.curve.shape == (2, 6, 17)
    rows = pd.read_csv(tmp_path / "results.csv")
    assert len(rows) == dataset.area.size
    mean = float(dataset.area.sel(explainer="gradient").mean())
    assert f"{mean:.3f} [" in printed and f"{mean:.3f} [" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    again = module.main(options)
    np.testing.assert_array_equal(again.area, dataset.area)
    with pytest.raises(SystemExit, match="--explainers must name noise"):
        module.main(replace(options, explainers=("gradient",)))


def test_the_order_of_the_table_is_that_of_the_gain_over_the_random_order():
    # By hand: areas of three images; the random order is 5 everywhere.
    area = xr.DataArray(
        [[1.0, 2.0, 3.0], [5.0, 5.0, 5.0], [4.0, 5.0, 7.5]],
        dims=("explainer", "image"),
        coords={"explainer": ["gradient", "noise", "lrp"]},
    )
    curve = xr.DataArray(np.ones((3, 3, 2)), dims=("explainer", "image", "fraction"), coords={"fraction": [0.0, 1.0]})
    attrs = {"direction": "deletion", "kind": "logit", "patch": 4, "recompute": 0, "described": "made"}
    dataset = xr.Dataset({"area": area, "curve": curve}, attrs=attrs)
    rows = ranked(dataset)
    assert rows.explainer.values.tolist() == ["gradient", "noise", "lrp"]
    np.testing.assert_allclose(rows.gain, [3, 0, -0.5])
    np.testing.assert_allclose(rows.better, [1, 0, 1 / 3])
    assert "not better than the random order: LRP" in table(dataset)
    # Where patches are put in, a large area is good.
    rows = ranked(dataset.assign_attrs(direction="insertion"))
    assert rows.explainer.values.tolist() == ["lrp", "noise", "gradient"]


@pytest.mark.slow
def test_continuity_is_searched_for_at_two_gaps(short_training, tmp_path, capsys):
    module = script("explanation_continuity.py")
    options = module.Options(
        images=2,
        explainers=("simple_taylor",),
        samples=2,
        # Without what takes longest to compile.
        kinks=0,
        ascent=0,
        out=tmp_path,
        compilation_cache=None,
    )
    dataset = module.main(options)
    printed = capsys.readouterr().out
    stored = read_dataset(tmp_path / "results.nc")
    assert stored.continuity.sizes == {"explainer": 1, "gap": 2, "image": 2}
    np.testing.assert_array_equal(stored.continuity, dataset.continuity)
    # What is found is the largest of what the searches found.
    np.testing.assert_array_equal(stored.continuity, stored.by_search.max("search"))
    assert "simple Taylor" in printed and "infidelity" in printed
    assert (tmp_path / "continuity.png").stat().st_size > 10_000


def test_the_slope_over_the_gap_is_that_of_the_medians():
    module = script("explanation_continuity.py")
    constants = xr.DataArray(
        [[[1.0, 2.0, 9.0], [10.0, 20.0, 21.0]], [[3.0, 3.0, 3.0], [3.0, 3.0, 4.0]]],
        dims=("explainer", "gap", "image"),
        coords={"gap": [0.1, 0.01]},
    )
    np.testing.assert_allclose(module.slopes(xr.Dataset({"continuity": constants})), [-1, 0], atol=1e-12)


@pytest.mark.slow
def test_three_analyses_agree_with_the_closed_forms_of_the_maximum(short_training, tmp_path, capsys):
    module = script("three_analyses.py")
    options = module.Options(images=2, points=16, out=tmp_path, compilation_cache=None)
    example, image = module.main(options)
    capsys.readouterr()
    assert float(example.error.max()) < 1e-5
    constants = example.constant.sel(analysis="deep_taylor")
    assert ((constants >= 1.410) & (constants <= 1.4143)).all()
    np.testing.assert_allclose(example.slope, [-1, -1, 0], atol=0.05)
    np.testing.assert_allclose(image["sum"].sel(analysis="sensitivity"), image.squared_gradient_norm, rtol=1e-5)
    stored = read_dataset(tmp_path / "image.nc")
    np.testing.assert_array_equal(stored["map"], image["map"])
    for picture in ("max_maps.png", "max_continuity.png", "image.png"):
        assert (tmp_path / picture).stat().st_size > 10_000


def test_a_photograph_is_drawn_in_its_own_colours_whatever_the_network_s_units_and_order_of_colours(tmp_path):
    module, explained_images = script("three_analyses.py"), script("explained_images.py")
    blue_first = Preprocessing(size=8, crop=1.0, scale=(1.0, 2.0, 0.5), shift=(-100.0, 5.0, 0.0), order="bgr")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    found = normalized(pixels, blue_first)

    network = SimpleNamespace(model=CNN(), params={}, preprocessing=blue_first)
    explained = SimpleNamespace(images=found, predicted=np.array([0, 1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explained_images, "prepare_photographs", lambda chosen: (network, explained))
        options = module.Options(photographs=(tmp_path,), images=2, out=tmp_path, compilation_cache=None)
        of = explained_images.subject(options, ())
    np.testing.assert_allclose(of.pictures, pixels / 255, rtol=1e-6)
    np.testing.assert_array_equal(of.images, found)


def test_an_image_that_was_not_loaded_is_refused():
    module = script("three_analyses.py")
    digits = np.zeros((2, 28, 28, 1))
    of = module.Subject(None, None, digits, np.zeros(2), digits, np.zeros(1), None, "made")
    with pytest.raises(SystemExit, match="--image must be one of the 2 images, got 5"):
        module.explained_image(of, 5)
