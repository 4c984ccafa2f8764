"""Do saliency maps of large networks depend on their weights? The parameter randomization test on photographs.

    python experiments/imagenet_randomization.py --network inception_v3 --weights PATH --images FOLDER

explains photographs with a published network, replaces its blocks by random ones from the output down (the seventeen
blocks of Inception v3, the stages of any other network), and compares the maps: rank correlation with and without
signs, SSIM and HOG. The class explained is what the trained network predicts. It should show that the gradient changes
as soon as the top block is random, while guided backpropagation stays as it was until the lower blocks are.

Explainers that take one gradient are the default: fifty photographs through Inception v3 take about an hour on two
cores. Those that average over samples cost fifty times as much, so they are asked for by name, and on a CPU for a few
photographs:

    python experiments/imagenet_randomization.py ... --explainers smoothgrad integrated_gradients --limit 1

In the folder --out: results.nc (an xarray Dataset), results.csv (a row a measurement), curves.png, for the first
photographs maps-N.png and overlays-N.png (the maps over the photograph), table.txt, report.html (all of it for a
browser); parts/ holds what is finished, so that a run that was broken off goes on where it was. --vector pdf svg adds
the figures for a paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import tyro
import xarray as xr
from devices import Devices, start
from digits import part_bar, set_up
from pages import write_page
from photographs import Photographs, prepare
from tables import table
from tqdm import tqdm
from unfinished import run

import saliency_jax as sj
from saliency_jax import plotting, results
from saliency_jax.keys import named
from saliency_jax.processes import is_writer

ONE_GRADIENT = ("gradient", "gradient_times_input", "guided_backprop", "grad_cam", "guided_grad_cam", "edges")


@dataclass(frozen=True)
class Options(Devices, Photographs):
    """Do saliency maps of large networks depend on their weights? The parameter randomization test on photographs."""

    seeds: int = 1
    """How many random models for each stage."""
    order: Literal["top_down", "bottom_up", "independent"] = "top_down"
    """Randomize from the output down (the paper's cascade), from the input up, or one block at a time."""
    protocol: Literal["released_code", "paper"] = "released_code"
    """The code behind the paper's figures (own initializers, the random model's class) or its text (normal 0.01)."""
    explainers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ONE_GRADIENT
    """Which explainers, by their names in saliency_jax.EXPLAINERS."""
    pictures: int = 3
    """For how many photographs, the first ones, the maps are drawn."""
    vector: Annotated[tuple[Literal["pdf", "svg"], ...], tyro.conf.arg(metavar="FORMAT ...")] = ()
    """Write the figures as vector graphics too, whose texts stay texts: pdf, svg or both."""
    devices: int | None = None
    """How many devices share the photographs; all that there are if not given, a CPU being one."""
    batch: int | None = None
    """How many photographs are explained at once; as many as the free memory holds if not given."""
    out: Path = Path("runs/imagenet_randomization")
    """The folder for the results; the same options again go on with what is there."""


def main(options: Options) -> xr.Dataset:
    """Load the network and the photographs, run the test, write the results and print the table."""
    set_up(options.explainers, sj.EXPLAINERS, options.out, options.compilation_cache)
    network, photographs = prepare(options)
    model, params, images = network.model, network.params, photographs.images
    blocks = sj.blocks(sj.layers(model.apply, params, images[:1]))
    with tqdm(desc="randomization", unit="part", leave=False) as bar:
        dataset = sj.parameter_randomization(
            model.apply,
            params,
            jax.jit(lambda key: model.init(key, jnp.zeros_like(images[:1]))),
            images,
            photographs.predicted,
            {name: sj.EXPLAINERS[name] for name in options.explainers},
            key=named(jax.random.key(options.seed), "randomization"),
            order=options.order,
            protocol=options.protocol,
            seeds=options.seeds,
            layers=blocks,
            kept_images=min(options.pictures, len(images)),
            batch_size=options.batch,
            mesh=options.mesh(),
            folder=options.out / "parts",
            progress=part_bar(bar),
        )
    if not is_writer():
        return dataset
    dataset = dataset.assign(images=photographs.displayed(dataset.images)).assign_attrs(network=options.network)
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_csv(dataset, options.out / "results.csv")
    save = partial(plotting.save, vector=options.vector)
    save(plotting.similarity_curves(dataset, metrics=list(dataset.metric.values)), options.out / "curves.png")
    for place in range(dataset.sizes["kept_image"]):
        over = partial(plotting.show_overlay, image=dataset["images"][place].values)
        save(plotting.map_grid(dataset, image=place), options.out / f"maps-{place}.png")
        save(plotting.map_grid(dataset, image=place, draw=over), options.out / f"overlays-{place}.png")
    text = f"{photographs.described()}\n{table(dataset)}"
    results.write_bytes(options.out / "table.txt", text.encode())
    write_page(dataset, options, "imagenet_randomization.py", class_names=network.class_names)
    print(text)
    figures = "curves.png, maps-*.png, overlays-*.png"
    print(f"written: {options.out}/results.nc, results.csv, {figures}, table.txt, report.html")
    return dataset


if __name__ == "__main__":
    # Of a CPU one device: a large network's convolutions take all cores of it.
    run(main, start(tyro.cli(Options, description=__doc__), of_cpu=1), "imagenet_randomization.py", __doc__)
