"""Do saliency maps depend on the weights of the model? The parameter randomization test on digits.

    python experiments/parameter_randomization.py

trains the paper's CNN on the embedded part of MNIST, explains test images with it, replaces its layers by random ones
from the output down, and compares the maps. About a minute and a half on two cores. It should show that the gradient
and SmoothGrad change as soon as the top layer is random, that the absolute values of integrated gradients and
gradient x input hardly change at all on digits (the sparse image dominates the product), and that their signs do.

    python experiments/parameter_randomization.py --source idx --data-dir PATH --images 100 --seeds 5

trains on all of MNIST as in the paper (about half an hour on two cores) and gives the numbers of experiments/README.md.

In the folder --out: results.nc (an xarray Dataset), results.csv (a row a measurement), curves.png, maps.png, table.txt;
parts/ holds what is finished, so that a run that was broken off goes on where it was.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr
from tqdm import tqdm

import saliency_jax as sj
from saliency_jax import data, plotting, results
from saliency_jax.keys import named
from saliency_jax.models import CNN, MLP
from saliency_jax.presets import PRESETS
from saliency_jax.sanity.summary import mean_interval
from saliency_jax.training import Progress, evaluate, train

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
class Options:
    """Do saliency maps depend on the weights of the model? The parameter randomization test on digits."""

    model: Literal["cnn", "mlp"] = "cnn"
    """The network: the paper's CNN (two convolutions) or its MLP (2500-1500-500)."""
    dataset: Literal["mnist", "fashion_mnist"] = "mnist"
    """What it is trained on."""
    source: Literal["embedded", "idx", "tfds"] = "embedded"
    """Where the data comes from: the 6,000 digits in the package, the four IDX .gz files, or TensorFlow Datasets."""
    data_dir: Path | None = None
    """The folder of the IDX files or of the prepared TensorFlow Datasets."""
    preset: Literal["demo", "paper"] | None = None
    """How it is trained; "demo" on the embedded data, "paper" (20,000 steps) on all of it, if not given."""
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
    seed: int = 0
    """The seed of everything that is drawn."""
    out: Path = Path("runs/parameter_randomization")
    """The folder for the results; the same options again go on with what is there."""
    checkpoints: Path | None = None
    """The folder of the trained model; below --out if not given."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


def main(options: Options) -> xr.Dataset:
    """Train or load the model, run the test, write the results and print the table."""
    unknown = [name for name in options.explainers if name not in sj.EXPLAINERS]
    if unknown:
        raise SystemExit(f"--explainers must be among {', '.join(sj.EXPLAINERS)}; got {', '.join(unknown)}")
    if options.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(options.compilation_cache.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    options.out.mkdir(parents=True, exist_ok=True)
    key = jax.random.key(options.seed)
    test = data.load(options.dataset, "test", source=options.source, data_dir=options.data_dir)
    if not 1 <= options.images <= len(test.images):
        raise SystemExit(f"--images must be between 1 and the {len(test.images)} test images, got {options.images}")
    model = CNN() if options.model == "cnn" else MLP()
    params = trained_params(model, options, key)
    accuracy = evaluate(model.apply, params, test.images, test.labels)
    print(f"{options.model} on {options.dataset} ({options.source}): test accuracy {accuracy:.4f}")

    with tqdm(desc="randomization", unit="part", leave=False) as bar:

        def advance(name: str, done: int, total: int) -> None:
            bar.total = total
            bar.set_postfix_str(name)
            bar.update(done - bar.n)

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
            mesh=jax.make_mesh((jax.device_count(),), ("images",)),
            folder=options.out / "parts",
            progress=advance,
        )
    dataset = dataset.assign_attrs(
        model=options.model, dataset=options.dataset, source=options.source, test_accuracy=accuracy
    )
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_csv(dataset, options.out / "results.csv")
    plotting.save(plotting.similarity_curves(dataset), options.out / "curves.png")
    plotting.save(plotting.map_grid(dataset), options.out / "maps.png")
    text = table(dataset)
    results.write_bytes(options.out / "table.txt", text.encode())
    print(text)
    print(f"written: {options.out}/results.nc, results.csv, curves.png, maps.png, table.txt")
    return dataset


def trained_params(model: Any, options: Options, key: Any) -> Any:
    """The model's parameters: from its checkpoint where the training is finished, else trained, or trained on."""
    preset = options.preset or ("demo" if options.source == "embedded" else "paper")
    config = PRESETS[f"{preset}_{options.model}"]
    split = data.load(options.dataset, "train", source=options.source, data_dir=options.data_dir)
    folder = options.checkpoints or options.out / f"{options.model}-{options.dataset}-{options.source}-{preset}"
    initial = model.init(named(key, "init"), jnp.asarray(split.images[:1]))
    with tqdm(desc="training", unit="epoch", leave=False) as bar:

        def advance(progress: Progress) -> None:
            bar.total = progress.epochs
            bar.set_postfix(loss=f"{progress.loss:.4f}", accuracy=f"{progress.accuracy:.4f}")
            bar.update(progress.epoch - bar.n)

        trained = train(
            model.apply,
            initial,
            split.images,
            split.labels,
            key=named(key, "training"),
            config=config,
            on_epoch=advance,
            folder=folder,
        )
    return trained.params


def table(dataset: xr.Dataset) -> str:
    """The means over images and seeds, an explainer a row, for people."""
    lines = ["", "state of the models, mean over seeds:"]
    models = dataset[["accuracy", "logit_low", "logit_high"]].mean("seed")
    lines.append(f"{'':28s}" + "".join(f"{name:>12s}" for name in dataset.model.values))
    for name in models.data_vars:
        lines.append(f"{plotting.readable(str(name)):28s}" + "".join(f"{float(x):12.3f}" for x in models[name].values))
    for metric in dataset.metric.values:
        curves = mean_interval(dataset.similarity.sel(metric=metric))
        nulls = mean_interval(dataset["null"].sel(metric=metric, null_kind="other_image"), dims=("image",))
        lines += ["", f"{plotting.TITLES.get(str(metric), str(metric))}: mean [95% interval]"]
        lines.append(f"{'':24s}" + "".join(f"{name:>20s}" for name in (*dataset.stage.values, "null: other image")))
        for name in dataset.explainer.values:
            cells = [_cell(curves.sel(explainer=name, stage=stage)) for stage in dataset.stage.values]
            cells.append(_cell(nulls.sel(explainer=name)))
            lines.append(f"{plotting.readable(str(name)):24s}" + "".join(f"{cell:>20s}" for cell in cells))
    constant = dataset.constant_maps.sum(["stage", "seed"])
    for name in dataset.explainer.values[constant.values > 0]:
        count = int(constant.sel(explainer=name))
        lines.append(f"{plotting.readable(str(name))}: {count} constant maps, which have no correlation (NaN)")
    return "\n".join([*lines, ""])


def _cell(interval: xr.Dataset) -> str:
    mean, low, high = (float(interval[name]) for name in ("mean", "low", "high"))
    return "no value" if np.isnan(mean) else f"{mean:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    # One device a core: XLA computes most convolutions of a small network on a single one.
    jax.config.update("jax_num_cpu_devices", os.cpu_count())
    main(tyro.cli(Options, description=__doc__))
