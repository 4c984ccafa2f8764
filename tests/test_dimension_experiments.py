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
from saliency_jax.results import read_dataset


@pytest.mark.slow
def test_intrinsic_dimension_writes_what_it_prints_and_goes_on_from_it(tmp_path, capsys):
    module = script("intrinsic_dimension.py")
    options = module.Options(
        images=80, networks=("untrained", "true"), epochs=(0, 2), out=tmp_path, compilation_cache=None
    )
    dataset = module.main(options)
    printed = capsys.readouterr().out
    stored = read_dataset(tmp_path / "results.nc")
    np.testing.assert_array_equal(stored.dimension, dataset.dimension)
    assert stored.network.values.tolist() == ["untrained", "true"]
    assert stored.layer.values.tolist() == ["input", *module.LAYERS]
    # Both networks see the same images.
    images = module.spread(data.load("mnist", "train", source="embedded").images, 80)
    value = sj.two_nn(images).value
    np.testing.assert_allclose(stored.dimension.sel(layer="input", estimator="two_nn"), value, rtol=1e-5)
    assert f"{value:.1f} [" in printed and "above about 20 are lower bounds" in printed
    assert float(stored.accuracy.sel(network="true")) > 0.95 > 0.5 > float(stored.accuracy.sel(network="untrained"))
    during = read_dataset(tmp_path / "parts" / "during%20training.nc")
    assert during.epoch.values.tolist() == [0, 2]
    assert float(during.accuracy.sel(epoch=2)) > 0.8 > float(during.accuracy.sel(epoch=0))
    assert (tmp_path / "table.txt").read_text() in printed
    for picture in ("profiles.png", "training.png"):
        assert (tmp_path / picture).stat().st_size > 10_000

    def anew(*arguments):
        raise AssertionError("what is finished must not be measured again")

    module.of_network = module.during_training = anew
    again = module.main(options)
    np.testing.assert_array_equal(again.dimension, dataset.dimension)


def test_shifted_digits_differ_from_digits_by_one_number_each():
    module = script("intrinsic_dimension.py")
    images = data.load("mnist", "train", source="embedded").images[:20]
    difference = module.shifted(images, jax.random.key(0)) - images
    assert np.ptp(difference.reshape(20, -1), axis=1).max() < 1e-3
    shifts = difference.reshape(20, -1).mean(1)
    assert shifts.min() >= 0 and shifts.max() <= module.BRIGHTNESS and len(np.unique(shifts.round(5))) == 20


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
    for picture in ("profiles-squeezenet1_1.png", "last_hidden.png"):
        assert (tmp_path / "out" / picture).stat().st_size > 10_000
    rows = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + stored.dimension.size


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("intrinsic_dimension.py", {"networks": ("fancy",)}, "--networks must be among untrained, true"),
        ("intrinsic_dimension.py", {"images": 10}, "--images must be between 50 and the 5000"),
        ("intrinsic_dimension.py", {"model": "mlp"}, "--model must be cnn"),
        ("network_dimensions.py", {"networks": ("fancy",), "images": ()}, "--networks must be among"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(name, change, message, tmp_path):
    module = script(name)
    with pytest.raises(SystemExit, match=message):
        module.main(module.Options(**change, out=tmp_path, compilation_cache=None))


def test_measured_layers_are_those_of_the_network():
    module = script("intrinsic_dimension.py")
    images = np.zeros((1, 28, 28, 1), np.float32)
    params = models.CNN().init(jax.random.key(0), images)
    assert set(module.LAYERS) <= {tap.name for tap in sj.taps(models.CNN().apply, params, images)}
