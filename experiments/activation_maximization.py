"""What do the classes and units of a network answer to most? Activation maximization on digits, and on photographs.

    python experiments/activation_maximization.py

trains the paper's CNN on the embedded part of MNIST and looks for the ten prototypes: the images x that maximize
log p(c|x) - lambda ||x||^2 for several lambda; log p(c|x) + w log p(x) for a Gaussian and for a kernel density fitted
to the training images; and log p(c|g(z)) - w ||z||^2 / 2 for a decoder g, their principal components. It should show
grey prototypes for the penalty, smaller for a larger lambda, each classified as its class and with a gradient of 0 to
four digits; blurred digits for the Gaussian and the decoder; and for the kernel density single digits, for some classes
a 1 under noise that the network takes for the class: being near an image is not being one of the class. About five
minutes on two busy cores.

    python experiments/activation_maximization.py --network squeezenet1_1 --images FOLDER

shows units of a pretrained network: for each the maximum from Fourier coefficients with the photographs' own colours,
that of MACO with their own spectrum, and the photographs that excite it most.

    python experiments/activation_maximization.py --benchmark 64

times so many channels of the digits' network at once against one after the other.

In the folder --out: results.nc (an xarray Dataset), results.csv, table.txt, and prototypes.png and course.png, or
units.png.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
import xarray as xr
from digits import Digits, load, set_up, trained_params
from matplotlib.figure import Figure
from photographs import Photographs, prepare

import saliency_jax as sj
from saliency_jax import maximization as mx
from saliency_jax import plotting, results
from saliency_jax.data.preprocessing import displayed
from saliency_jax.keys import named, numbered
from saliency_jax.tracing import compiled

SHAPE = (28, 28, 1)
CLASSES = 10
SHOWN = 4
"""How many photographs stand beside a unit."""


@dataclass(frozen=True)
class Options(Digits):
    """What do the classes and units of a network answer to most? Activation maximization."""

    penalties: Annotated[tuple[float, ...], tyro.conf.arg(metavar="LAMBDA ...")] = (1e-4, 3e-4, 1e-3)
    """The weights of the squared norm."""
    expert_weight: float = 0.02
    """The weight w of the densities beside log p(c|x); at 1 they outweigh it, and the class is no longer sure."""
    steps: int = 300
    """Steps of the ascent, and of the refinement at each sharpness."""
    sharpness: Annotated[tuple[float, ...], tyro.conf.arg(metavar="B ...")] = (10.0, 100.0, 1000.0)
    """At which the prototypes are refined, one after another."""
    benchmark: int = 0
    """Time so many channels at once against one after the other, up to 64, and do nothing else."""
    network: str | None = None
    """A pretrained network, as in imagenet_randomization.py, whose units are shown in the place of the digits'."""
    images: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH ...")] = ()
    """Its photographs: files, folders of files, or .npz archives of encoded pictures."""
    weights: Path | None = None
    """The file of its weights; not needed where an installed package brings it."""
    limit: int | None = None
    """How many photographs of each folder or archive are used, spread evenly over it; all if not given."""
    tap: str = "fire5/expand3x3"
    """The activation whose channels are the units: this one is before its ReLU."""
    units: Annotated[tuple[int, ...], tyro.conf.arg(metavar="CHANNEL ...")] = field(default=(0, 1, 2, 3))
    """Which channels."""
    out: Path = Path("runs/activation_maximization")
    """The folder for the results."""


def main(options: Options) -> xr.Dataset | None:
    """Maximize, write the results and print the table."""
    set_up((), (), options.out, options.compilation_cache)
    if options.network is not None:
        if not options.images:
            raise SystemExit("--network needs --images, the photographs that its units are compared with")
        return units(options)
    if options.benchmark:
        benchmark(options)
        return None
    model, params = trained_params(options)
    dataset = prototypes(options, model.apply, params)
    results.write_csv(dataset, options.out / "results.csv", variable="probability")
    plotting.save(prototype_figure(dataset), options.out / "prototypes.png")
    plotting.save(course_figure(dataset), options.out / "course.png")
    return written(dataset, prototype_table(dataset), options, "prototypes.png, course.png")


