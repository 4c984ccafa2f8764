"""Do explainers find the pixels that a task needs? Remove and retrain (ROAR) on digits.

    python experiments/roar.py

trains a small CNN on the embedded part of MNIST, ranks the pixels of every image by each explainer's map, replaces the
highest of them by the mean grey, and trains the CNN anew on what is left: 73 trainings of 200 steps, about ten minutes
of processor time, shared by the cores. The better an explainer finds what the task needs, the faster the accuracy
falls. "noise" is a random ranking and "edges" looks at the image alone: what does not fall faster than these has not
shown that it found anything.

It should show that the two panels disagree. The holes of SmoothGrad squared mislead the CNN that is not trained anew
the most; one that is trained on images with these holes loses no more than by random ones. Only integrated gradients
stay below the edges from one half of the pixels on. Grad-CAM costs next to nothing at any fraction although the digit
is gone: the shape of its holes tells the class, as removed.png shows.

In the folder --out: results.nc (an xarray Dataset), results.csv (a row a training), curves.png, removed.png, table.txt;
parts/ holds what is finished, so that a run that was broken off goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
import xarray as xr
from digits import set_up
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

import saliency_jax as sj
from saliency_jax import data, plotting, results
from saliency_jax.keys import named
from saliency_jax.models import CNN
from saliency_jax.presets import Training
from saliency_jax.sanity.roar import roar
from saliency_jax.sanity.summary import mean_interval
from saliency_jax.training import evaluate, train

# Every training image is explained, so that paths and averages are shorter than in the paper's settings.
SHORT = {
    "integrated_gradients": partial(sj.integrated_gradients, steps=16),
    "smoothgrad": sj.smoothgrad(sj.gradient, samples=16, noise=0.15),
    "smoothgrad_squared": sj.smoothgrad_squared(sj.gradient, samples=16, noise=0.15),
    "vargrad": sj.vargrad(sj.gradient, samples=16, noise=0.15),
}
EXPLAINERS = {**sj.EXPLAINERS, **SHORT}


@dataclass(frozen=True)
class Options:
    """Do explainers find the pixels that a task needs? Remove and retrain (ROAR) on digits."""

    explainers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = (
        "gradient",
        "integrated_gradients",
        "smoothgrad_squared",
        "guided_backprop",
        "grad_cam",
        "noise",
        "edges",
    )
    """Which explainers, by their names in saliency_jax.EXPLAINERS."""
    fractions: Annotated[tuple[float, ...], tyro.conf.arg(metavar="F ...")] = (0.1, 0.3, 0.5, 0.7, 0.9)
    """Shares of the pixels to remove."""
    ranking: Literal["absolute", "signed"] = "absolute"
    """Rank pixels by the map's absolute values or by the map as it is."""
    seeds: int = 2
    """How many trainings for each explainer and fraction."""
    steps: int = 200
    """Minibatches of 50 images in each training."""
    train_images: int = 5000
    """How many of the 5,000 training images are used: the first ones."""
    test_images: int = 1000
    """How many of the 1,000 test images are used: the first ones."""
    seed: int = 0
    """The seed of everything that is drawn."""
    out: Path = Path("runs/roar")
    """The folder for the results; the same options again go on with what is there."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


def main(options: Options) -> xr.Dataset:
    """Train the model, run the test, write the results and print the table."""
    splits = {name: data.load("mnist", name) for name in ("train", "test")}
    counts = {"train": options.train_images, "test": options.test_images}
    for name, split in splits.items():
        if not 1 <= counts[name] <= len(split.images):
            raise SystemExit(f"--{name}-images must be between 1 and {len(split.images)}, got {counts[name]}")
    set_up(options.explainers, EXPLAINERS, options.out, options.compilation_cache)
    key = jax.random.key(options.seed)
    train_set, test_set = ((split.images[: counts[n]], split.labels[: counts[n]]) for n, split in splits.items())
    model = CNN(channels=(16, 32), units=128)
    config = Training(steps=options.steps, learning_rate=1e-3, schedule="cosine")
    retrain = partial(trained_params, model=model, config=config)
    params = retrain(*train_set, named(key, "explained model"))
    accuracy = evaluate(model.apply, params, *test_set)
    print(f"the model that is explained: test accuracy {accuracy:.4f}")

    with tqdm(desc="remove and retrain", unit="part", leave=False) as bar:

        def advance(name: str, done: int, total: int) -> None:
            bar.total = total
            bar.set_postfix_str(name)
            bar.update(done - bar.n)

        dataset = roar(
            model.apply,
            params,
            retrain,
            train_set,
            test_set,
            {name: EXPLAINERS[name] for name in options.explainers},
            key=named(key, "roar"),
            fractions=options.fractions,
            seeds=options.seeds,
            ranking=options.ranking,
            folder=options.out / "parts",
            progress=advance,
        )
    dataset = dataset.assign_attrs(test_accuracy=accuracy)
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_csv(dataset, options.out / "results.csv", variable="accuracy")
    plotting.save(curves(dataset), options.out / "curves.png")
    plotting.save(pictures(dataset), options.out / "removed.png")
    text = table(dataset)
    results.write_bytes(options.out / "table.txt", text.encode())
    print(text)
    print(f"written: {options.out}/results.nc, results.csv, curves.png, removed.png, table.txt")
    return dataset


def trained_params(images: Any, labels: Any, key: Any, *, model: CNN, config: Training) -> Any:
    """A training from fresh weights."""
    initial = model.init(named(key, "init"), jnp.asarray(images[:1]))
    return train(model.apply, initial, images, labels, key=named(key, "training"), config=config).params


def curves(dataset: xr.Dataset) -> Figure:
    """Accuracy against the fraction removed, trained anew and not, a line an explainer."""
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.8), sharey=True, layout="constrained")
    seeds, whole = dataset.sizes["seed"], float(dataset.accuracy_of_whole_images.mean())
    intervals = mean_interval(dataset.accuracy, dims=("seed",))
    _draw(panels[0], dataset, intervals["mean"], whole, intervals)
    _draw(panels[1], dataset, dataset.accuracy_without_retraining, dataset.attrs["test_accuracy"])
    panels[0].set_title(f"trained anew (mean of {seeds} trainings, bars: 95% bootstrap interval)", fontsize=10)
    panels[1].set_title("the explained model, not trained anew", fontsize=10)
    panels[0].set_ylabel("test accuracy")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    figure.suptitle(f"Remove and retrain: pixels ranked by {dataset.attrs['ranking']} value of the map", fontsize=12)
    return figure


def _draw(axes: Axes, dataset: xr.Dataset, means: xr.DataArray, whole: float, bars: xr.Dataset | None = None) -> None:
    fractions = np.concatenate([[0.0], dataset.fraction.values])
    coloured = [name for name in dataset.explainer.values if name not in plotting.CONTROLS]
    for name in dataset.explainer.values:
        mean = np.concatenate([[whole], means.sel(explainer=name).values])
        control = name in plotting.CONTROLS
        place = (plotting.CONTROLS if control else coloured).index(name)
        axes.errorbar(
            fractions,
            mean,
            yerr=None if bars is None else _lengths(mean, bars.sel(explainer=name)),
            label=plotting.readable(str(name)),
            color="0.45" if control else plotting.COLOURS[place % len(plotting.COLOURS)],
            marker=plotting.MARKERS[place % len(plotting.MARKERS)],
            markerfacecolor="white" if control else None,
            linestyle=":" if control else "-",
            linewidth=1.6,
            markersize=5,
            elinewidth=1,
            capsize=2,
        )
    axes.axhline(0.1, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axes.annotate("chance", (0.0, 0.1), xytext=(0, 3), textcoords="offset points", fontsize=8, color="0.4")
    axes.set(xlabel="fraction of the pixels removed", xlim=(-0.03, 1.0), ylim=(0, 1.02))
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _lengths(mean: np.ndarray, interval: xr.Dataset) -> np.ndarray:
    low, high = (np.concatenate([mean[:1], interval[part].values]) for part in ("low", "high"))
    return np.maximum([mean - low, high - mean], 0)


def pictures(dataset: xr.Dataset) -> Figure:
    """The first test image without what each explainer ranks highest: a row an explainer, a column a fraction."""
    names, fractions = [str(x) for x in dataset.explainer.values], dataset.fraction.values
    figure, panels = plt.subplots(
        len(names),
        1 + len(fractions),
        figsize=(1.25 * (1 + len(fractions)) + 1.4, 1.25 * len(names) + 0.3),
        layout="constrained",
        squeeze=False,
    )
    for row, name in enumerate(names):
        shown = [dataset.images[0], *dataset.removed.sel(explainer=name).isel(kept_image=0)]
        for axes, picture in zip(panels[row], shown, strict=True):
            axes.imshow(np.asarray(picture).squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
        panels[row, 0].set_ylabel(plotting.readable(name).replace(" ", "\n"), rotation=0, ha="right", va="center")
    for axes, title in zip(panels[0], ["image", *(f"{fraction:.0%}" for fraction in fractions)], strict=True):
        axes.set_title(title, fontsize=9)
    return figure


def table(dataset: xr.Dataset) -> str:
    """Accuracies for people: an explainer a row, a fraction a column."""
    whole = dataset.accuracy_of_whole_images
    lines = [
        "",
        f"test accuracy of trainings on whole images: {float(whole.mean()):.3f} "
        f"(from {float(whole.min()):.3f} to {float(whole.max()):.3f} over {dataset.sizes['seed']} seeds)",
    ]
    fractions = "".join(f"{fraction:>22.0%}" for fraction in dataset.fraction.values)
    lines += ["", "test accuracy after removal and retraining: mean over seeds [95% interval]", f"{'':24s}{fractions}"]
    intervals = mean_interval(dataset.accuracy, dims=("seed",))
    for name in dataset.explainer.values:
        cells = [_cell(intervals.sel(explainer=name, fraction=fraction)) for fraction in dataset.fraction.values]
        lines.append(f"{plotting.readable(str(name)):24s}" + "".join(f"{cell:>22s}" for cell in cells))
    lines += ["", "test accuracy after removal, without retraining", f"{'':24s}{fractions}"]
    for name in dataset.explainer.values:
        accuracies = dataset.accuracy_without_retraining.sel(explainer=name).values
        lines.append(f"{plotting.readable(str(name)):24s}" + "".join(f"{x:22.3f}" for x in accuracies))
    for name in dataset.explainer.values:
        constant = dataset.constant_maps.sel(explainer=name).sum().item()
        if constant:
            lines.append(f"{plotting.readable(str(name))}: {constant} constant maps, whose pixels go at random")
    return "\n".join([*lines, ""])


def _cell(interval: xr.Dataset) -> str:
    mean, low, high = (float(interval[name]) for name in ("mean", "low", "high"))
    return "no value" if np.isnan(mean) else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
