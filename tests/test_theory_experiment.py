"""The experiment on what theory knows runs from its command, in small, and what it writes is read back."""

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

SCRIPT = Path(__file__).resolve().parents[1] / "experiments" / "theory.py"


@pytest.fixture(scope="module")
def module():
    specification = importlib.util.spec_from_file_location("theory_experiment", SCRIPT)
    loaded = importlib.util.module_from_spec(specification)
    # A dataclass looks its own module up by name.
    sys.modules[specification.name] = loaded
    specification.loader.exec_module(loaded)
    return loaded


@pytest.mark.slow
def test_the_experiment_writes_what_it_prints_and_goes_on_from_it(module, tmp_path, capsys, monkeypatch):
    options = module.Options(
        images=4, explained=2, seeds=2, filters=(3,), out=tmp_path / "new" / "run", compilation_cache=None
    )
    found = module.main(options)
    printed = capsys.readouterr().out
    stored = {name: read_dataset(options.out / f"{name}.nc") for name in found}
    for name, dataset in found.items():
        for variable in dataset.data_vars:
            np.testing.assert_array_equal(stored[name][variable], dataset[variable])
    assert (options.out / "table.txt").read_text() in printed

    rows = pd.read_csv(options.out / "recovery.csv")
    assert len(rows) == stored["recovery"].similarity.size == 3 * 2 * 3 * 1 * 2 * 2
    one = stored["recovery"].similarity.sel(explainer="guided_backprop", metric="cosine", network="convolution")
    mean = float(one.sel(filters=3).mean())
    [line] = [x for x in printed.split("cosine of map")[1].splitlines() if x.startswith("convolution, guided")]
    assert f"{mean:.2f} [" in line
    assert len(pd.read_csv(options.out / "input_dominance.csv")) == 2 * 2 * 2 * 4
    absolute = stored["input_dominance"].similarity.sel(explainer="noise_times_input", metric="spearman_abs")
    assert absolute.min() > 0.95 and f"{float(absolute.mean()):.3f} [" in printed

    one_layer = stored["convolution"]
    np.testing.assert_allclose(one_layer.closed_form, one_layer.gradient, atol=1e-5)
    # Inside of a flat patch the map is constant, and it is not constant.
    maps = one_layer.gradient.values
    assert one_layer.pattern.isin([0, 1]).all() and (np.ptp(maps, axis=(1, 2)) > 0.1).all()
    assert np.ptp(maps[0, 11:17, 11:17]) < 1e-5

    for picture in ("input_dominance", "convolution", "recovery", "recovery_maps"):
        assert (options.out / f"{picture}.png").stat().st_size > 10_000

    def never(*args, **kwargs):
        raise AssertionError("what is finished was measured again")

    for measurement in ("input_dominance", "recovery", "convolution"):
        monkeypatch.setattr(module, measurement, never)
    again = module.main(options)
    np.testing.assert_array_equal(again["recovery"].similarity, found["recovery"].similarity)
    with pytest.raises(ValueError, match=r"another configuration.*seeds"):
        module.main(replace(options, seeds=1))


@pytest.mark.parametrize("options", [{"images": 0}, {"explained": 1001}])
def test_the_experiment_names_a_bad_option(module, options, tmp_path):
    [name] = options
    with pytest.raises(SystemExit, match=f"--{name} must be between 1 and the 1000 test images"):
        module.main(module.Options(**options, out=tmp_path, compilation_cache=None))
    assert not list(tmp_path.iterdir())