def written(dataset: xr.Dataset, text: str, options: Options, figures: str) -> xr.Dataset:
    """Write the Dataset and the table, and say so."""
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_bytes(options.out / "table.txt", text.encode())
    print(f"{text}\nwritten: {options.out}/results.nc, results.csv, table.txt, {figures}")
    return dataset


def prototypes(options: Options, apply: Callable, params: Any) -> xr.Dataset:
    """The ten prototypes for every penalty, every expert and the decoder: a row each."""
    digits = load(options, "train").images
    key = named(jax.random.key(options.seed), "prototypes")
    keys, classes = numbered(key, CLASSES), jnp.arange(CLASSES)
    settings: dict[str, Any] = {"steps": options.steps, "sharpness": options.sharpness}

    def score(target: Any) -> Any:
        return sj.class_score(apply, params, target, kind="log_softmax")

    def penalized(target: Any, key: Any, weight: Any) -> tuple[mx.Maximum, mx.Maximum]:
        terms = (mx.l2(weight),)
        near = mx.maximize_activation(score(target), SHAPE, key, steps=options.steps, terms=terms)
        return near, mx.refine(score(target), near.image, terms=terms, **settings)

    def by_expert(term: Any) -> Callable:
        def one(target: Any, key: Any, start: Any) -> tuple[mx.Maximum, mx.Maximum]:
            near = mx.maximize_activation(score(target), start, key, steps=options.steps, terms=(term,))
            return near, mx.refine(score(target), near.image, terms=(term,), **settings)

        return one

    def by_decoder(target: Any, key: Any) -> tuple[mx.Maximum, mx.Maximum]:
        parameterization = mx.decoder(
            principal_components(digits), (COMPONENTS,), penalty=options.expert_weight / 2, noise=0.1
        )
        smooth = mx.smoothed(score(target), options.sharpness[-1])
        found = mx.maximize_activation(smooth, SHAPE, key, steps=4 * options.steps, parameterization=parameterization)
        return found, found

    run = compiled(jax.vmap(penalized, in_axes=(0, 0, None)))
    rows = {f"penalty {weight:g}": run(classes, keys, weight) for weight in options.penalties}
    gaussian = mx.gaussian_expert(digits, noise=0.2, weight=options.expert_weight)
    kernels = mx.kernel_density_expert(digits, bandwidth=1.5, weight=options.expert_weight)
    mean = jnp.broadcast_to(jnp.asarray(digits.mean(0)), (CLASSES, *SHAPE))
    rows["Gaussian"] = compiled(jax.vmap(by_expert(gaussian)))(classes, keys, mean)
    # A mixture has many maxima: the one near what the Gaussian gives is of the right class.
    start = rows["Gaussian"][1].image
    rows["kernel density"] = compiled(jax.vmap(by_expert(kernels)))(classes, keys, start)
    rows["decoder"] = compiled(jax.vmap(by_decoder))(classes, keys)
    described = [row_dataset(apply, params, *found) for found in rows.values()]
    dataset = xr.concat(described, xr.DataArray(list(rows), dims="row", name="row"), join="outer")
    return dataset.assign_coords(weight=("row", [*options.penalties, *[np.nan] * (len(rows) - len(options.penalties))]))


COMPONENTS = 40
"""Of the decoder's code."""


