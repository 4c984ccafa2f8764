"""Every layer's dimension is that of its activations, computed apart; dead layers are told and the sweep goes on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_networks
from jax import lax

import saliency_jax as sj
from saliency_jax.dimension import estimates as of_points
from saliency_jax.dimension import gaussian_control, gride, levina_bickel, pca_dimension, spectrum, two_nn
from saliency_jax.dimension import layers as measured_layers
from saliency_jax.dimension.estimates import estimates
from saliency_jax.keys import named

COUNT = 60


@pytest.fixture
def images(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (COUNT, 8, 8, 1))


@pytest.fixture
def network(key):
    def apply(params, images):
        hidden = jax.nn.relu(small_networks.conv(params["conv"], images))
        hidden = small_networks.max_pool(hidden).reshape(len(images), -1)
        hidden = jax.nn.relu(small_networks.dense(params["hidden"], hidden))
        return small_networks.dense(params["logits"], hidden)

    keys = jax.random.split(key, 3)
    layer = small_networks.product_layer
    shapes = {"conv": (3, 3, 1, 6), "hidden": (4 * 4 * 6, 20), "logits": (20, 5)}
    return apply, {name: layer(k, *shape) for (name, shape), k in zip(shapes.items(), keys, strict=True)}


@pytest.mark.slow
def test_each_estimate_is_that_of_the_activations(network, images, key):
    apply, params = network
    layers = ("conv/relu", "hidden", "logits")
    found = sj.layer_dimensions(apply, params, images, key=key, layers=layers, ranges=(1, 4), neighbours=10)
    values = {"input": images, **sj.activations(apply, params, images, layers)}
    assert found.layer.values.tolist() == list(values)
    for name, value in values.items():
        one = found.sel(layer=name)
        points = np.asarray(value)
        expected = {
            "two_nn": two_nn(points),
            "levina_bickel": levina_bickel(points, neighbours=10),
            "pca": pca_dimension(points),
            "gaussian_control": two_nn(gaussian_control(spectrum(points), named(key, "gaussian control"))),
        }
        for estimator, dimension in expected.items():
            row = [float(one[part].sel(estimator=estimator)) for part in ("dimension", "low", "high", "fit")]
            np.testing.assert_allclose(row, [dimension.value, dimension.low, dimension.high, dimension.fit], rtol=1e-4)
        curve = gride(points, ranges=(1, 4))
        np.testing.assert_allclose(one.gride, curve.value, rtol=1e-4)
        assert int(one.points) == expected["two_nn"].points and int(one.duplicates) == expected["two_nn"].duplicates
        assert int(one.features) == points[0].size
        assert one.reason.item() == ""


@pytest.mark.slow
def test_depth_is_the_share_of_weighted_layers_passed(network, images, key):
    found = sj.layer_dimensions(*network, images, key=key, ranges=())
    assert found.layer.values.tolist() == ["input", *(tap.name for tap in sj.taps(*network, images))]
    depths = dict(zip(found.layer.values.tolist(), found.depth.values.tolist(), strict=True))
    assert depths["input"] == 0 and depths["logits"] == 1
    assert depths["conv"] == depths["conv/relu"] == depths["conv/max_pool"] == pytest.approx(1 / 3)
    assert depths["hidden/relu"] == pytest.approx(2 / 3)


@pytest.mark.slow
def test_nothing_depends_on_how_much_is_computed_at_once(network, images, key, monkeypatch):
    measure = partial(sj.layer_dimensions, *network, key=key, layers=("conv", "hidden/relu", "logits"), ranges=(1,))
    whole = measure(images)
    parts = measure(images, memory=1)
    monkeypatch.setattr(measured_layers, "memory_to_use", lambda: 0)
    one_by_one = measure(images, memory=1 << 33)
    monkeypatch.undo()
    for other in (parts, one_by_one):
        np.testing.assert_allclose(other.dimension, whole.dimension, rtol=1e-4)
        assert other.layer.values.tolist() == whole.layer.values.tolist()


def test_layers_can_be_chosen_and_are_refused_by_name(network, images, key):
    found = sj.layer_dimensions(*network, images, key=key, layers=("logits", "conv"), ranges=(1,))
    assert found.layer.values.tolist() == ["input", "conv", "logits"]
    with pytest.raises(ValueError, match=r"layers must be names of activations, got .*fancy.*conv/relu"):
        sj.layer_dimensions(*network, images, key=key, layers=("fancy",))


def test_a_dead_layer_has_nan_with_its_reason_and_the_others_have_values(network, images, key):
    apply, params = network
    params = params | {"hidden": params["hidden"] | {"bias": jnp.full(20, -1e3)}}
    found = sj.layer_dimensions(apply, params, images, key=key, ranges=(1,))
    dead = found.sel(layer="hidden/relu")
    assert np.isnan(dead.dimension).all() and np.isnan(dead.gride).all()
    assert "all be equal" in dead.reason.item() and f"{COUNT} copies" in dead.reason.item()
    assert np.isfinite(found.dimension.sel(layer=["input", "conv", "hidden"])).all()


@pytest.mark.slow
def test_a_layer_that_is_dead_for_some_images_counts_their_copies(network, images, key):
    apply, params = network
    # Images of one value look alike after the bias has silenced all but the positive ones.
    images = images.at[:20].set(-5.0)
    found = sj.layer_dimensions(apply, params, images, key=key, ranges=(1, 2), layers=("conv",))
    assert found.duplicates.values.tolist() == [20, 20]
    assert found.points.max() <= COUNT - 20
    assert np.isfinite(found.dimension).all() and np.isfinite(found.gride).all()


def test_activations_that_are_not_finite_have_their_reason(network, images, key):
    apply, params = network
    params = params | {"logits": params["logits"] | {"bias": jnp.full(5, jnp.nan)}}
    found = sj.layer_dimensions(apply, params, images, key=key, ranges=(1,), layers=("hidden", "logits"))
    assert "points must be finite" in found.reason.sel(layer="logits").item()
    assert np.isfinite(found.dimension.sel(layer="hidden")).all()


def test_every_turn_of_a_scan_is_a_layer(images, key):
    def apply(params, images):
        def layer(hidden, kernel):
            return jax.nn.relu(hidden @ kernel), None

        hidden, _ = lax.scan(layer, images.reshape(len(images), -1), params["stack"])
        return hidden[:, :3]

    params = {"stack": jax.random.normal(key, (3, 64, 64)) / 8}
    found = sj.layer_dimensions(apply, params, images, key=key, ranges=(1,))
    turns = [name for name in found.layer.values.tolist() if "relu" in name]
    assert [name[-3:] for name in turns] == ["[0]", "[1]", "[2]"]
    hidden = images.reshape(COUNT, -1)
    for name, kernel in zip(turns, params["stack"], strict=True):
        hidden = jax.nn.relu(hidden @ kernel)
        value = float(found.dimension.sel(layer=name, estimator="two_nn"))
        assert value == pytest.approx(two_nn(np.asarray(hidden)).value, rel=1e-4)


def test_checkpoints_are_an_axis_and_the_model_is_compiled_once(network, images, key):
    apply, params = network
    traced = []

    def counted(params, images):
        traced.append(images.shape)
        return apply(params, images)

    first = sj.layer_dimensions_along("epoch", counted, {0: params}, images, key=key, ranges=(1,))
    before = len(traced)
    halved = jax.tree.map(lambda leaf: leaf / 2, params)
    found = sj.layer_dimensions_along("epoch", counted, {0: params, 7: halved}, images, key=key, ranges=(1,))
    assert found.epoch.values.tolist() == [0, 7]
    assert found.dimension.dims == ("epoch", "layer", "estimator")
    np.testing.assert_array_equal(found.dimension.sel(epoch=0), first.dimension.sel(epoch=0))
    # Shapes and names are read anew for each; the whole batch is traced for the first alone.
    assert [shape for shape in traced[before:] if shape[0] > 2] == []
    with pytest.raises(ValueError, match="params must hold parameters"):
        sj.layer_dimensions_along("epoch", apply, {}, images, key=key)


def test_the_dataset_can_be_written_and_carries_its_caution(network, images, key, tmp_path):
    from saliency_jax.results import read_dataset, write_dataset

    found = sj.layer_dimensions(*network, images, key=key, ranges=(1, 2))
    write_dataset(found, tmp_path / "found.nc")
    again = read_dataset(tmp_path / "found.nc")
    np.testing.assert_array_equal(again.dimension, found.dimension)
    assert "above about 20 are lower bounds" in again.attrs["caution"]
    assert again.attrs["images"] == COUNT


# Of one shape for all, so that programs are compiled once.
of_thirty = partial(estimates, ranges=(1, 2), neighbours=5, discard=0.1, variance=0.9, confidence=0.95)


def test_a_set_without_estimates_has_all_its_reasons_and_its_spectrum(key):
    # Each point as far from every other: no two distances to compare.
    found = of_thirty(np.eye(30), key=key)
    assert np.isnan(found.dimension.sel(estimator=["two_nn", "levina_bickel"])).all()
    assert np.isnan(found.gride).all()
    # 29 components of equal variance, of which 27 are more than nine tenths.
    assert found.dimension.sel(estimator="pca") == 27
    np.testing.assert_allclose(found.spectrum, np.r_[np.full(29, 1 / 29), 0], atol=1e-6)
    for words in ("at least 3 ratios", "are equally far", "no maximum for ranges [1, 2]"):
        assert words in found.reason.item()


def test_the_spectrum_is_that_of_standardized_features(key):
    varying = np.random.default_rng(0).normal(size=(30, 6)) @ np.diag([3, 1, 1, 1, 0.5, 0]) @ np.triu(np.ones((6, 6)))
    # The other features are constant, and count for nothing.
    found = of_thirty(np.pad(varying, ((0, 0), (0, 24)), constant_values=0.1), key=key)
    expected = np.linalg.eigvalsh(np.corrcoef(varying.T))[::-1] / 6
    np.testing.assert_allclose(found.spectrum, np.r_[expected, np.zeros(24)], atol=1e-5)
    assert found.reason.item() == ""


def test_an_error_of_the_program_is_no_reason(key, monkeypatch):
    def mistaken(*arguments, **options):
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(of_points, "pca_dimension", mistaken)
    with pytest.raises(ValueError, match="could not be broadcast"):
        of_thirty(np.eye(30), key=key)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"discard": 1.0}, "discard must be in"),
        ({"variance": 1.5}, "variance must be between 0 and 1, got 1.5"),
        ({"confidence": 0.0}, "confidence must be between 0 and 1, got 0.0"),
        ({"neighbours": 2}, "neighbours must be at least 3, got 2"),
        ({"ranges": (1, 0)}, r"ranges must be .* at least 1, got \[1, 0\]"),
        ({"memory": 0}, "memory must be at least 1 byte, got 0"),
    ],
)
def test_options_out_of_range_are_named_before_anything_is_computed(options, message, images, key, as_a_user):
    def never(params, images):
        raise AssertionError("the model was run")

    with pytest.raises(ValueError, match=message):
        sj.layer_dimensions(never, {}, images, key=key, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((4, 8, 8, 1), np.float32)}, "images must be at least 5"),
        ({"key": None}, "layer_dimensions draws random numbers"),
        ({"images": np.full((6, 8, 8, 1), np.nan, np.float32)}, "images must be finite"),
    ],
)
def test_bad_input_is_refused(network, images, key, change, message):
    arguments = {"images": images, "key": key} | change
    with pytest.raises(ValueError, match=message):
        sj.layer_dimensions(*network, arguments["images"], key=arguments["key"])
