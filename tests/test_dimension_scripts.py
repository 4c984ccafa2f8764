"""The experiment on the bias of estimates of dimension and the benchmark of TwoNN, run in small."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from test_experiments import EXPERIMENTS, script

from saliency_jax.results import read_dataset


@pytest.fixture(scope="module")
def bias():
    return script("dimension_bias.py")


@pytest.fixture(scope="module")
def benchmark():
    return script("benchmarks/dimension.py")


@pytest.fixture(scope="module")
def small_run(bias, tmp_path_factory):
    options = bias.Options(
        dimensions=(2, 30),
        points=(80, 200),
        draws=(3, 2),
        torus_draws=(2, 0),
        out=tmp_path_factory.mktemp("bias") / "new" / "run",
        compilation_cache=None,
    )
    return options, bias.main(options)


@pytest.mark.slow
def test_the_bias_writes_what_it_prints_and_goes_on_from_it(bias, small_run, monkeypatch, capsys):
    options, found = small_run
    stored = read_dataset(options.out / "results.nc")
    for variable in found.data_vars:
        np.testing.assert_array_equal(stored[variable], found[variable])
    frame = pd.read_csv(options.out / "results.csv")
    # Four estimators, two dimensions; of the Gaussian and the cube 3 and 2 draws, of the torus 2 and none.
    assert len(frame) == 4 * 2 * (2 * (3 + 2) + 2)
    assert (frame.low < frame.value).all() and (frame.value < frame.high).all()
    some = frame[(frame.distribution == "cube") & (frame.estimator == "gride") & (frame.points == 200)]
    some = some[some.dimension == 30].sort_values("draw").value
    np.testing.assert_allclose(
        some, found.value.sel(distribution="cube", estimator="gride", points=200, dimension=30)[:2], rtol=1e-12
    )
    assert (options.out / "bias.png").stat().st_size > 10_000

    def never(*args, **kwargs):
        raise AssertionError("what is finished was measured again")

    monkeypatch.setattr(bias, "estimates", never)
    again = bias.main(options)
    assert (options.out / "table.txt").read_text() in capsys.readouterr().out
    np.testing.assert_array_equal(again.value, found.value)
    with pytest.raises(ValueError, match=r"another configuration.*seed"):
        bias.main(replace(options, seed=1))


@pytest.mark.slow
def test_the_tables_of_the_bias_are_those_of_its_estimates(bias, small_run):
    options, _ = small_run
    frame = pd.read_csv(options.out / "results.csv")
    some = frame[(frame.distribution == "gaussian") & (frame.points == 80) & (frame.dimension == 2)]
    values = some[some.estimator == "two_nn_ml"].value
    covered = ((some.low <= 2) & (some.high >= 2))[some.estimator == "two_nn_ml"].mean()
    cell = f"{values.mean():.2f} +- {values.std() / np.sqrt(3):.2f}"
    lines = (options.out / "table.txt").read_text().splitlines()
    [line] = [x for x in lines[: lines.index("uniform in a cube")] if x.split()[:3] == ["2", "80", "3"]]
    assert cell in line and f"{covered:.0%}" in line

    pages = (options.out / "table.md").read_text()
    assert pages.startswith("Common estimators do not keep up with the true dimension above about 20")
    high = frame[(frame.distribution == "gaussian") & (frame.points == 200) & (frame.dimension == 30)]
    means = high.groupby("estimator").value.mean()
    assert f"200 points (Gaussian): {means.min():.1f} to {means.max():.1f} where it is 30" in pages
    # 30 dimensions of 200 points: no estimator comes near.
    assert means.max() < 27
    rows = [line for line in pages.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {6}
    both = frame[(frame.distribution == "gaussian") & (frame.dimension == 30) & (frame.estimator == "levina_bickel")]
    few, many = both.groupby("points").value.mean()
    assert rows[3].split("|")[-2].strip() == f"{few:.1f} / {many:.1f}"


def test_points_are_drawn_from_what_they_are_called_and_zeros_fill_the_rest(bias):
    draw = {
        name: np.asarray(bias.sampled(jax.random.key(0), 3, distribution=name, points=4000, width=5), dtype=np.float64)
        for name in bias.DISTRIBUTIONS
    }
    for name, points in draw.items():
        mean, deviation = (0, 1) if name == "gaussian" else (1 / 2, np.sqrt(1 / 12))
        assert (points[:, 3:] == 0).all()
        np.testing.assert_allclose(points[:, :3].mean(0), mean, atol=5 / np.sqrt(4000))
        np.testing.assert_allclose(np.cov(points[:, :3].T), deviation**2 * np.eye(3), atol=0.1 * deviation)
    wider = bias.sampled(jax.random.key(0), 3, distribution="gaussian", points=4000, width=9)
    np.testing.assert_array_equal(wider[:, :5], jnp.asarray(draw["gaussian"], jnp.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": (1, 2)}, "--dimensions must be at least 2"),
        ({"points": (64, 500, 600)}, "--points must be more than 64"),
        ({"draws": (5, 5)}, "--draws must be one number"),
        ({"torus_draws": (5, 5, -1)}, "--torus-draws must be one number"),
        ({"draws": (0, 0, 0), "torus_draws": (0, 0, 0)}, "must not all be 0"),
    ],
)
def test_the_bias_names_a_bad_option(bias, options, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        bias.main(bias.Options(**options, out=tmp_path, compilation_cache=None))
    assert not list(tmp_path.iterdir())


def points_of_every_kind():
    rng = np.random.default_rng(0)
    clean = rng.standard_normal((300, 4)) @ rng.standard_normal((4, 30))
    copies = np.concatenate([clean, clean[:20]])
    # On a lattice many points have two neighbours that are equally far.
    lattice = np.concatenate(
        [np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), -1).reshape(-1, 2), clean[:200, :2]]
    )
    return {"clean": clean, "copies": copies, "lattice": lattice}


@pytest.mark.parametrize("kind", ["clean", "copies", "lattice"])
def test_the_papers_way_and_ours_give_one_value(benchmark, kind):
    points = points_of_every_kind()[kind].astype(np.float32)
    assert abs(benchmark.ours(points) / benchmark.paper(points) - 1) < 1e-4


@pytest.mark.parametrize(
    ("points", "value"),
    [
        (np.random.RandomState(0).randn(1000, 10), 9.527318796872322),
        (np.random.RandomState(2).randn(2000, 20), 16.468846835270885),
    ],
)
def test_the_papers_way_gives_what_the_papers_code_gave(benchmark, points, value):
    """The values: IDNN/intrinsic_dimension.py of ansuini/IntrinsicDimDeep, run on these points."""
    assert benchmark.paper(points) == pytest.approx(value, rel=1e-9)


def test_the_papers_way_leaves_copies_out_as_the_papers_code_does(benchmark):
    """6.0008: that code's value; scikit-dimension 0.5.0 gives 6.0227."""
    random = np.random.RandomState(4)
    points = random.randn(500, 6)
    points[::10] = points[0]
    assert benchmark.paper(points) == pytest.approx(6.0008225197508915, rel=1e-9)


