"""Do maps follow the task, where two tasks look at the same images? Engineered tasks of a digit beside a shape.

    python experiments/engineered_tasks.py

trains one small CNN to tell the digit and another to tell the shape, of images that hold both, explains the same test
images with the two, and compares the maps. Beside it stands the usual test, of a CNN for centred digits: trained
against random weights. About two minutes on two idle cores.

A centred digit confounds that test: there is only one thing in the image to point at, whatever the model has learned.
With two objects an explainer can show which one the model looks at. That each model needs its own half and not the
other is seen from its accuracy with either half blank. A map that says so has most of its mass on that half, and the
two tasks' maps have no more in common than maps of unrelated images; "edges" shows what a map of the image alone gets.

It should show that the absolute values say little of it: about 0.5 to 0.7 of their mass is on the right half, although
the models are at chance without it. The maps of integrated gradients of the two tasks agree in rank as those of a
trained and a random model do on centred digits (0.99: both are the image), and in sign not at all. Guided
backpropagation gives the two tasks more similar maps than a trained and a random model.

In the folder --out: results.nc (an xarray Dataset of the two tasks), centred.nc (of the centred digits), results.csv (a
row a measurement), scores.png, maps.png, table.txt; parts/ and the folders of the models hold what is finished, so that
a run that was broken off goes on where it was.
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
from digits import set_up
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import saliency_jax as sj
from saliency_jax import data, plotting, results
from saliency_jax.data.engineered import DigitAndShape, digit_and_shape, halves
from saliency_jax.keys import named
from saliency_jax.models import CNN
from saliency_jax.presets import Training
from saliency_jax.sanity.engineered_test import TASK_METRICS, task_dependence
from saliency_jax.sanity.summary import mean_interval
from saliency_jax.training import evaluate, train

EXPLAINERS = {
    **sj.EXPLAINERS,
    "integrated_gradients": partial(sj.integrated_gradients, steps=32),
    "smoothgrad_squared": sj.smoothgrad_squared(sj.gradient, samples=32, noise=0.15),
}
MODELS = {"digit_task": "trained on digits", "shape_task": "trained on shapes", "random": "random weights"}


@dataclass(frozen=True)
class Options:
    """Do maps follow the task, where two tasks look at the same images?"""

    explainers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = (
        "gradient",
        "integrated_gradients",
        "smoothgrad_squared",
        "guided_backprop",
        "grad_cam",
        "edges",
    )
    """Which explainers, by their names in saliency_jax.EXPLAINERS."""
    images: int = 64
    """How many test images are explained: the first ones."""
    steps: int = 600
    """Minibatches of 50 images in each of the two tasks' trainings; half as many for the centred digits."""
    train_images: int = 5000
    """How many of the 5,000 training images are used: the first ones."""
    seed: int = 0
    """The seed of everything that is drawn."""
    out: Path = Path("runs/engineered_tasks")
    """The folder for the results; the same options again go on with what is there."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


def main(options: Options) -> xr.Dataset:
    """Train the models, run the tests, write the results and print the table."""
    digits, held_out = data.load("mnist", "train"), data.load("mnist", "test")
    if not 2 <= options.images <= len(held_out.images):
        raise SystemExit(f"--images must be between 2 and the {len(held_out.images)} test images, got {options.images}")
    if not 1 <= options.train_images <= len(digits.images):
        raise SystemExit(f"--train-images must be between 1 and {len(digits.images)}, got {options.train_images}")
    set_up(options.explainers, EXPLAINERS, options.out, options.compilation_cache)
    key = jax.random.key(options.seed)
    explainers = {name: EXPLAINERS[name] for name in options.explainers}
    model = CNN(channels=(16, 32), units=128)
    digit_images, digit_labels = digits.images[: options.train_images], digits.labels[: options.train_images]
    made = digit_and_shape(digit_images, digit_labels, named(key, "training images"))
    test = digit_and_shape(held_out.images, held_out.labels, named(key, "test images"))

    task = partial(trained_params, model, options=options, key=key)
    digit_params = task("digit_task", made.images, made.digit_labels, steps=options.steps)
    shape_params = task("shape_task", made.images, made.shape_labels, steps=options.steps)
    centred_params = task("centred", digit_images, digit_labels, steps=max(options.steps // 2, 1))
    accuracies = {"accuracy_centred": evaluate(model.apply, centred_params, held_out.images, held_out.labels)}
    on_digit, on_shape = (half[..., None] for half in halves(test))
    for name, params, labels, own in (
        ("digit_task", digit_params, test.digit_labels, on_digit),
        ("shape_task", shape_params, test.shape_labels, on_shape),
    ):
        accuracies |= {
            f"accuracy_{name}": evaluate(model.apply, params, test.images, labels),
            f"accuracy_{name}_without_other_half": evaluate(model.apply, params, test.images * own, labels),
            f"accuracy_{name}_without_own_half": evaluate(model.apply, params, test.images * ~own, labels),
        }

    explained = DigitAndShape(*(part[: options.images] for part in test))
    dataset = task_dependence(
        model.apply,
        digit_params,
        shape_params,
        explained.images,
        explained.digit_labels,
        explained.shape_labels,
        explainers,
        *halves(explained),
        key=named(key, "engineered"),
        init=lambda key: model.init(key, jnp.asarray(made.images[:1])),
        folder=options.out / "parts",
    ).assign_attrs(accuracies)
    dataset = dataset.assign(digit_on_right=("image", explained.digit_on_right.astype(np.int8)))
    centred = randomized_at_once(
        model, centred_params, held_out.images[: options.images], held_out.labels[: options.images], explainers, key
    )
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_dataset(centred, options.out / "centred.nc")
    results.write_csv(dataset, options.out / "results.csv")
    plotting.save(scores(dataset, centred), options.out / "scores.png")
    plotting.save(pictures(dataset), options.out / "maps.png")
    text = table(dataset, centred)
    results.write_bytes(options.out / "table.txt", text.encode())
    print(text)
    print(f"written: {options.out}/results.nc, centred.nc, results.csv, scores.png, maps.png, table.txt")
    return dataset


def trained_params(model: CNN, name: str, images: Any, labels: Any, *, steps: int, options: Options, key: Any) -> Any:
    """A model of one task: from its checkpoint where the training is finished, else trained, or trained on."""
    print(f"training: {name.replace('_', ' ')}", flush=True)
    initial = model.init(named(key, f"init {name}"), jnp.asarray(images[:1]))
    config = Training(steps=steps, learning_rate=1e-3, schedule="cosine")
    folder = options.out / name
    return train(model.apply, initial, images, labels, key=named(key, name), config=config, folder=folder).params


def randomized_at_once(
    model: CNN, params: Any, images: Any, labels: Any, explainers: dict[str, Any], key: Any
) -> xr.Dataset:
    """The parameter randomization test with one stage, all layers at once, and the model's own initializer."""
    paths = tuple(path for layer in sj.layers(model.apply, params, jnp.asarray(images[:1])) for path in layer.paths)
    return sj.parameter_randomization(
        model.apply,
        params,
        lambda key: model.init(key, jnp.asarray(images[:1])),
        images,
        labels,
        explainers,
        key=named(key, "centred test"),
        protocol=sj.PROTOCOLS["released_code"]._replace(explained_class="original"),
        metrics=TASK_METRICS,
        layers=[sj.Layer("random", paths)],
        seeds=1,
    )


