"""Each experiment runs from its command, in small, and what it writes is read back."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest

from saliency_jax.presets import PRESETS, Training
from saliency_jax.results import read_dataset

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


def script(name):
    path = EXPERIMENTS / name
    # A script finds the modules beside it.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    # A dataclass looks its own module up by name.
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def short_training(monkeypatch):
    monkeypatch.setitem(PRESETS, "demo_cnn", Training(steps=3, learning_rate=1e-3))


@pytest.mark.slow
def test_parameter_randomization_writes_what_it_prints_and_goes_on_from_it(short_training, tmp_path, capsys):
    module = script("parameter_randomization.py")
    options = module.Options(
        images=3, seeds=1, explainers=("gradient", "edges"), vector=("pdf",), out=tmp_path, compilation_cache=None
    )
    dataset = module.main(options)
    printed = capsys.readouterr().out
    stored = read_dataset(tmp_path / "results.nc")
    np.testing.assert_array_equal(stored.similarity, dataset.similarity)
    rows = pd.read_csv(tmp_path / "results.csv")
    assert len(rows) == dataset.similarity.size == 2 * 3 * 4 * 1 * 3
    one = rows[(rows.explainer == "gradient") & (rows.metric == "spearman") & (rows.stage == "logits")]
    np.testing.assert_allclose(
        one.sort_values("image").similarity,
        stored.similarity.sel(explainer="gradient", metric="spearman", stage="logits", seed=0),
        rtol=1e-6,
    )
    mean = float(stored.similarity.sel(explainer="gradient", metric="spearman", stage="logits").mean())
    assert f"{mean:.2f} [" in printed
    for picture in ("curves.png", "maps.png"):
        assert (tmp_path / picture).stat().st_size > 10_000
        assert (tmp_path / picture).with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    again = module.main(options)
    np.testing.assert_array_equal(again.similarity, dataset.similarity)
    with pytest.raises(ValueError, match=r"another configuration.*seeds"):
        module.main(replace(options, seeds=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"explainers": ("gradients",)}, "--explainers must be among"), ({"images": 0}, "--images must be between")],
)
def test_parameter_randomization_names_a_bad_option(options, message, tmp_path):
    module = script("parameter_randomization.py")
    with pytest.raises(SystemExit, match=message):
        module.main(module.Options(**options, out=tmp_path, compilation_cache=None))


@pytest.mark.slow
def test_sweep_benchmark_writes_its_figures(tmp_path):
    module = script("benchmarks/sweep.py")
    found = module.main(module.Options(images=1, seeds=1, sweeps=1, repeats=1, batch=2, out=tmp_path))
    # One of 50 makes three explainers; IG's 50 and three single ones beside it, for one model and four random ones.
    assert found["sweep"]["gradients"] >= 5 * (50 + 50 + 3)
    assert found["together"]["ratio"] < 2
    assert found["pooling"]["network"]["largest_difference"] < 1e-5
    assert found["pooling"]["pooling alone"]["largest_difference"] == 0
    assert (tmp_path / "sweep.json").stat().st_size > 500


@pytest.fixture
def short_memorizing(short_training, monkeypatch):
    monkeypatch.setitem(PRESETS, "memorize_cnn", Training(steps=3, learning_rate=1e-3))


@pytest.mark.slow
def test_label_randomization_refuses_a_poor_model_and_writes_what_it_prints(short_memorizing, tmp_path, capsys):
    module = script("label_randomization.py")
    options = {"images": 3, "explainers": ("gradient", "edges"), "out": tmp_path, "compilation_cache": None}
    with pytest.raises(
        ValueError, match=r"random_params must know the permuted labels: training accuracy at least 0\.95"
    ):
        module.main(module.Options(**options))
    dataset = module.main(module.Options(**options, least_fitted=0.0))
    printed = capsys.readouterr().out
    stored = read_dataset(tmp_path / "results.nc")
    np.testing.assert_array_equal(stored.similarity, dataset.similarity)
    assert f"test accuracy {float(stored.test_accuracy[1]):.4f}" in printed
    mean = float(stored.similarity.sel(explainer="gradient", metric="spearman").mean())
    assert f"{mean:.2f} [" in printed
    rows = pd.read_csv(tmp_path / "results.csv")
    assert set(rows.stage) == {"permuted_labels"}
    for picture in ("bars.png", "maps.png"):
        assert (tmp_path / picture).stat().st_size > 10_000


@pytest.mark.slow
def test_all_tests_gives_every_explainer_a_figure_in_every_test(short_memorizing, tmp_path, capsys):
    module = script("all_tests.py")
    explainers = ("gradient", "edges")
    small = {"images": 10, "seeds": 1, "samples": 2, "least_fitted": 0.0}
    options = module.Options(**small, explainers=explainers, out=tmp_path, compilation_cache=None)
    found = module.main(options)
    assert found.explainer.values.tolist() == list(explainers)
    assert (found.outcome != "").all()
    assert (found.value.sel(explainer="edges", test=["from_above: signed", "labels: absolute"]) == 0).all()
    printed = capsys.readouterr().out
    assert "gauss legendre, 64" in printed
    assert (tmp_path / "evidence.png").stat().st_size > 10_000
    stored = read_dataset(tmp_path / "evidence.nc")
    np.testing.assert_array_equal(stored.value, found.value)
    # Finished tests are read, and give the same table; those of other options are not taken for them.
    np.testing.assert_array_equal(module.main(options).value, found.value)
    with pytest.raises(ValueError, match=r"another configuration.*seeds"):
        module.main(replace(options, seeds=2))


@pytest.mark.slow
def test_verdict_errors_finds_the_gradient_and_not_the_edges(short_training, tmp_path, capsys):
    module = script("verdict_errors.py")
    options = module.Options(draws=20, images=(10,), pool=30, out=tmp_path, compilation_cache=None)
    found = module.main(options)
    assert (found.rate.sel(base="edges", share=0.0) == 0).all()
    assert (found.rate.sel(base="edges", share=1.0) == 1).all()
    assert "edges" in capsys.readouterr().out
    assert (tmp_path / "rates.png").stat().st_size > 10_000
