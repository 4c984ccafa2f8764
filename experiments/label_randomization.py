"""Do saliency maps depend on what a model has learned about the data? The data randomization test on digits.

    python experiments/label_randomization.py

trains the paper's CNN twice on the embedded part of MNIST, on the true labels and on permuted ones until it knows those
by heart, explains test images with both and compares the maps. About six minutes on two cores, nearly all of them the
second training. It should show that the maps of most explainers have little in common once their signs count, while the
absolute values of integrated gradients and gradient x input agree on digits whatever was learned.

    python experiments/label_randomization.py --source idx --data-dir PATH --images 100

with --dataset fashion_mnist and with --model mlp as well, is the paper's test, on all 60,000 images. Their permuted
labels take the CNN an hour on two cores; the training keeps checkpoints, and the same command goes on with it.

In the folder --out: results.nc (an xarray Dataset), results.csv (a row a measurement), bars.png, maps.png, table.txt,
report.html (all of it for a browser); parts/ holds what is finished. --vector pdf svg adds the figures for a paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
import xarray as xr
from devices import Devices, start
from digits import Digits, load, part_bar, prepare, trained_params
from pages import write_page
from tables import table
from tqdm import tqdm
from unfinished import run

import saliency_jax as sj
from saliency_jax import plotting, results
from saliency_jax.keys import named
from saliency_jax.processes import is_writer
from saliency_jax.sanity import Fit, permuted_labels

NEED_CONVOLUTIONS = ("grad_cam", "guided_grad_cam", "lrp")
"""What the MLP has no use for: Grad-CAM needs a spatial layer, and LRP's flat rule spreads a dense layer's relevance
evenly over all pixels."""
EXPLAINERS = (
    "gradient",
    "smoothgrad",
    "guided_backprop",
    "grad_cam",
    "guided_grad_cam",
    "gradient_times_input",
    "integrated_gradients",
    "integrated_gradients_smoothgrad",
    "smoothgrad_squared",
    "vargrad",
    "lrp",
    "deep_lift",
    "edges",
)


@dataclass(frozen=True)
class Options(Devices, Digits):
    """Do saliency maps depend on what a model has learned about the data? The data randomization test on digits."""

    images: int = 32
    """How many test images are explained: the first ones."""
    explainers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Which explainers, by their names in saliency_jax.EXPLAINERS; the paper's and four more if none is given."""
    least_fitted: float = 0.95
    """The training accuracy on permuted labels under which the test is refused."""
    vector: Annotated[tuple[Literal["pdf", "svg"], ...], tyro.conf.arg(metavar="FORMAT ...")] = ()
    """Write the figures as vector graphics too, whose texts stay texts: pdf, svg or both."""
    out: Path = Path("runs/label_randomization")
    """The folder for the results; the same options again go on with what is there."""


def main(options: Options) -> xr.Dataset:
    """Train or load both models, run the test, write the results and print the table."""
    applicable = EXPLAINERS if options.model == "cnn" else tuple(n for n in EXPLAINERS if n not in NEED_CONVOLUTIONS)
    explainers = options.explainers or applicable
    test = prepare(options, explainers, options.images)
    key = jax.random.key(options.seed)
    split = load(options, "train")
    permuted = np.asarray(permuted_labels(split.labels, named(key, "permuted labels")))
    kind = "memorize" if options.source == "embedded" else "memorize_all"
    model, true_params = trained_params(options)
    _, random_params = trained_params(options, labels=permuted, kind=kind, draw="permuted labels")
    with tqdm(desc="explaining", unit="part", leave=False) as bar:
        dataset = sj.data_randomization(
            model.apply,
            true_params,
            random_params,
            test.images[: options.images],
            test.labels[: options.images],
            {name: sj.EXPLAINERS[name] for name in explainers},
            key=named(key, "label test"),
            fit=Fit(split.images, split.labels, permuted, test.images, test.labels),
            least_fitted=options.least_fitted,
            mesh=options.mesh(),
            folder=options.out / "parts",
            progress=part_bar(bar),
        )
    if not is_writer():
        return dataset
    dataset = dataset.assign_attrs(model=options.model, dataset=options.dataset, source=options.source)
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_csv(dataset, options.out / "results.csv")
    plotting.save(plotting.similarity_bars(dataset), options.out / "bars.png", vector=options.vector)
    plotting.save(plotting.map_grid(dataset), options.out / "maps.png", vector=options.vector)
    text = f"{learned(dataset)}\n{table(dataset)}"
    results.write_bytes(options.out / "table.txt", text.encode())
    write_page(dataset, options, "label_randomization.py")
    print(text)
    print(f"written: {options.out}/results.nc, results.csv, bars.png, maps.png, table.txt, report.html")
    return dataset


def learned(dataset: xr.Dataset) -> str:
    """What each model knows, in two lines."""
    lines = [f"{dataset.attrs['model']} on {dataset.attrs['dataset']} ({dataset.attrs['source']})"]
    for name, labels in zip(dataset.model.values, ("true labels", "permuted labels"), strict=True):
        train, test = (float(dataset[f"{kind}_accuracy"].sel(model=name)) for kind in ("train", "test"))
        lines.append(f"{labels}: training accuracy {train:.4f} on them, test accuracy {test:.4f}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, start(tyro.cli(Options, description=__doc__)), "label_randomization.py", __doc__)
