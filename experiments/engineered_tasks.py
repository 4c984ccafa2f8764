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

In the folder --out: results.nc (an xarray Dataset of the two tasks), centred.nc (of the centred digits), results.csv
(a row a measurement), scores.png, maps.png, table.txt, report.html (all of it for a browser); parts/ and the folders of
the models hold what is finished, so that a run that was broken off goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr
from digits import set_up
from engineered_figures import MODELS, compared, pictures, scores, table
from pages import spoken, write_findings
from unfinished import run

import saliency_jax as sj
from saliency_jax import data, plotting, results
from saliency_jax.data.engineered import DigitAndShape, digit_and_shape, halves
from saliency_jax.keys import named
from saliency_jax.models import CNN
from saliency_jax.presets import Training
from saliency_jax.report import Table, labelled_table
from saliency_jax.sanity.engineered_test import TASK_METRICS, task_dependence
from saliency_jax.sanity.summary import mean_interval
from saliency_jax.training import evaluate, train

EXPLAINERS = {
    **sj.EXPLAINERS,
    "integrated_gradients": partial(sj.integrated_gradients, steps=32),
    "smoothgrad_squared": sj.smoothgrad_squared(sj.gradient, samples=32, noise=0.15),
}


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
    report(dataset, centred, options, text)
    print(text)
    print(f"written: {options.out}/results.nc, centred.nc, results.csv, scores.png, maps.png, table.txt, report.html")
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


def report(dataset: xr.Dataset, centred: xr.Dataset, options: Options, text: str) -> None:
    """Write report.html: where the maps lie, which tasks' maps are alike, and all comparisons."""
    mass = mean_interval(dataset.mass_on_task, dims=("image",))
    tasks = mass["mean"].sel(model=["digit_task", "shape_task"])
    accuracy = {name: f"{float(value):.2f}" for name, value in dataset.attrs.items() if name.startswith("accuracy_")}
    found = [
        "What the models need of their own half: accuracy "
        f"{accuracy['accuracy_digit_task_without_other_half']} (digits) and "
        f"{accuracy['accuracy_shape_task_without_other_half']} (shapes) with the other half blank, "
        f"{accuracy['accuracy_digit_task_without_own_half']} and {accuracy['accuracy_shape_task_without_own_half']} "
        f"with their own. No explainer has more than {float(tasks.max()):.0%} of its map's absolute values there."
    ]
    for metric in ("spearman_abs", "spearman"):
        columns = compared(dataset, centred, metric)
        other, null = columns["two objects: other task"], columns["null: other image"]
        alike = other.explainer.values[(other["low"] > null["high"]).values]
        values = ", ".join(f"{float(other['mean'].sel(explainer=n)):.2f}" for n in alike)
        found.append(
            f"{plotting.TITLES[metric]}: more alike for the two tasks than for unrelated images are the maps of "
            f"{spoken(alike)}{f' ({values})' if values else ''}."
        )
    caption = "Share of the map's absolute values on the half of the model's own task: mean [95% interval]"
    write_findings(
        found,
        options,
        "engineered_tasks.py",
        __doc__,
        figures={
            "scores.png": (
                "Where the maps lie, and how alike they are: means over the images with 95% intervals.",
                "Three panels with a row for each explainer; the tables have their points.",
            ),
            "maps.png": (
                "Maps of two images by the two tasks' models and a random one; green frames: the task's own half.",
                "A row for each explainer. Most maps show both the digit and the shape, whatever the task.",
            ),
        },
        tables=[
            labelled_table(caption, mass.assign_coords(model=list(MODELS.values())), rows="explainer", columns="model"),
            *(comparisons(dataset, centred, metric) for metric in ("spearman_abs", "spearman")),
        ],
        printed=text,
    )


def comparisons(dataset: xr.Dataset, centred: xr.Dataset, metric: str) -> Table:
    """How alike the trained model's map and others are, a row an explainer."""
    columns = compared(dataset, centred, metric)
    intervals = [interval[["mean", "low", "high"]].reset_coords(drop=True) for interval in columns.values()]
    return labelled_table(
        f"{plotting.TITLES[metric]} with the trained model's map: mean [95% interval]",
        xr.concat(intervals, xr.DataArray(list(columns), dims="maps", name="maps")),
        rows="explainer",
        columns="maps",
    )


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "engineered_tasks.py", __doc__)
