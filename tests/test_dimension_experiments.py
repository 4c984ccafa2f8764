"""The experiments on dimension run from their commands, and what they write is read back."""

import jax
import matplotlib
import numpy as np
import pytest
from PIL import Image
from test_experiments import script
from test_photograph_experiments import installed

matplotlib.use("Agg")

import saliency_jax as sj
from saliency_jax import data, models
from saliency_jax.presets import PRESETS, Training
from saliency_jax.results import read_dataset


@pytest.mark.slow
def test_intrinsic_dimension_writes_what_it_prints_and_goes_on_from_it(tmp_path, capsys, monkeypatch):
    module = script("intrinsic_dimension.py")
    monkeypatch.setitem(PRESETS, "memorize_cnn", Training(steps=3, learning_rate=1e-3))
    options = module.Options(images=80, seeds=2, epochs=(0, 2), shifted_steps=5, out=tmp_path, compilation_cache=None)
    dataset = module.main(options)
    printed = capsys.readouterr().out
    stored = read_dataset(tmp_path / "results.nc")
    np.testing.assert_array_equal(stored.dimension, dataset.dimension)
    assert stored.network.values.tolist() == ["untrained", "true", "permuted"] and stored.sizes["seed"] == 2
    assert stored.layer.values.tolist() == ["input", *module.LAYERS]
    # Both networks see the same images.
    images = module.spread(data.load("mnist", "train", source="embedded").images, 80)
    value = sj.two_nn(images).value
    inputs = stored.dimension.sel(layer="input", estimator="two_nn").values
    np.testing.assert_allclose(inputs[:2], value, rtol=1e-5)
    # One was trained on permuted labels, two on the true ones, differently.
    np.testing.assert_allclose(inputs[2], [value, np.nan], rtol=1e-5)
    hidden = stored.dimension.sel(layer="dense/relu", estimator="two_nn").values
    assert hidden[0, 0] != hidden[0, 1] and hidden[1, 0] != hidden[1, 1]
    assert f"{hidden[1].min():.1f} to {hidden[1].max():.1f} (2)" in printed
    np.testing.assert_allclose(stored.spectrum.sum("component")[:2], 1, rtol=1e-5)
    assert f"{value:.1f} [" in printed and "above about 20 are lower bounds" in printed
    accuracy = stored.accuracy.values
    assert accuracy[1].min() > 0.95 > 0.5 > accuracy[0].max()
    during = read_dataset(tmp_path / "parts" / "over%20the%20training.nc")
    assert during.epoch.values.tolist() == [0, 2]
    assert float(during.accuracy.sel(epoch=2)) > 0.8 > float(during.accuracy.sel(epoch=0))
    star = read_dataset(tmp_path / "parts" / "shifted%20digits%205.nc")
    inputs = star.dimension.sel(layer="input", estimator="two_nn").values
    np.testing.assert_allclose(inputs[:2], value, rtol=1e-5)
    # One direction of large variance is nearly all that neighbours differ in.
    assert inputs[2] == inputs[3] < 0.5 * value
    assert (tmp_path / "table.txt").read_text() in printed
    for picture in ("profiles.png", "spectra.png", "training.png", "shifted.png"):
        assert (tmp_path / picture).stat().st_size > 10_000

    def anew(*arguments):
        raise AssertionError("what is finished must not be measured again")

    module.of_network = module.during_training = module.of_shifted_digits = anew
    again = module.main(options)
    np.testing.assert_array_equal(again.dimension, dataset.dimension)


def test_shifted_digits_differ_from_digits_by_one_number_each():
    module = script("shifted_digits.py")
    images = data.load("mnist", "train", source="embedded").images[:20]
    difference = module.shifted(images, jax.random.key(0)) - images
    assert np.ptp(difference.reshape(20, -1), axis=1).max() < 1e-3
    shifts = difference.reshape(20, -1).mean(1)
    assert not np.any(module.shifted(images, jax.random.key(0), 0.0) - images)
    assert shifts.min() >= 0 and shifts.max() <= module.BRIGHTNESS and len(np.unique(shifts.round(5))) == 20


def test_the_brightness_grows_to_all_of_it_while_the_rate_falls():
    brightness, rate = script("shifted_digits.py").course(100, 1000.0)
    assert not brightness[:20].any() and brightness[20] == 1 and brightness[50] == pytest.approx(np.sqrt(1000))
    assert (brightness[80:] == 1000).all() and (np.diff(brightness) >= 0).all()
    assert (np.diff(rate) <= 0).all() and (brightness * rate).max() == pytest.approx(0.02)
    without, same = script("shifted_digits.py").course(100, 0.0)
    assert not without.any() and same[80] == same[0] == rate[0]


@pytest.mark.slow
@pytest.mark.skipif(not installed("ndf"), reason="the package ndf, which brings SqueezeNet's weights, is not installed")
def test_network_dimensions_measures_every_block_with_its_weights_and_with_random_ones(tmp_path, capsys):
    module = script("network_dimensions.py")
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(8):
        low = random.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(low).resize((320, 240)).save(folder / f"{i}.png")
    options = module.Options(
        images=(folder,), networks=("squeezenet1_1",), out=tmp_path / "out", compilation_cache=None
    )
    found = module.main(options)["squeezenet1_1"]
    printed = capsys.readouterr().out
    stored = read_dataset(tmp_path / "out" / "results-squeezenet1_1.nc")
    np.testing.assert_array_equal(stored.dimension, found.dimension)
    blocks = ["input", "conv1", *(f"fire{i}" for i in range(2, 10)), "conv10", "conv10"]
    assert [name.split("/")[0] for name in stored.layer.values] == blocks
    one = stored.sel(estimator="two_nn").dimension
    assert np.isfinite(one).all()
    assert float(one.sel(state="trained", layer="input")) == float(one.sel(state="untrained", layer="input"))
    assert (one.sel(state="trained")[1:] != one.sel(state="untrained")[1:]).all()
    assert np.isnan(stored.attrs["accuracy"]), "nobody said what the pictures are of"
    assert "squeezenet1_1, 8 photographs" in printed
    for picture in ("profiles-squeezenet1_1.png", "spectra-squeezenet1_1.png", "last_hidden.png"):
        assert (tmp_path / "out" / picture).stat().st_size > 10_000
    rows = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + stored.dimension.size


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("intrinsic_dimension.py", {"networks": ("fancy",)}, "--networks must be among untrained, true"),
        ("intrinsic_dimension.py", {"images": 10}, "--images must be between 50 and the 5000"),
        ("intrinsic_dimension.py", {"model": "mlp"}, "--model must be cnn"),
        ("intrinsic_dimension.py", {"permuted_seeds": 0}, "--permuted-seeds must be at least 1, got 0"),
        ("network_dimensions.py", {"networks": ("fancy",), "images": ()}, "--networks must be among"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(name, change, message, tmp_path):
    module = script(name)
    with pytest.raises(SystemExit, match=message):
        module.main(module.Options(**change, out=tmp_path, compilation_cache=None))


@pytest.mark.parametrize("name", ["intrinsic_dimension.py", "shifted_digits.py"])
def test_measured_layers_are_those_of_the_network(name):
    module = script(name)
    model = models.CNN() if name == "intrinsic_dimension.py" else module.SmallCNN()
    images = np.zeros((1, 28, 28, 1), np.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), images)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)
    assert set(module.LAYERS) <= {tap.name for tap in sj.taps(model.apply, params, images)}