def principal_components(images: np.ndarray) -> Callable:
    """The decoder g(z) = mean + sum_k deviation_k z_k direction_k, z standard normal."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    _, singular, directions = np.linalg.svd((flat - mean) / np.sqrt(len(flat)), full_matrices=False)
    axes = jnp.asarray(singular[:COMPONENTS, None] * directions[:COMPONENTS], jnp.float32)
    return lambda code: (jnp.asarray(mean, jnp.float32) + code @ axes).reshape(images.shape[1:])


def row_dataset(apply: Callable, params: Any, near: mx.Maximum, found: mx.Maximum) -> xr.Dataset:
    """What is told of ten prototypes; `near` before they were refined."""
    image = np.asarray(found.image)
    places = np.arange(CLASSES)
    probability = jax.nn.softmax(apply(params, jnp.asarray(image)))[places, places]
    course = np.concatenate([near.trace.gradient_norm, found.trace.gradient_norm], axis=1)
    return xr.Dataset(
        {
            "image": (("class", "height", "width"), image[..., 0]),
            "probability": ("class", np.asarray(probability)),
            "norm": ("class", np.linalg.norm(image.reshape(CLASSES, -1), axis=1)),
            "gradient_norm": ("class", np.asarray(found.trace.gradient_norm[:, -1])),
            "unrefined_gradient_norm": ("class", np.asarray(near.trace.gradient_norm[:, -1])),
            "score_gradient_norm": ("class", np.asarray(found.trace.score_gradient_norm[:, -1])),
            "course": (("class", "entry"), course),
        },
        {"class": places, "entry": np.arange(course.shape[1])},
    )


def prototype_figure(dataset: xr.Dataset) -> Figure:
    """A row an objective, a column a class; penalized prototypes are grey where they are 0, the others black."""
    rows = dataset.row.values
    figure, panels = plt.subplots(len(rows), CLASSES, figsize=(11.5, 1.12 * len(rows)), layout="compressed")
    for row, name in enumerate(rows):
        one = dataset.sel(row=name)
        limit = float(np.abs(one.image).max())
        low = -limit if np.isfinite(one.weight) else 0.0
        for column, axes in enumerate(panels[row]):
            axes.imshow(one.image[column], cmap="gray", vmin=low, vmax=limit if low else 1.0)
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(f"p = {float(one.probability[column]):.3f}", fontsize=7, labelpad=2)
        label = f"$\\lambda$ = {float(one.weight):g}" if low else str(name).replace(" ", "\n")
        panels[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    for column in range(CLASSES):
        panels[0, column].set_title(str(column), fontsize=10)
    return figure


def course_figure(dataset: xr.Dataset) -> Figure:
    """The gradient's norm over the steps for each penalty, and the norm of the prototypes over the penalty."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained", width_ratios=(1.6, 1))
    penalized = dataset.where(np.isfinite(dataset.weight), drop=True)
    for i, name in enumerate(penalized.row.values):
        one = penalized.sel(row=name)
        colour = plotting.COLOURS[i % len(plotting.COLOURS)]
        left.plot(one.entry, one.course.median("class"), color=colour, label=f"$\\lambda$ = {float(one.weight):g}")
        left.fill_between(one.entry, one.course.min("class"), one.course.max("class"), color=colour, alpha=0.2, lw=0)
    left.axhline(1e-4, color="0.5", linestyle=":", lw=1)
    left.set(yscale="log", xlabel="step", ylabel="norm of the objective's gradient")
    left.set_title("Ascent, then refinement at each sharpness: median and range of ten classes", fontsize=10)
    left.legend(frameon=False)
    for c in range(CLASSES):
        right.plot(penalized.weight, penalized.norm.sel({"class": c}), color="0.6", lw=0.8)
    right.plot(penalized.weight, penalized.norm.mean("class"), color=plotting.COLOURS[0], marker="o")
    right.set(xscale="log", xlabel="penalty $\\lambda$", ylabel="norm of the prototype")
    right.set_title("Ten classes and their mean", fontsize=10)
    right.set_ylim(0)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def prototype_table(dataset: xr.Dataset) -> str:
    """A row an objective: smallest probability, norm, gradients."""
    heads = {"p(c|x), least": 15, "norm, mean": 12, "gradient, largest": 19, "unrefined": 12, "of score": 12}
    lines = [f"{'':18s}" + "".join(f"{name:>{width}s}" for name, width in heads.items())]
    for name in dataset.row.values:
        one = dataset.sel(row=name)
        lines.append(
            f"{name:18s}{float(one.probability.min()):15.4f}{float(one.norm.mean()):12.3f}"
            f"{float(one.gradient_norm.max()):19.1e}{float(one.unrefined_gradient_norm.max()):12.1e}"
            f"{float(one.score_gradient_norm.mean()):12.1e}"
        )
    lines.append(
        "gradient: of the whole objective, its ReLUs as smooth as at the last sharpness; of score: the mean norm"
    )
    lines.append(
        "of log p(c|x)'s gradient, which the penalty's or the expert's cancels; unrefined: on the sharp network."
    )
    return "\n".join([*lines, ""])


