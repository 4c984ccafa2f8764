"""How far can an estimate of the intrinsic dimension be believed? Points whose dimension is known.

    python experiments/dimension_bias.py

draws Gaussian points, points of a cube and points of a flat torus (no boundary, density constant: what theory assumes)
of 2 to 100 dimensions, and asks TwoNN (the paper's line, and maximum likelihood), Gride at its largest range and
Levina-Bickel about each draw. Under three minutes on two cores.

On a torus of more than 10 dimensions a point's neighbours cost a comparison with every other, so that the largest
number of points is left out there; it is measured, in about ten minutes more, with

    --torus-draws 30 4 2

It should show that common estimators do not keep up with the true dimension above about 20: they give 15 to 18 for
8000 Gaussian points of dimension 20 and 41 to 54 for dimension 100; more points help little, and without a boundary
they fall short as well. An interval tells how much an estimate would change with other points and not its bias:
TwoNN's covers the truth on the torus up to dimension 10, and at dimension 50 hardly any does.

In the folder --out: results.nc (an xarray Dataset), results.csv (a row an estimate), bias.png, table.txt, report.html
(all of it for a browser), and table.md for the documentation; parts/ holds what is finished, so that a run that was
broken off goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr
from dimension_bias_summary import DISTRIBUTIONS, GRIDE_RANGE, TITLES, figure, lesson, markdown, summary, table
from jax import Array
from pages import write_findings
from tqdm import tqdm
from unfinished import run

from saliency_jax import plotting, results
from saliency_jax.dimension import Dimension, gride, levina_bickel, nearest_neighbours, two_nn
from saliency_jax.keys import named, numbered
from saliency_jax.report import labelled_table

ESTIMATORS: dict[str, Callable[[Any], Dimension]] = {
    "two_nn_linear": two_nn,
    "two_nn_ml": partial(two_nn, method="ml"),
    "gride": partial(gride, ranges=(GRIDE_RANGE,)),
    "levina_bickel": levina_bickel,
}


@dataclass(frozen=True)
class Options:
    """How far can an estimate of the intrinsic dimension be believed?"""

    dimensions: tuple[int, ...] = (2, 5, 10, 20, 30, 50, 100)
    """The true dimensions."""
    points: tuple[int, ...] = (500, 2000, 8000)
    """How many points are drawn."""
    draws: tuple[int, ...] = (50, 16, 4)
    """How often, for each number of points: Gaussian points and those of the cube."""
    torus_draws: tuple[int, ...] = (30, 4, 0)
    """How often, for each number of points: those of the torus."""
    seed: int = 0
    """The seed of everything that is drawn."""
    out: Path = Path("runs/dimension_bias")
    """The folder for the results; the same options again go on with what is there."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