def test_scikit_dimension_gives_the_value_too(benchmark):
    pytest.importorskip("skdim")
    points = points_of_every_kind()["clean"].astype(np.float32)
    assert abs(benchmark.peer(points) / benchmark.paper(points) - 1) < 1e-4


def test_no_time_counts_where_values_differ(benchmark, monkeypatch):
    points = points_of_every_kind()["clean"].astype(np.float32)
    right = benchmark.paper(points)
    for wrong in (right * 1.001, float("nan")):
        monkeypatch.setattr(benchmark, "ours", lambda points, wrong=wrong: wrong)
        with pytest.raises(SystemExit, match=r"must agree to 0\.0001"):
            benchmark.compare(points, 1, lambda: 0.0)


def test_slopes_are_the_powers_that_times_grow_with(benchmark):
    from dimension_figures import slope

    sizes = [1, 10, 100, 1000]
    assert slope(sizes, [5, 5, *(7e-4 * n**1.5 for n in sizes[2:])]) == pytest.approx(1.5)
    assert np.isnan(slope([10], [1.0]))


@pytest.mark.slow
def test_the_benchmark_writes_what_it_prints_and_measures_the_memory_of_a_process_of_its_own(tmp_path):
    small = "--points 200 --features 300 --repeats 2 --scaling-points 100 200 --scaling-features 20 40"
    command = [sys.executable, EXPERIMENTS / "benchmarks" / "dimension.py", *small.split(), "--scaling-repeats", "1"]
    run = subprocess.run(
        [*command, "--large", "--large-size", "1000", "500", "--out", tmp_path / "new"],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "new" / "dimension.txt").read_text() in run.stdout
    assert (tmp_path / "new" / "dimension.png").stat().st_size > 10_000
    found = json.loads((tmp_path / "new" / "dimension.json").read_text())
    sides = found["comparison"]["sides"]
    assert {"saliency_jax", "the paper's way"} <= set(sides)
    assert sides["saliency_jax"]["times_ours"] == 1
    for side in sides.values():
        assert side["relative_difference"] <= 1e-4 and side["seconds"] > 0
        assert side["times_ours_low"] <= side["times_ours"] <= side["times_ours_high"]
        assert f"{side['value']:.4f}" in run.stdout
    assert [(row["points"], row["features"]) for row in found["scaling"]["points"]] == [(100, 40), (200, 40)]
    assert [(row["points"], row["features"]) for row in found["scaling"]["features"]] == [(200, 20), (200, 40)]
    large = found["large"]
    assert large["data_bytes"] == 1000 * 500 * 4 < large["before_bytes"] <= large["peak_bytes"]
    assert 0 < large["compile_s"] < large["seconds"]
    assert large["peak_bytes"] < 2 << 30
    assert "(under 2048 MiB)" in run.stdout
