"""The experiment on activation maximization, run in small, and what it writes read back."""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pandas as pd
import pytest
from test_experiments import script

matplotlib.use("Agg")

from photographs import Explained, Network

from saliency_jax.data.preprocessing import Preprocessing
from saliency_jax.models import CNN
from saliency_jax.results import read_dataset


@pytest.fixture(scope="module")
def module():
    return script("activation_maximization.py")


@pytest.fixture
def small_network(module, monkeypatch):
    """Nothing is trained: a small network with random weights, and few digits for the experts."""
    model = CNN(channels=(2, 3), units=6)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    monkeypatch.setattr(module, "trained_params", lambda options: (model, params))
    load = module.load
    monkeypatch.setattr(module, "load", lambda *a: load(*a)._replace(images=load(*a).images[::100]))
    return model, params


@pytest.mark.slow
def test_prototypes_are_written_as_they_are_printed(module, small_network, tmp_path, capsys):
    model, params = small_network
    options = module.Options(
        penalties=(1e-3, 1e-2), steps=3, sharpness=(10.0,), out=tmp_path / "out", compilation_cache=None
    )
    dataset = module.main(options)
    stored = read_dataset(tmp_path / "out" / "results.nc")
    assert stored.row.values.tolist() == ["penalty 0.001", "penalty 0.01", "Gaussian", "kernel density", "decoder"]
    np.testing.assert_array_equal(stored.image, dataset.image)
    for name in ("penalty 0.01", "decoder"):
        images = stored.image.sel(row=name).values[..., None]
        probability = jax.nn.softmax(model.apply(params, jnp.asarray(images)))[np.arange(10), np.arange(10)]
        np.testing.assert_allclose(stored.probability.sel(row=name), probability, rtol=1e-5)
        norms = np.linalg.norm(images.reshape(10, -1), axis=1)
        np.testing.assert_allclose(stored.norm.sel(row=name), norms, rtol=1e-5)
    frame = pd.read_csv(tmp_path / "out" / "results.csv")
    assert len(frame) == 5 * 10
    printed = capsys.readouterr().out
    assert (tmp_path / "out" / "table.txt").read_text() in printed
    assert f"{float(stored.probability.sel(row='Gaussian').min()):.4f}" in printed
    for picture in ("prototypes.png", "course.png"):
        assert (tmp_path / "out" / picture).stat().st_size > 10_000


@pytest.mark.slow
def test_units_stand_beside_the_photographs_that_excite_them_most(module, tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(0)
    preprocessing = Preprocessing(16)
    images = random.uniform(-1, 1, (9, 16, 16, 3)).astype(np.float32)
    model = CNN(channels=(4,), units=3)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    network = Network(model, params, preprocessing, ())
    names = tuple(map(str, range(9)))
    explained = Explained(names, images, np.zeros(9, int), network, ("",) * 9)
    monkeypatch.setattr(module, "prepare", lambda options: (network, explained))
    options = module.Options(
        network="made",
        images=(tmp_path,),
        steps=3,
        tap="conv1",
        units=(2, 0),
        out=tmp_path / "o",
        compilation_cache=None,
    )
    dataset = module.main(options)
    kernel, bias = params["params"]["conv1"]["kernel"], params["params"]["conv1"]["bias"]
    features = jax.lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ) + bias.reshape(1, 1, 1, -1)
    for channel in (2, 0):
        answers = np.asarray(features[..., channel]).mean((1, 2))
        expected = np.sort(answers)[::-1][:4]
        np.testing.assert_allclose(dataset.activation.sel(unit=channel)[2:], expected, rtol=1e-4, atol=1e-5)
        shown = dataset.image.sel(unit=channel, shown="photograph 1")
        np.testing.assert_allclose(shown, (images[np.argmax(answers)] + 1) / 2, atol=0.003)
    assert dataset.shown.values.tolist()[:2] == ["Fourier", "MACO"]
    assert (tmp_path / "o" / "units.png").stat().st_size > 10_000
    assert (tmp_path / "o" / "table.txt").read_text() in capsys.readouterr().out


@pytest.mark.slow
def test_the_benchmark_times_both_ways_of_the_same_images(module, small_network, tmp_path, capsys):
    module.main(module.Options(benchmark=2, steps=2, out=tmp_path, compilation_cache=None))
    printed = capsys.readouterr().out
    assert (tmp_path / "benchmark.txt").read_text() in printed
    assert printed.count("times faster at once") == 2


def test_a_network_without_photographs_is_refused(module, tmp_path):
    with pytest.raises(SystemExit, match="--network needs --images"):
        module.main(module.Options(network="squeezenet1_1", out=tmp_path, compilation_cache=None))
