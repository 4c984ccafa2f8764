"""How does the dimension of photographs change through pretrained networks? The hunchback, and the last hidden layer.

    python experiments/network_dimensions.py --images FOLDER

measures the intrinsic dimension of photographs at the outputs of the blocks of pretrained networks and of the same
networks with random weights, with the linear dimension and a Gaussian control beside it. About five minutes for 200
photographs and two networks on two cores; with so few photographs the Gaussian control is close by. It should show a
rise and then a fall with trained weights, the hunchback; no fall before the last layers with random ones; and, over
networks, a last hidden layer whose dimension goes with the error.

    python experiments/network_dimensions.py --images FOLDER --networks mobilenet_v2 inception_v3_birds \\
        --weights mobilenet_v2 FILE inception_v3_birds FILE

adds networks whose weights lie in a file. The paper takes 500 photographs of one class or 2000 of all.

In the folder --out: results-NETWORK.nc (xarray Datasets), results.csv (a row an estimate), profiles-NETWORK.png,
spectra-NETWORK.png, last_hidden.png, table.txt, report.html (all of it for a browser); parts/ holds what is finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
import xarray as xr
from digits import set_up
from dimension_findings import network_figures, network_findings, network_tables
from matplotlib.figure import Figure
from pages import write_findings
from photographs import NETWORKS, Photographs, prepare
from tqdm import tqdm
from unfinished import run

import saliency_jax as sj
from saliency_jax import plotting, results
from saliency_jax.keys import named

STATES = ("trained", "untrained")


@dataclass(frozen=True)
class Options:
    """How does the dimension of photographs change through pretrained networks? The hunchback, and the last layer."""

    images: tuple[Path, ...]
    """Pictures: files, folders of files, or .npz archives of encoded pictures."""
    networks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ("squeezenet1_1", "efficientnet_lite0")
    """Which networks, as in imagenet_randomization.py."""
    weights: Mapping[str, Path] = field(default_factory=dict)
    """Files of weights, name and path in turn, for networks whose weights no installed package brings."""
    head: Path = Path("runs/inception_birds")
    """For inception_v3_birds: the folder in which inception_birds.py trained the last blocks."""
    limit: int | None = None
    """How many pictures of each folder or archive are used, spread evenly over it; all if not given."""
    seed: int = 0
    """The seed of everything that is drawn."""
    out: Path = Path("runs/network_dimensions")
    """The folder for the results; the same options again go on with what is there."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


def main(options: Options) -> dict[str, xr.Dataset]:
    """Measure every network, write the results and print the table."""
    if unknown := [name for name in options.networks if name not in NETWORKS]:
        raise SystemExit(f"--networks must be among {', '.join(NETWORKS)}; got {', '.join(unknown)}")
    set_up((), (), options.out, options.compilation_cache)
    parts = options.out / "parts"
    asked = {"images": [str(path) for path in options.images], "limit": options.limit, "seed": options.seed}
    results.open_run(parts, asked)
    found = {name: results.part(parts, name, partial(of_network, options, name)) for name in options.networks}
    for name, dataset in found.items():
        results.write_dataset(dataset, options.out / f"results-{name}.nc")
        title = f"{plotting.readable(name)}, {dataset.attrs['images']} photographs"
        plotting.save(plotting.dimension_profiles(dataset, title=title), options.out / f"profiles-{name}.png")
        plotting.save(plotting.dimension_spectra(dataset, title=title), options.out / f"spectra-{name}.png")
    plotting.save(last_hidden_figure(found), options.out / "last_hidden.png")
    frames = [dataset.dimension.to_series().reset_index().assign(network=name) for name, dataset in found.items()]
    rows = "".join(frame.to_csv(index=False, header=i == 0) for i, frame in enumerate(frames))
    results.write_bytes(options.out / "results.csv", rows.encode())
    text = "\n".join([*(table(name, dataset) for name, dataset in found.items()), last_hidden_table(found)])
    text += f"\n{next(iter(found.values())).attrs['caution']}\n"
    results.write_bytes(options.out / "table.txt", text.encode())
    figures, tables = network_figures(list(found)), network_tables(found)
    script = "network_dimensions.py"
    write_findings(network_findings(found), options, script, __doc__, figures=figures, tables=tables, printed=text)
    print(text)
    drawn = "profiles-*.png, spectra-*.png, last_hidden.png"
    print(f"written: {options.out}/results-*.nc, results.csv, {drawn}, table.txt, report.html")
    return found


