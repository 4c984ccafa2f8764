"""Do saliency maps depend on the weights of the model? The parameter randomization test on digits.

    python experiments/parameter_randomization.py

trains the paper's CNN on the embedded part of MNIST, explains test images with it, replaces its layers by random ones
from the output down, and compares the maps. About a minute and a half on two cores. It should show that the gradient
and SmoothGrad change as soon as the top layer is random, that the absolute values of integrated gradients and
gradient x input hardly change at all on digits (the sparse image dominates the product), and that their signs do.

    python experiments/parameter_randomization.py --source idx --data-dir PATH --images 100 --seeds 5

trains on all of MNIST as in the paper (about half an hour on two cores) and gives the numbers of experiments/README.md.

In the folder --out: results.nc (an xarray Dataset), results.csv (a row a measurement), curves.png, maps.png, table.txt,
report.html (all of it for a browser); parts/ holds what is finished, so that a run that was broken off goes on where
it was. --vector pdf svg adds the figures for a paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import tyro
import xarray as xr
from devices import Devices, start
from digits import Digits, part_bar, prepare, trained_params
from pages import write_page
from tables import table
from tqdm import tqdm
from unfinished import run

import saliency_jax as sj
from saliency_jax import plotting, results
from saliency_jax.keys import named
from saliency_jax.processes import is_writer
from saliency_jax.training import evaluate

DEMO_EXPLAINERS = (
    "gradient",
    "smoothgrad",
    "gradient_times_input",
    "integrated_gradients",
    "smoothgrad_squared",
    "vargrad",
    "edges",
)


@dataclass(frozen=True)
class Options(Devices, Digits):
    """Do saliency maps depend on the weights of the model? The parameter randomization test on digits."""

    images: int = 32
    """How many test images are explained: the first ones."""
    seeds: int = 2
    """How many random models for each stage."""
    order: Literal["top_down", "bottom_up", "independent"] = "top_down"
    """Randomize from the output down (the paper's cascade), from the input up, or one layer at a time."""
    protocol: Literal["released_code", "paper"] = "released_code"
    """The code behind the paper's figures (own initializers, the random model's class) or its text (normal 0.01)."""
    explainers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = DEMO_EXPLAINERS
    """Which explainers, by their names in saliency_jax.EXPLAINERS."""
    vector: Annotated[tuple[Literal["pdf", "svg"], ...], tyro.conf.arg(metavar="FORMAT ...")] = ()
    """Write the figures as vector graphics too, whose texts stay texts: pdf, svg or both."""
    out: Path = Path("runs/parameter_randomization")
    """The folder for the results; the same options again go on with what is there."""


def main(options: Options) -> xr.Dataset:
    """Train or load the model, run the test, write the results and print the table."""
    key = jax.random.key(options.seed)
    test = prepare(options, options.explainers, options.images)
    model, params = trained_params(options)
    accuracy = evaluate(model.apply, params, test.images, test.labels)
    print(f"{options.model} on {options.dataset} ({options.source}): test accuracy {accuracy:.4f}")

    with tqdm(desc="randomization", unit="part", leave=False) as bar:
        dataset = sj.parameter_randomization(
            model.apply,
            params,
            lambda key: model.init(key, jnp.asarray(test.images[:1])),
            test.images[: options.images],
            test.labels[: options.images],
            {name: sj.EXPLAINERS[name] for name in options.explainers},
            key=named(key, "randomization"),
            order=options.order,
            protocol=options.protocol,
            seeds=options.seeds,
            evaluation=(test.images[:1000], test.labels[:1000]),
            mesh=options.mesh(),
            folder=options.out / "parts",
            progress=part_bar(bar),
        )
    if not is_writer():
        return dataset
    dataset = dataset.assign_attrs(
        model=options.model, dataset=options.dataset, source=options.source, test_accuracy=accuracy
    )
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_csv(dataset, options.out / "results.csv")
    plotting.save(plotting.similarity_curves(dataset), options.out / "curves.png", vector=options.vector)
    plotting.save(plotting.map_grid(dataset), options.out / "maps.png", vector=options.vector)
    text = table(dataset)
    results.write_bytes(options.out / "table.txt", text.encode())
    write_page(dataset, options, "parameter_randomization.py")
    print(text)
    print(f"written: {options.out}/results.nc, results.csv, curves.png, maps.png, table.txt, report.html")
    return dataset


if __name__ == "__main__":
    run(main, start(tyro.cli(Options, description=__doc__)), "parameter_randomization.py", __doc__)
