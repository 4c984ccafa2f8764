"""How does the dimension of the data change through a network, and what does training do to it? On digits.

    python experiments/intrinsic_dimension.py

trains the paper's CNN on the embedded part of MNIST, three times on the true labels and once on permuted ones until it
knows them by heart. Then it measures the intrinsic dimension of training images in every layer of these and of
untrained networks, with the linear dimension and a Gaussian control beside it, the spectra of some layers, and the last
hidden layer over the training. And it trains a smaller network on digits whose brightness is shifted at random, MNIST*.
About ten minutes on two cores, most of them the permuted labels. It should show about 13 in the input, no higher
dimension in the hidden layers for the true labels, a last hidden layer some dimensions higher for the permuted ones, a
flat profile up to the logits without training, and spectra without a gap; of MNIST*, that one dimension of large
variance hides the others in the input, where 2 are left (3 of 2000 images), and that the network finds about 8 again by
its second convolution.

    python experiments/intrinsic_dimension.py --source idx --data-dir PATH --images 2000

measures the whole of MNIST as the paper does. Its permuted labels are learned in 48,000 steps ("memorize_all"), an
hour on two cores; --networks untrained true leaves them out. --seeds and --permuted-seeds ask for more trainings,
--shifted-steps 0 leaves MNIST* out.

In the folder --out: results.nc (an xarray Dataset), results.csv (a row an estimate), profiles.png, spectra.png,
training.png, shifted.png, table.txt, report.html (all of it for a browser); parts/ holds what is finished.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import shifted_digits
import tyro
import xarray as xr
from digits import MODELS, Digits, load, preset_of, set_up, trained_params
from dimension_findings import DIGIT_FIGURES, digit_findings, digit_tables
from dimension_tables import table, training_figure, training_table
from pages import write_findings
from tqdm import tqdm
from unfinished import run

import saliency_jax as sj
from saliency_jax import data, plotting, results
from saliency_jax.keys import named
from saliency_jax.presets import PRESETS
from saliency_jax.sanity import permuted_labels
from saliency_jax.training import Progress, evaluate, train

LAYERS = ("conv1", "conv1/max_pool", "conv2", "conv2/max_pool", "dense/relu", "logits")
"""What the paper measures: convolutions before their ReLU, poolings, the hidden layer, the output."""
NETWORKS = ("untrained", "true", "permuted")


@dataclass(frozen=True)
class Options(Digits):
    """How does the dimension of the data change through a network, and what does training do to it? On digits."""

    images: int = 1000
    """How many training images are measured, spread evenly over all. The paper measures 2000."""
    networks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = NETWORKS
    """Which networks: untrained, true, permuted."""
    seeds: int = 3
    """How many networks are trained on the true labels, and how many stay untrained: the spread over them is shown."""
    permuted_seeds: int = 1
    """How many networks are trained on permuted labels: five minutes each."""
    epochs: Annotated[tuple[int, ...], tyro.conf.arg(metavar="EPOCH ...")] = (0, 1, 2, 3, 4)
    """After which epochs of a training on the true labels the last hidden layer is measured; none without."""
    shifted_steps: int = 1200
    """Steps of the trainings of the smaller network on digits and on shifted digits (MNIST*); 0 leaves them out."""
    out: Path = Path("runs/intrinsic_dimension")
    """The folder for the results; the same options again go on with what is there."""


def main(options: Options) -> xr.Dataset:
    """Train, measure, write the results and print the table."""
    check(options)
    set_up((), (), options.out, options.compilation_cache)
    split = load(options, "train")
    if not 50 <= options.images <= len(split.images):
        raise SystemExit(f"--images must be between 50 and the {len(split.images)} there are, got {options.images}")
    parts = options.out / "parts"
    asked = {name: str(getattr(options, name)) for name in ("dataset", "source", "preset", "seed", "images", "epochs")}
    results.open_run(parts, asked)
    dataset = measured(options, split)
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_csv(dataset, options.out / "results.csv", variable="dimension")
    what = f"{plotting.readable(options.dataset)} ({options.source})"
    title = f"The paper's CNN on {options.images} training images of {what}"
    plotting.save(plotting.dimension_profiles(dataset, repeats="seed", title=title), options.out / "profiles.png")
    plotting.save(plotting.dimension_spectra(dataset.isel(seed=0), title=title), options.out / "spectra.png")
    written, text = ["results.nc", "results.csv", "profiles.png", "spectra.png"], f"{title}\n\n"
    text += f"{table(dataset, measured_on='accuracy on them')}\n"
    if options.epochs:
        during = results.part(parts, "over the training", partial(during_training, options, split))
        plotting.save(training_figure(during), options.out / "training.png")
        written, text = [*written, "training.png"], text + f"{training_table(during)}\n"
    if options.shifted_steps:
        name = f"shifted digits {options.shifted_steps}"
        found = results.part(parts, name, partial(of_shifted_digits, options, split))
        title = f"Digits, and digits shifted in brightness by up to {found.attrs['brightness']:g} times their range"
        plotting.save(plotting.dimension_profiles(found, title=title), options.out / "shifted.png")
        written, text = [*written, "shifted.png"], text + f"{title} (MNIST*), in a smaller CNN\n\n"
        text += f"{table(found, measured_on='test accuracy')}\n"
    text += f"{dataset.attrs['caution']}\n"
    results.write_bytes(options.out / "table.txt", text.encode())
    figures = {name: said for name, said in DIGIT_FIGURES.items() if name in written}
    findings, tables = digit_findings(dataset), digit_tables(dataset)
    script = "intrinsic_dimension.py"
    write_findings(findings, options, script, __doc__, figures=figures, tables=tables, printed=text)
    print(text)
    print(f"written: {options.out}/{', '.join(written)}, table.txt, report.html")
    return dataset


def check(options: Options) -> None:
    """End with a sentence where an option is wrong."""
    if unknown := [name for name in options.networks if name not in NETWORKS]:
        raise SystemExit(f"--networks must be among {', '.join(NETWORKS)}; got {', '.join(unknown)}")
    if options.model != "cnn":
        raise SystemExit(f"--model must be cnn, whose layers the paper measures; got {options.model}")
    for name, least in {"seeds": 1, "permuted_seeds": 1, "shifted_steps": 0}.items():
        if getattr(options, name) < least:
            flag = name.replace("_", "-")
            raise SystemExit(f"--{flag} must be at least {least}, got {getattr(options, name)}")


def measured(options: Options, split: data.Split) -> xr.Dataset:
    """The profiles over (network, seed); what was not trained as often is NaN there."""
    parts, rows = options.out / "parts", []
    most = max(options.permuted_seeds if name == "permuted" else options.seeds for name in options.networks)
    empty = {"reason": "", "points": 0, "duplicates": 0, "features": 0}
    for name in options.networks:
        count = options.permuted_seeds if name == "permuted" else options.seeds
        found = [results.part(parts, f"{name} {i}", partial(of_network, options, name, i, split)) for i in range(count)]
        seeds = xr.DataArray(np.arange(count), dims="seed", name="seed")
        row = xr.concat(found, seeds, combine_attrs="override")
        rows.append(row.reindex(seed=np.arange(most), fill_value=empty))
    networks = xr.DataArray(list(options.networks), dims="network", name="network")
    return xr.concat(rows, networks, combine_attrs="override")


def of_network(options: Options, name: str, number: int, split: data.Split) -> xr.Dataset:
    """The profile of one network on the images that it was trained on."""
    if number:
        folder = (options.checkpoints or options.out) / f"seed {number}"
        options = replace(options, seed=options.seed + number, checkpoints=folder)
    key = jax.random.key(options.seed)
    model, labels = MODELS[options.model](), split.labels
    if name == "untrained":
        params = model.init(named(key, "init"), jnp.asarray(split.images[:1]))
    elif name == "permuted":
        labels = np.asarray(permuted_labels(labels, named(key, "permuted labels")))
        kind = "memorize" if options.source == "embedded" else "memorize_all"
        _, params = trained_params(options, labels=labels, kind=kind, draw="permuted labels")
    else:
        _, params = trained_params(options)
    images, labels = spread(split.images, options.images), spread(labels, options.images)
    found = measure(options, model, params, images, f"{name} {number}")
    return found.assign(accuracy=evaluate(model.apply, params, images, labels))


def spread(items: Any, count: int) -> Any:
    """Some of the items, evenly spread: neighbours in MNIST's files are written by the same hand."""
    return items[np.arange(count) * len(items) // count]


def measure(options: Options, model: Any, params: Any, images: Any, name: str, **settings: Any) -> xr.Dataset:
    """`layer_dimensions` with a bar."""
    with tqdm(desc=f"measuring: {name}", unit="layer", leave=False) as bar:
        return sj.layer_dimensions(
            model.apply,
            params,
            images,
            key=named(jax.random.key(options.seed), "control"),
            progress=lambda layer: bar.update(),
            **{"layers": LAYERS} | settings,
        )


def during_training(options: Options, split: data.Split) -> xr.Dataset:
    """The last hidden layer's dimension, and the accuracy on test images, after some epochs of a training."""
    model, test = MODELS[options.model](), load(options, "test")
    key = named(jax.random.key(options.seed), "during training")
    begun = model.init(named(key, "init"), jnp.asarray(split.images[:1]))
    kept: dict[int, Any] = {0: begun} if 0 in options.epochs else {}

    def keep(progress: Progress) -> None:
        if progress.epoch in options.epochs:
            kept[progress.epoch] = jax.device_get(progress.params)

    config = PRESETS[f"{preset_of(options)}_{options.model}"]
    if any(options.epochs):
        train(model.apply, begun, split.images, split.labels, key=named(key, "training"), config=config, on_epoch=keep)
    images = spread(split.images, options.images)
    found = [
        measure(options, model, params, images, f"epoch {e}", layers=("dense/relu",)) for e, params in kept.items()
    ]
    accuracy = [evaluate(model.apply, params, test.images, test.labels) for params in kept.values()]
    epochs = xr.DataArray(list(kept), dims="epoch", name="epoch")
    return xr.concat(found, epochs, combine_attrs="override").assign(accuracy=("epoch", accuracy))


def of_shifted_digits(options: Options, split: data.Split) -> xr.Dataset:
    """The profiles of the smaller network on digits and on shifted digits."""
    key = named(jax.random.key(options.seed), "shifted digits")
    test, steps = load(options, "test"), options.shifted_steps
    return shifted_digits.profiles(split, test, key=key, images=options.images, steps=steps)


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "intrinsic_dimension.py", __doc__)
