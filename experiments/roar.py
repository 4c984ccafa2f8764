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

In the folder --out: results.nc (an xarray Dataset), results.csv (a row a training), curves.png, removed.png, table.txt,
report.html (all of it for a browser); parts/ holds what is finished, so that a run that was broken off goes on where it
was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import tyro
import xarray as xr
from digits import set_up
from pages import spoken, write_findings
from roar_figures import curves, pictures, table
from tqdm import tqdm
from unfinished import run

import saliency_jax as sj
from saliency_jax import data, plotting, results
from saliency_jax.keys import named
from saliency_jax.models import CNN
from saliency_jax.presets import Training
from saliency_jax.report import labelled_table
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
    report(dataset, options, text)
    print(text)
    print(f"written: {options.out}/results.nc, results.csv, curves.png, removed.png, table.txt, report.html")
    return dataset


def trained_params(images: Any, labels: Any, key: Any, *, model: CNN, config: Training) -> Any:
    """A training from fresh weights."""
    initial = model.init(named(key, "init"), jnp.asarray(images[:1]))
    return train(model.apply, initial, images, labels, key=named(key, "training"), config=config).params


def report(dataset: xr.Dataset, options: Options, text: str) -> None:
    """Write report.html: which explainers take more accuracy than the controls, and all curves."""
    intervals = mean_interval(dataset.accuracy, dims=("seed",))
    names = [str(name) for name in dataset.explainer.values]
    controls = [name for name in names if name in plotting.CONTROLS]
    found = []
    if controls:
        least = intervals["low"].sel(explainer=controls).min("explainer")
        below = intervals["high"].sel(explainer=[name for name in names if name not in controls]) < least
        which = below.explainer.values[below.any("fraction").values]
        found.append(f"Trained anew, less accurate than by {spoken(controls)}: {spoken(which)}.")
        for name in map(str, which):
            shares = [f"{float(f):.0%}" for f in below.fraction[below.sel(explainer=name).values]]
            found.append(f"{plotting.readable(name)}: with {spoken(shares)} of the pixels removed.")
    middle = dataset.sizes["fraction"] // 2
    kept = dataset.accuracy_without_retraining.isel(fraction=middle)
    misled = kept.explainer.values[int(kept.argmin("explainer"))]
    anew = float(intervals["mean"].isel(fraction=middle).sel(explainer=misled))
    found.append(
        f"Without training anew {spoken([misled])} costs most with {float(kept.fraction):.0%} removed: an accuracy of "
        f"{float(kept.min()):.3f} is left, and {anew:.3f} after a training on such images."
    )
    by_fraction = partial(labelled_table, rows="explainer", columns="fraction", digits=3)
    write_findings(
        found,
        options,
        "roar.py",
        __doc__,
        figures={
            "curves.png": (
                "Test accuracy against the share of the pixels removed: trained anew (left) and not (right).",
                "Two panels of falling lines, one an explainer; the tables below have their points.",
            ),
            "removed.png": (
                "The first test image without the pixels that each explainer ranks highest.",
                "A row for each explainer, a column for each share removed: more and more of the digit is grey.",
            ),
        },
        tables=[
            by_fraction(
                "Test accuracy after removal and retraining, by share removed: mean over seeds [95% interval]",
                intervals,
            ),
            by_fraction(
                "Test accuracy after removal, without retraining, by share removed", dataset.accuracy_without_retraining
            ),
        ],
        printed=text,
    )


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "roar.py", __doc__)
