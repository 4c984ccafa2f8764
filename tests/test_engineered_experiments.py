"""The experiments of engineered tasks and of remove-and-retrain, in small: what they write is read back."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest

from saliency_jax.results import read_dataset

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


def script(name):
    specification = importlib.util.spec_from_file_location(f"experiment_{Path(name).stem}", EXPERIMENTS / name)
    module = importlib.util.module_from_spec(specification)
    # A dataclass looks its own module up by name.
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_engineered_tasks_writes_what_it_prints(tmp_path, capsys):
    module = script("engineered_tasks.py")
    options = {"explainers": ("gradient", "edges"), "images": 5, "steps": 3, "train_images": 60}
    dataset = module.main(module.Options(**options, out=tmp_path, compilation_cache=None))
    printed = capsys.readouterr().out
    stored, centred = (read_dataset(tmp_path / name) for name in ("results.nc", "centred.nc"))
    np.testing.assert_array_equal(stored.similarity, dataset.similarity)
    np.testing.assert_array_equal(stored.mass_on_task, dataset.mass_on_task)
    assert centred.stage.values.tolist() == ["random"] and centred.sizes["image"] == 5
    rows = pd.read_csv(tmp_path / "results.csv")
    assert len(rows) == dataset.similarity.size == 2 * 3 * 2 * 1 * 5
    # Edges do not look at the model: one map, whose two shares make one, and which equals itself.
    edges = stored.sel(explainer="edges")
    np.testing.assert_allclose(edges.similarity, 1, atol=1e-5)
    np.testing.assert_allclose(edges.mass_on_task.sel(model=["digit_task", "shape_task"]).sum("model"), 1, rtol=1e-5)
    mean = float(stored.mass_on_task.sel(explainer="gradient", model="digit_task").mean())
    assert f"{mean:.2f} [" in printed and printed.strip().startswith("training: digit task")
    assert (tmp_path / "table.txt").read_text() in printed
    for picture in ("scores.png", "maps.png"):
        assert (tmp_path / picture).stat().st_size > 10_000
    assert f"{mean:.2f} [" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_roar_writes_what_it_prints_and_goes_on_from_it(tmp_path, capsys):
    module = script("roar.py")
    given = {"explainers": ("gradient", "noise"), "fractions": (0.5, 1.0), "seeds": 1, "steps": 3}
    options = module.Options(**given, train_images=60, test_images=40, out=tmp_path, compilation_cache=None)
    dataset = module.main(options)
    printed = capsys.readouterr().out
    stored = read_dataset(tmp_path / "results.nc")
    np.testing.assert_array_equal(stored.accuracy, dataset.accuracy)
    rows = pd.read_csv(tmp_path / "results.csv")
    assert len(rows) == dataset.accuracy.size == 2 * 2 * 1
    # Where every pixel is gone, all images are one: whichever class a model names, it is right for that class alone.
    labels = module.data.load("mnist", "test").labels[:40]
    shares = np.bincount(labels, minlength=10) / 40
    for accuracy in stored.accuracy.sel(fraction=1.0).values.ravel():
        assert np.isclose(shares, accuracy).any()
    assert f"{float(stored.accuracy.sel(explainer='gradient', fraction=0.5).mean()):.3f} [" in printed
    for picture in ("curves.png", "removed.png"):
        assert (tmp_path / picture).stat().st_size > 10_000
    assert "less accurate than by noise: " in (tmp_path / "report.html").read_text()
    again = module.main(options)
    np.testing.assert_array_equal(again.accuracy, dataset.accuracy)
    with pytest.raises(ValueError, match=r"another configuration.*seeds"):
        module.main(replace(options, seeds=2))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("engineered_tasks.py", {"explainers": ("gradients",)}, "--explainers must be among"),
        ("engineered_tasks.py", {"images": 1}, "--images must be between 2 and the 1000 test images, got 1"),
        ("engineered_tasks.py", {"train_images": 5001}, "--train-images must be between 1 and 5000, got 5001"),
        ("roar.py", {"explainers": ("gradients",)}, "--explainers must be among"),
        ("roar.py", {"test_images": 0}, "--test-images must be between 1 and 1000, got 0"),
    ],
)
def test_a_bad_option_is_named(name, options, message, tmp_path):
    module = script(name)
    with pytest.raises(SystemExit, match=message):
        module.main(module.Options(**options, out=tmp_path / "none", compilation_cache=None))
    assert not (tmp_path / "none").exists()
