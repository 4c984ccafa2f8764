"""How does the dimension of the data change through a network, and what does training do to it? On digits.

    python experiments/intrinsic_dimension.py

trains the paper's CNN on the embedded part of MNIST, on the true labels and on permuted ones until it knows them by
heart. Then it measures the intrinsic dimension of training images in every layer of both and of an untrained network,
with the linear dimension and a Gaussian control beside it, and that of the last hidden layer over the training. About
eight minutes on two cores, most of them the permuted labels. It should show about 13 in the input, no higher dimension
in the hidden layers for the true labels, a last hidden layer some dimensions higher for the permuted ones, and a flat
profile up to the logits without training.

    python experiments/intrinsic_dimension.py --source idx --data-dir PATH --images 2000

measures the whole of MNIST as the paper does. The permuted labels of 60,000 images need an accelerator or hours; so do
digits whose brightness is shifted at random (MNIST*, --networks shifted): one dimension of large variance hides the
others in the input, and a network has to find them again.

In the folder --out: results.nc (an xarray Dataset), results.csv (a row an estimate), profiles.png, training.png,
table.txt; parts/ holds what is finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
import xarray as xr
from digits import MODELS, Digits, load, preset_of, set_up, trained_params
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

import saliency_jax as sj
from saliency_jax import data, plotting, results
from saliency_jax.keys import named
from saliency_jax.presets import PRESETS
from saliency_jax.sanity import permuted_labels
from saliency_jax.training import Progress, evaluate, train

LAYERS = ("conv1", "conv1/max_pool", "conv2", "conv2/max_pool", "dense/relu", "logits")
"""What the paper measures: convolutions before their ReLU, poolings, the hidden layer, the output."""
NETWORKS = ("untrained", "true", "permuted", "shifted")
BRIGHTNESS = 1000.0
"""The largest shift of MNIST*'s brightness, in units of the range of a digit's: at 1000 the input has the dimension 3
that the paper's figure shows. At its text's 100 it has 11, and at 100 of 255 the shift is not seen at all."""


@dataclass(frozen=True)
class Options(Digits):
    """How does the dimension of the data change through a network, and what does training do to it? On digits."""

    images: int = 1000
    """How many training images are measured, spread evenly over all. The paper measures 2000."""
    networks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = (
        "untrained",
        "true",
        "permuted",
        "shifted",
    )
    """Which networks: untrained, true, permuted, shifted."""
    epochs: Annotated[tuple[int, ...], tyro.conf.arg(metavar="EPOCH ...")] = (0, 1, 2, 3, 4)
    """After which epochs of a training on the true labels the last hidden layer is measured; none without."""
    out: Path = Path("runs/intrinsic_dimension")
    """The folder for the results; the same options again go on with what is there."""


def main(options: Options) -> xr.Dataset:
    """Train, measure, write the results and print the table."""
    if unknown := [name for name in options.networks if name not in NETWORKS]:
        raise SystemExit(f"--networks must be among {', '.join(NETWORKS)}; got {', '.join(unknown)}")
    if options.model != "cnn":
        raise SystemExit(f"--model must be cnn, whose layers the paper measures; got {options.model}")
    set_up((), (), options.out, options.compilation_cache)
    split = load(options, "train")
    if not 50 <= options.images <= len(split.images):
        raise SystemExit(f"--images must be between 50 and the {len(split.images)} there are, got {options.images}")
    parts = options.out / "parts"
    asked = {name: str(getattr(options, name)) for name in ("dataset", "source", "preset", "seed", "images", "epochs")}
    results.open_run(parts, asked)
    found = [results.part(parts, name, partial(of_network, options, name, split)) for name in options.networks]
    dataset = xr.concat(
        found, xr.DataArray(list(options.networks), dims="network", name="network"), combine_attrs="override"
    )
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_csv(dataset, options.out / "results.csv", variable="dimension")
    what = f"{plotting.readable(options.dataset)} ({options.source})"
    title = f"The paper's CNN on {options.images} training images of {what}"
    plotting.save(plotting.dimension_profiles(dataset, title=title), options.out / "profiles.png")
    text = f"{title}\n\n{table(dataset)}\n"
    if options.epochs:
        during = results.part(parts, "during training", partial(during_training, options, split))
        plotting.save(training_figure(during), options.out / "training.png")
        text += f"{training_table(during)}\n"
    text += f"{dataset.attrs['caution']}\n"
    results.write_bytes(options.out / "table.txt", text.encode())
    print(text)
    print(f"written: {options.out}/results.nc, results.csv, profiles.png, training.png, table.txt")
    return dataset


def of_network(options: Options, name: str, split: data.Split) -> xr.Dataset:
    """The profile of one network on the images that it was trained on."""
    key = jax.random.key(options.seed)
    model, labels, images = MODELS[options.model](), split.labels, split.images
    if name == "shifted":
        images = shifted(images, named(key, "brightness"))
    if name == "untrained":
        params = model.init(named(key, "init"), jnp.asarray(images[:1]))
    elif name == "shifted":
        params = trained_on(options, model, images, labels, "shifted brightness", "memorize_all")
    elif name == "permuted":
        labels = np.asarray(permuted_labels(labels, named(key, "permuted labels")))
        kind = "memorize" if options.source == "embedded" else "memorize_all"
        _, params = trained_params(options, labels=labels, kind=kind, draw="permuted labels")
    else:
        _, params = trained_params(options)
    images, labels = spread(images, options.images), spread(labels, options.images)
    measured = measure(options, model, params, images, name)
    accuracy = evaluate(model.apply, params, images, labels)
    return measured.assign(accuracy=accuracy)


def spread(items: Any, count: int) -> Any:
    """Some of the items, evenly spread: neighbours in MNIST's files are written by the same hand."""
    return items[np.arange(count) * len(items) // count]


def shifted(images: Any, key: Any) -> np.ndarray:
    """MNIST*: to all pixels of an image one number is added, uniform in [0, BRIGHTNESS]."""
    shift = jax.random.uniform(key, (len(images), 1, 1, 1), maxval=BRIGHTNESS)
    return np.asarray(images + shift)


def trained_on(
    options: Options, model: Any, images: Any, labels: Any, draw: str, kind: str | None = None, on_epoch: Any = None
) -> Any:
    """The model trained with other draws, on other images, or by another kind of training."""
    key = named(jax.random.key(options.seed), draw)
    return train(
        model.apply,
        model.init(named(key, "init"), jnp.asarray(images[:1])),
        images,
        labels,
        key=named(key, "training"),
        config=PRESETS[f"{kind or preset_of(options)}_{options.model}"],
        on_epoch=on_epoch,
        folder=None if on_epoch else options.out / draw,
    ).params


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
    wanted = set(options.epochs)
    kept: dict[int, Any] = {}

    def keep(progress: Progress) -> None:
        if progress.epoch in wanted:
            kept[progress.epoch] = jax.device_get(progress.params)

    if 0 in wanted:
        key = named(jax.random.key(options.seed), "during training")
        kept[0] = model.init(named(key, "init"), jnp.asarray(split.images[:1]))
    trained_on(options, model, split.images, split.labels, "during training", on_epoch=keep)
    images = split.images[: options.images]
    found = [
        measure(options, model, params, images, f"epoch {e}", layers=("dense/relu",)) for e, params in kept.items()
    ]
    accuracy = [evaluate(model.apply, params, test.images, test.labels) for params in kept.values()]
    epochs = xr.DataArray(list(kept), dims="epoch", name="epoch")
    return xr.concat(found, epochs, combine_attrs="override").assign(accuracy=("epoch", accuracy))


def training_figure(during: xr.Dataset) -> Figure:
    """Dimension of the last hidden layer and test accuracy, over the epochs."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    one = during.sel(estimator="two_nn").isel(layer=-1)
    errors = np.abs(np.stack([one.low, one.high]) - one.dimension.values)
    axes.errorbar(one.epoch, one.dimension, yerr=errors, color=plotting.COLOURS[0], marker="o", capsize=3)
    axes.set_xlabel("epoch")
    axes.set_ylabel("dimension of the last hidden layer", color=plotting.COLOURS[0])
    axes.set_ylim(0)
    beside = axes.twinx()
    beside.plot(during.epoch, during.accuracy, color=plotting.COLOURS[1], marker="s", linestyle="--")
    beside.set_ylabel("test accuracy", color=plotting.COLOURS[1])
    beside.set_ylim(0, 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Over the training on the true labels", fontsize=11)
    return figure


def table(dataset: xr.Dataset) -> str:
    """A row a layer: TwoNN with its interval for each network, then the linear dimension."""
    lines = []
    for estimator, title in (
        ("two_nn", "intrinsic dimension, TwoNN [95% interval]"),
        ("gaussian_control", "Gaussian points of equal covariance"),
        ("pca", "linear dimension: components with 90% of the variance"),
    ):
        one = dataset.sel(estimator=estimator)
        lines += [title, f"{'':18s}" + "".join(f"{name:>22s}" for name in dataset.network.values)]
        for layer in dataset.layer.values:
            cells = (_cell(one.sel(layer=layer, network=name)) for name in dataset.network.values)
            lines.append(f"{layer:18s}" + "".join(f"{cell:>22s}" for cell in cells))
        lines.append("")
    accuracies = "".join(f"{float(x):22.3f}" for x in dataset.accuracy)
    lines.append(f"{'accuracy on them':18s}{accuracies}")
    for place in zip(*np.nonzero(dataset.reason.values != ""), strict=True):
        one = dataset.isel(dict(zip(dataset.reason.dims, place, strict=True)))
        lines.append(f"{one.network.item()}, {one.layer.item()}: {one.reason.item()}")
    return "\n".join([*lines, ""])


def training_table(during: xr.Dataset) -> str:
    """The last hidden layer over the training, an epoch a row."""
    one = during.sel(estimator="two_nn").isel(layer=-1)
    lines = ["last hidden layer over the training on the true labels: dimension [95% interval], test accuracy"]
    lines += [
        f"epoch {int(e):3d}{_cell(one.sel(epoch=e)):>22s}{float(one.accuracy.sel(epoch=e)):8.3f}" for e in one.epoch
    ]
    return "\n".join([*lines, ""])


def _cell(one: xr.Dataset) -> str:
    return f"{float(one.dimension):.1f} [{float(one.low):.1f}, {float(one.high):.1f}]"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