def main(options: Options) -> xr.Dataset:
    """Estimate, write the results and print the table."""
    check(options)
    if options.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(options.compilation_cache.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    found = measured(options)
    results.write_dataset(found, options.out / "results.nc")
    results.write_bytes(options.out / "results.csv", rows(found).to_csv(index=False).encode())
    judged = summary(found)
    plotting.save(figure(judged), options.out / "bias.png")
    text = table(judged)
    results.write_bytes(options.out / "table.txt", text.encode())
    results.write_bytes(options.out / "table.md", markdown(judged).encode())
    report(judged, options, text)
    print(text)
    print(f"written: {options.out}/results.nc, results.csv, bias.png, table.txt, table.md, report.html")
    return found


def report(judged: xr.Dataset, options: Options, text: str) -> None:
    """Write report.html: what is to be remembered, and means and coverage at the largest number of points."""
    tables = []
    for distribution, title in DISTRIBUTIONS.items():
        drawn = judged.points[judged.draws.sel(distribution=distribution) > 0]
        if drawn.size:
            one = judged.sel(distribution=distribution, points=int(drawn.max()))
            one = one.assign_coords(estimator=[TITLES[str(name)] for name in one.estimator.values])
            tables += [
                labelled_table(
                    f"{title}, {int(drawn.max())} points: {caption}",
                    one[name],
                    rows="dimension",
                    columns="estimator",
                )
                for name, caption in (("mean", "mean estimate"), ("coverage", "share of 95% intervals that cover"))
            ]
    write_findings(
        [lesson(judged)],
        options,
        "dimension_bias.py",
        __doc__,
        figures={
            "bias.png": (
                "The estimate against the true dimension, from the fewest points (dashed) to the most (solid).",
                "A panel for each distribution; what lies below the diagonal is too low.",
            )
        },
        tables=tables,
        printed=text,
    )


def check(options: Options) -> None:
    """Exit with the option's name where one cannot be."""
    if not options.dimensions or min(options.dimensions) < 2:
        raise SystemExit(f"--dimensions must be at least 2, got {options.dimensions}")
    if not options.points or min(options.points) <= 2 * GRIDE_RANGE:
        raise SystemExit(f"--points must be more than {2 * GRIDE_RANGE}, Gride's neighbours, got {options.points}")
    for name, draws in (("draws", options.draws), ("torus-draws", options.torus_draws)):
        if len(draws) != len(options.points) or min(draws) < 0:
            raise SystemExit(f"--{name} must be one number, 0 or more, for each of --points, got {draws}")
    if not any(options.draws + options.torus_draws):
        raise SystemExit("--draws and --torus-draws must not all be 0")


def measured(options: Options) -> xr.Dataset:
    """All estimates with their intervals `[distribution, estimator, points, dimension, draw]`; NaN beyond the draws."""
    settings = {name: value for name, value in asdict(options).items() if name not in ("out", "compilation_cache")}
    results.open_run(options.out / "parts", settings)
    draws = np.array([options.torus_draws if name == "torus" else options.draws for name in DISTRIBUTIONS])
    coords: dict[str, Any] = {
        "distribution": list(DISTRIBUTIONS),
        "estimator": list(ESTIMATORS),
        "points": list(options.points),
        "dimension": list(options.dimensions),
        "draw": np.arange(draws.max()),
    }
    shape = [len(labels) for labels in coords.values()]
    found = xr.Dataset(
        {name: (tuple(coords), np.full(shape, np.nan)) for name in ("value", "low", "high")}
        | {"draws": (("distribution", "points"), draws)},
        coords=coords,
    )
    key = named(jax.random.key(options.seed), "dimension bias")
    cells = list(product(DISTRIBUTIONS, options.points, options.dimensions))
    for distribution, points, dimension in tqdm(cells, desc="estimates"):
        count = int(found.draws.sel(distribution=distribution, points=points))
        if count == 0:
            continue
        name = f"{distribution} {points} {dimension}"
        width = max(options.dimensions)
        measure = partial(estimates, named(key, name), distribution, points, dimension, draws=count, width=width)
        one = results.part(options.out / "parts", name, measure)
        place = {"distribution": distribution, "points": points, "dimension": dimension, "draw": slice(0, count - 1)}
        for variable in one.data_vars:
            found[variable].loc[place] = one[variable].values
    return found


def estimates(key: Array, distribution: str, points: int, dimension: int, *, draws: int, width: int) -> xr.Dataset:
    """Every estimator's value and interval for some draws: the neighbours of each are found once."""
    drawn = []
    for one in numbered(key, draws):
        sample = sampled(one, dimension, distribution=distribution, points=points, width=width)
        period = 1.0 if distribution == "torus" else None
        neighbours = nearest_neighbours(sample, neighbours=2 * GRIDE_RANGE, period=period)
        several = [estimate(neighbours) for estimate in ESTIMATORS.values()]
        drawn.append([[np.asarray(x).item() for x in (e.value, e.low, e.high)] for e in several])
    value, low, high = np.array(drawn).transpose(2, 1, 0)
    dims = ("estimator", "draw")
    return xr.Dataset(
        {"value": (dims, value), "low": (dims, low), "high": (dims, high)},
        coords={"estimator": list(ESTIMATORS), "draw": np.arange(draws)},
    )


@partial(jax.jit, static_argnames=("distribution", "points", "width"))
def sampled(key: Array, dimension: Any, *, distribution: str, points: int, width: int) -> Array:
    """Points `[point, width]` of which the first `dimension` coordinates are drawn and the others are 0.

    Zeros change no distance, and programs of one shape are compiled once for all dimensions.
    """
    draw = jax.random.normal if distribution == "gaussian" else jax.random.uniform
    columns = jax.vmap(lambda key: draw(key, (points,)))(numbered(key, width))
    return jnp.where(jnp.arange(width)[:, None] < dimension, columns, 0).T


def rows(found: xr.Dataset) -> Any:
    """The estimates as a table, a row each, without those that were not drawn."""
    made = found.draw < found.draws
    frame = found[["value", "low", "high"]].assign(made=made).to_dataframe()
    return frame[frame.made].drop(columns="made").reset_index()


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "dimension_bias.py", __doc__)