def of_network(options: Options, name: str) -> xr.Dataset:
    """The profiles of one network, with its weights and with random ones."""
    network, photographs = prepare(
        Photographs(
            images=options.images,
            network=name,
            weights=options.weights.get(name),
            head=options.head,
            limit=options.limit,
        )
    )
    apply, images = network.model.apply, photographs.images
    key = jax.random.key(options.seed)
    fresh = jax.jit(network.model.init)(named(key, "init"), jnp.asarray(images[:1]))
    layers = [tap.name for tap in sj.block_outputs(sj.taps(apply, network.params, images[:1]))]
    with tqdm(desc=f"measuring {name}", unit="layer", leave=False, total=2 * len(layers) + 2) as bar:
        measured = sj.layer_dimensions_along(
            "state",
            apply,
            dict(zip(STATES, (network.params, fresh), strict=True)),
            images,
            key=named(key, "control"),
            layers=layers,
            progress=lambda layer: bar.update(),
        )
    return measured.assign_attrs(accuracy=photographs.accuracy())


def last_hidden(dataset: xr.Dataset) -> xr.Dataset:
    """What the last layer reads: the last but one of the trained network."""
    return dataset.sel(state="trained", estimator="two_nn").isel(layer=-2)


def last_hidden_figure(found: Mapping[str, xr.Dataset]) -> Figure:
    """The dimension of the last hidden layer against the error, a point a network."""
    figure, axes = plt.subplots(figsize=(6, 4.4), layout="constrained")
    for i, (name, dataset) in enumerate(found.items()):
        one = last_hidden(dataset)
        error = 1 - dataset.attrs["accuracy"]
        interval = np.abs(np.array([[one.low], [one.high]], float) - float(one.dimension))
        axes.errorbar(
            100 * error,
            float(one.dimension),
            yerr=interval,
            color=plotting.COLOURS[i % len(plotting.COLOURS)],
            marker=plotting.MARKERS[i % len(plotting.MARKERS)],
            linestyle="",
            capsize=3,
            label=plotting.readable(name),
        )
    axes.set_xlabel("error on these photographs, %")
    axes.set_ylabel("dimension of the last hidden layer")
    axes.set_ylim(0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def table(name: str, dataset: xr.Dataset) -> str:
    """A row a layer: depth, size, and the estimates with trained and with random weights."""
    columns = [(state, estimator) for state in STATES for estimator in ("two_nn", "gaussian_control", "pca")]
    lines = [f"{name}, {dataset.attrs['images']} photographs", ""]
    lines.append(f"{'':44s}{'depth':>7s}{'size':>9s}" + "".join(f"{state:>14s}" for state, _ in columns))
    headings = {"two_nn": "TwoNN", "gaussian_control": "Gaussian", "pca": "linear"}
    lines.append(f"{'':60s}" + "".join(f"{headings[estimator]:>14s}" for _, estimator in columns))
    for layer in dataset.layer.values:
        one = dataset.sel(layer=layer)
        cells = (float(one.dimension.sel(state=state, estimator=estimator)) for state, estimator in columns)
        size = int(one.features.isel(state=0))
        lines.append(f"{layer:44s}{float(one.depth):7.2f}{size:9d}" + "".join(f"{cell:14.1f}" for cell in cells))
    for state in STATES:
        for layer in dataset.layer.values:
            if reason := dataset.reason.sel(state=state, layer=layer).item():
                lines.append(f"{state}, {layer}: {reason}")
    return "\n".join([*lines, ""])


def last_hidden_table(found: Mapping[str, xr.Dataset]) -> str:
    """The last hidden layer of every network beside its accuracy."""
    lines = ["last hidden layer of the trained networks: dimension [95% interval], accuracy on these photographs"]
    for name, dataset in found.items():
        one = last_hidden(dataset)
        interval = f"[{float(one.low):.1f}, {float(one.high):.1f}]"
        lines.append(f"{name:24s}{float(one.dimension):8.1f} {interval:16s}{dataset.attrs['accuracy']:8.3f}")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "network_dimensions.py", __doc__)