def units(options: Options) -> xr.Dataset:
    """Units of a pretrained network: two maxima each, and the photographs that excite it most."""
    where = Photographs(
        images=options.images, network=str(options.network), weights=options.weights, limit=options.limit
    )
    network, photographs = prepare(where)
    images, preprocessing = photographs.images, network.preprocessing
    matrix = mx.colour_matrix(images)
    magnitude = mx.mean_magnitude(np.asarray(mx.decorrelated(images, matrix)))
    low = np.asarray(preprocessing.shift)
    high = low + 255 * np.asarray(preprocessing.scale)
    robust = mx.compose(mx.jitter(8), mx.scale(0.9, 1.1), mx.rotate(10.0), mx.jitter(4))
    crops = mx.compose(mx.crop(0.3, 0.9), mx.noise(0.05 * float(np.ptp(images))))
    kinds = {
        "Fourier": (mx.bounded(mx.recoloured(mx.fourier(), matrix), low, high), robust, 1),
        "MACO": (mx.bounded(mx.recoloured(mx.maco(magnitude), matrix), low, high), crops, 2),
    }
    key = named(jax.random.key(options.seed), "units")
    channels, shape = jnp.asarray(options.units), images.shape[1:]

    def maximum(name: str) -> mx.Maximum:
        parameterization, transform, copies = kinds[name]

        def one(item: tuple[Any, Any]) -> mx.Maximum:
            score = mx.channel_score(network.model.apply, network.params, options.tap, item[0])
            return mx.maximize_activation(
                score, shape, item[1], steps=options.steps, parameterization=parameterization, transform=transform,
                copies=copies, redirected_steps=min(16, options.steps - 1),
            )  # fmt: skip

        run = compiled(lambda items: jax.lax.map(one, items, batch_size=4))
        found = run((channels, numbered(named(key, name), len(channels))))
        mx.check_alive(found, redirected_steps=min(16, options.steps - 1))
        return found

    found = {name: maximum(name) for name in kinds}
    chosen = np.asarray(options.units)
    answers = excitations(network, images, options.tap)[:, chosen]
    best = np.argsort(-answers, axis=0, kind="stable")[:SHOWN].T
    reached = [np.diag(excitations(network, np.asarray(m.image), options.tap)[:, chosen]) for m in found.values()]
    pictures = [displayed(np.asarray(m.image), preprocessing) for m in found.values()]
    shown = np.concatenate([np.stack(pictures, axis=1), displayed(images[best], preprocessing)], axis=1)
    values = np.concatenate([np.stack(reached, axis=1), np.take_along_axis(answers.T, best, axis=1)], axis=1)
    names = [*found, *(f"photograph {i + 1}" for i in range(best.shape[1]))]
    dataset = xr.Dataset(
        {
            "image": (("unit", "shown", "height", "width", "colour"), shown.astype(np.float32) / 255),
            "activation": (("unit", "shown"), values),
        },
        {"unit": list(options.units), "shown": names},
        {"network": str(options.network), "tap": options.tap, "photographs": len(images)},
    )
    results.write_csv(dataset, options.out / "results.csv", variable="activation")
    plotting.save(unit_figure(dataset), options.out / "units.png")
    return written(dataset, unit_table(dataset), options, "units.png")


def excitations(network: Any, images: np.ndarray, tap: str) -> np.ndarray:
    """The largest activation of every channel of a tap in every image, `[image, channel]`."""

    def one(image: Any) -> jax.Array:
        [activation] = sj.activations(network.model.apply, network.params, image[None], [tap]).values()
        return activation[0].reshape(-1, activation.shape[-1]).max(axis=0)

    return np.asarray(compiled(lambda images: jax.lax.map(one, images, batch_size=8))(jnp.asarray(images)))