def compared(dataset: xr.Dataset, centred: xr.Dataset, metric: str) -> dict[str, xr.Dataset]:
    """What is compared -> the mean similarity of each explainer, with its interval."""
    two, one = dataset.sel(metric=metric), centred.sel(metric=metric)
    return {
        "centred digit: random": mean_interval(one.similarity.sel(stage="random")),
        "two objects: random": mean_interval(two.similarity.sel(stage="random")),
        "two objects: other task": mean_interval(two.similarity.sel(stage="other_task")),
        "null: other image": mean_interval(two["null"].sel(null_kind="other_image"), dims=("image",)),
    }


def scores(dataset: xr.Dataset, centred: xr.Dataset) -> Figure:
    """Where the maps lie, and how alike they are: an explainer a row, means over the images with 95% intervals."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.4), sharey=True, layout="constrained")
    mass = mean_interval(dataset.mass_on_task, dims=("image",))
    of_models = {MODELS[str(name)]: mass.sel(model=name) for name in dataset.model.values}
    _draw(panels[0], of_models)
    panels[0].axvline(0.5, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    panels[0].set_title("share of the map's absolute values\non the half of the model's own task", fontsize=10)
    panels[0].set_xlim(0, 1)
    for axes, metric in zip(panels[1:], ("spearman_abs", "spearman"), strict=True):
        _draw(axes, compared(dataset, centred, metric), first_colour=3)
        axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_title(f"{plotting.TITLES[metric]}\nof two maps of one image", fontsize=10)
    names = [plotting.readable(str(name)) for name in dataset.explainer.values]
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    for axes, title in ((panels[0], "model"), (panels[2], "the trained model's map against")):
        axes.legend(title=title, loc="upper left", bbox_to_anchor=(0, -0.1), frameon=False, fontsize=8, ncols=2)
    figure.suptitle(f"Two tasks on the same {dataset.sizes['image']} images of a digit beside a shape", fontsize=12)
    return figure


def _draw(axes: Axes, series: dict[str, xr.Dataset], *, first_colour: int = 0) -> None:
    spread = np.linspace(-0.24, 0.24, len(series))
    for i, (label, interval) in enumerate(series.items()):
        mean, low, high = (interval[part].values for part in ("mean", "low", "high"))
        axes.errorbar(
            mean,
            np.arange(len(mean)) + spread[i],
            xerr=np.maximum([mean - low, high - mean], 0),
            label=label,
            color=(*plotting.COLOURS, "0.45")[first_colour + i],
            marker=plotting.MARKERS[first_colour + i],
            linestyle="none",
            markersize=5,
            elinewidth=1,
            capsize=2,
        )
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def pictures(dataset: xr.Dataset) -> Figure:
    """The maps of the models side by side: a row an explainer, the half of each model's own task framed.

    The two images that are shown have the digit on different sides where the kept images have both.
    """
    names, models = [str(x) for x in dataset.explainer.values], [str(x) for x in dataset.model.values]
    sides = dataset.digit_on_right.values[: dataset.sizes["kept_image"]].astype(bool)
    shown = [0, int(np.argmax(sides != sides[0])) or 1]
    columns = len(shown) * (1 + len(models))
    size = (1.75 * columns + 1.2, 0.98 * len(names) + 0.4)
    figure, panels = plt.subplots(len(names), columns, figsize=size, layout="constrained", squeeze=False)
    for row, name in enumerate(names):
        for block, image in enumerate(shown):
            axes = panels[row, block * (1 + len(models)) :]
            axes[0].imshow(dataset.images[image].values.squeeze(), cmap="gray", interpolation="nearest")
            for place, model in zip(axes[1:], models, strict=False):
                plotting.show_map(place, dataset.maps.sel(explainer=name, model=model)[image].values)
                if model != "random":
                    _frame(place, on_right=bool(sides[image]) == (model == "digit_task"))
            if row == 0:
                axes[0].set_title("image", fontsize=9)
                for place, model in zip(axes[1:], models, strict=False):
                    place.set_title(MODELS[model], fontsize=9)
        panels[row, 0].set_ylabel(plotting.readable(name).replace(" ", "\n", 1), rotation=0, ha="right", va="center")
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    return figure


def _frame(axes: Axes, *, on_right: bool) -> None:
    width, height = (abs(end - start) for start, end in (axes.get_xlim(), axes.get_ylim()))
    corner = (width / 2 - 0.5 if on_right else -0.5, -0.5)
    axes.add_patch(Rectangle(corner, width / 2, height, fill=False, edgecolor="#009E73", linewidth=2.5))


def table(dataset: xr.Dataset, centred: xr.Dataset) -> str:
    """The means over the images, an explainer a row, for people."""
    lines = ["", "test accuracy:"]
    for name, value in dataset.attrs.items():
        if name.startswith("accuracy_"):
            lines.append(f"  {plotting.readable(name.removeprefix('accuracy_')):36s}{value:8.4f}")
    lines += ["", "share of the map's absolute values on the half of the model's own task: mean [95% interval]"]
    mass = mean_interval(dataset.mass_on_task, dims=("image",))
    lines.append(f"{'':24s}" + "".join(f"{MODELS[str(name)]:>26s}" for name in dataset.model.values))
    for name in dataset.explainer.values:
        cells = [_cell(mass.sel(explainer=name, model=model)) for model in dataset.model.values]
        lines.append(f"{plotting.readable(str(name)):24s}" + "".join(f"{cell:>26s}" for cell in cells))
    for metric in dataset.metric.values:
        columns = compared(dataset, centred, str(metric))
        title = plotting.TITLES.get(str(metric), str(metric))
        lines += ["", f"{title} with the trained model's map: mean [95% interval]"]
        lines.append(f"{'':24s}" + "".join(f"{column:>26s}" for column in columns))
        for name in dataset.explainer.values:
            cells = [_cell(interval.sel(explainer=name)) for interval in columns.values()]
            lines.append(f"{plotting.readable(str(name)):24s}" + "".join(f"{cell:>26s}" for cell in cells))
    for name in dataset.explainer.values:
        constant = dataset.constant_maps.sel(explainer=name).sum().item()
        if constant:
            lines.append(f"{plotting.readable(str(name))}: {constant} constant maps, which have no correlation (NaN)")
    return "\n".join([*lines, ""])


def _cell(interval: xr.Dataset) -> str:
    mean, low, high = (float(interval[name]) for name in ("mean", "low", "high"))
    return "no value" if np.isnan(mean) else f"{mean:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