def unit_figure(dataset: xr.Dataset) -> Figure:
    """A row a unit: its maxima, and the photographs that excite it most."""
    rows, columns = dataset.sizes["unit"], dataset.sizes["shown"]
    figure, panels = plt.subplots(
        rows, columns, figsize=(1.7 * columns, 1.85 * rows), layout="compressed", squeeze=False
    )
    for row in range(rows):
        for column, axes in enumerate(panels[row]):
            one = dataset.isel(unit=row, shown=column)
            axes.imshow(one.image)
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(f"{float(one.activation):.4g}", fontsize=8, labelpad=2)
            if row == 0:
                axes.set_title(str(one.shown.item()), fontsize=9)
        panels[row, 0].set_ylabel(f"channel {int(dataset.unit[row])}", fontsize=9)
    figure.suptitle(f"{dataset.attrs['network']}, {dataset.attrs['tap']}: largest activation below", fontsize=10)
    return figure


def unit_table(dataset: xr.Dataset) -> str:
    """A row a unit: the largest activation in its maxima and in its best photographs."""
    names = [str(name) for name in dataset.shown.values]
    lines = [f"{dataset.attrs['network']}, {dataset.attrs['tap']}, {dataset.attrs['photographs']} photographs"]
    lines.append(f"{'largest activation':20s}" + "".join(f"{name:>15s}" for name in names))
    for unit in dataset.unit.values:
        cells = "".join(f"{float(x):15.3f}" for x in dataset.activation.sel(unit=unit))
        lines.append(f"{f'channel {unit}':20s}{cells}")
    lines.append("The maxima are those of the mean over all places, under transformations.")
    return "\n".join([*lines, ""])


def benchmark(options: Options) -> None:
    """Units at once against one after the other: a convolution's channels, and the dense layer's before its ReLU."""
    model, params = trained_params(options)
    machine = f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores"
    lines = [f"{options.benchmark} units, {options.steps} steps, {machine}; median seconds, range of the ratio"]
    lines += [timed(options, model.apply, params, tap) for tap in ("conv2", "dense")]
    text = "\n".join([*lines, ""])
    results.write_bytes(options.out / "benchmark.txt", text.encode())
    print(text)


def timed(options: Options, apply: Callable, params: Any, tap: str, rounds: int = 5) -> str:
    """A line of the benchmark: each way compiled once before, then both in turns."""
    channels = jnp.arange(options.benchmark)
    keys = numbered(jax.random.key(options.seed), options.benchmark)

    def one(channel: Any, key: Any) -> jax.Array:
        score = mx.channel_score(apply, params, tap, channel)
        return mx.maximize_activation(score, SHAPE, key, steps=options.steps, terms=(mx.l2(1e-3),)).image

    single, at_once = compiled(one), compiled(jax.vmap(one))
    began = time.perf_counter()
    jax.block_until_ready(one(channels[0], keys[0]))
    plain = time.perf_counter() - began

    def one_by_one(channels: Any, keys: Any) -> list[jax.Array]:
        return [single(channel, key).block_until_ready() for channel, key in zip(channels, keys, strict=True)]

    alone, together = np.stack(one_by_one(channels, keys)), np.asarray(at_once(channels, keys))
    difference = float(np.abs(alone - together).max() / np.abs(alone).max())
    seconds: dict[str, list[float]] = {"one after the other": [], "at once": []}
    for _ in range(rounds):
        for name, run in (("one after the other", one_by_one), ("at once", at_once)):
            began = time.perf_counter()
            jax.block_until_ready(run(channels, keys))
            seconds[name].append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    medians = ", ".join(f"{name} {statistics.median(times):.3f} s" for name, times in seconds.items())
    return (
        f"{tap:8s}{medians}: {statistics.median(ratios):.2f} times faster at once "
        f"({min(ratios):.2f} to {max(ratios):.2f}), images differ by {difference:.0e} of the largest value; "
        f"a plain call, which compiles, takes {plain:.2f} s for one"
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
