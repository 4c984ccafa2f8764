"""What do the classes and units of a network answer to most? Activation maximization on digits, and on photographs.

    python experiments/activation_maximization.py

trains the paper's CNN on the embedded part of MNIST and looks for the ten prototypes: the images x that maximize
log p(c|x) - lambda ||x||^2 for several lambda; log p(c|x) + w log p(x) for a Gaussian and for a kernel density fitted
to the training images; and log p(c|g(z)) - w ||z||^2 / 2 for a decoder g, their principal components. About five
minutes on two busy cores. It should show grey prototypes for the penalty, smaller for a larger lambda, each classified
as its class and with a gradient of 0 to four digits; blurred digits for the Gaussian and the decoder; and for the
kernel density single digits, for some classes a 1 under noise that the network takes for the class: being near an image
is not being one of the class.

    python experiments/activation_maximization.py --network squeezenet1_1 --images FOLDER

shows units of a pretrained network: for each the maximum from Fourier coefficients with the photographs' own colours,
that of MACO with their own spectrum, and the photographs that excite it most.

    python experiments/activation_maximization.py --benchmark 64

times so many channels of the digits' network at once against one after the other.

In the folder --out: results.nc (an xarray Dataset), results.csv, table.txt, report.html (all of it for a browser), and
prototypes.png and course.png, or units.png.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr
from digits import Digits, load, set_up, trained_params
from maximization_at_once import timed
from maximization_figures import (
    course_figure,
    prototype_figure,
    prototype_findings,
    prototype_table,
    unit_figure,
    unit_findings,
    unit_table,
)
from maximization_units import units
from pages import write_findings
from photographs import Photographs, prepare
from unfinished import run

import saliency_jax as sj
from saliency_jax import maximization as mx
from saliency_jax import plotting, results
from saliency_jax.keys import named, numbered
from saliency_jax.tracing import compiled

SHAPE = (28, 28, 1)
CLASSES = 10
COMPONENTS = 40
"""Of the decoder's code."""
PROTOTYPE_FIGURES = {
    "prototypes.png": (
        "The prototypes: a row for each objective, a column for each class, under each the probability of its class.",
        "With the penalty grey shapes like digits; below them blurred or single digits.",
    ),
    "course.png": (
        "The norm of the objective's gradient over the steps (left), and of the prototypes over the penalty (right).",
        "The gradient's norm falls to nearly 0 with every penalty; a larger penalty gives smaller prototypes.",
    ),
}
UNIT_FIGURES = {
    "units.png": (
        "Units of the network: two maxima of each, and the photographs that excite it most.",
        "A row for each channel: two made images, then photographs; below each its mean activation.",
    )
}


@dataclass(frozen=True)
class Options(Digits):
    """What do the classes and units of a network answer to most? Activation maximization."""

    penalties: Annotated[tuple[float, ...], tyro.conf.arg(metavar="LAMBDA ...")] = (1e-4, 3e-4, 1e-3)
    """The weights of the squared norm."""
    expert_weight: float = 0.01
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
        return pretrained_units(options)
    if options.benchmark:
        benchmark(options)
        return None
    model, params = trained_params(options)
    dataset = prototypes(options, model.apply, params)
    results.write_csv(dataset, options.out / "results.csv", variable="probability")
    plotting.save(prototype_figure(dataset), options.out / "prototypes.png")
    plotting.save(course_figure(dataset), options.out / "course.png")
    return written(dataset, prototype_table(dataset), options, prototype_findings(dataset), PROTOTYPE_FIGURES)


def written(
    dataset: xr.Dataset, text: str, options: Options, found: list[str], figures: Mapping[str, tuple[str, str]]
) -> xr.Dataset:
    """Write the Dataset, the table and report.html, and say so."""
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_bytes(options.out / "table.txt", text.encode())
    write_findings(found, options, "activation_maximization.py", __doc__, figures=figures, printed=text)
    print(f"{text}\nwritten: {options.out}/results.nc, results.csv, table.txt, {', '.join(figures)}, report.html")
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

    code = principal_components(digits, penalty=options.expert_weight / 2)

    def by_decoder(target: Any, key: Any) -> tuple[mx.Maximum, mx.Maximum]:
        near = mx.maximize_activation(score(target), SHAPE, key, steps=options.steps, parameterization=code)
        return near, mx.refine(score(target), near.image, parameterization=code, **settings)

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


def principal_components(images: np.ndarray, *, penalty: float) -> mx.Parameterization:
    """The decoder g(z) = mean + sum_k deviation_k z_k direction_k, z standard normal, and its inverse."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    _, singular, directions = np.linalg.svd((flat - mean) / np.sqrt(len(flat)), full_matrices=False)
    deviations, axes = (jnp.asarray(x[:COMPONENTS], jnp.float32) for x in (singular, directions))
    centre, shape = jnp.asarray(mean, jnp.float32), images.shape[1:]
    decoded = mx.decoder(
        lambda code: (centre + (code * deviations) @ axes).reshape(shape), (COMPONENTS,), penalty=penalty, noise=0.1
    )
    return decoded._replace(code=lambda image: axes @ (image.reshape(-1) - centre) / deviations)


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


def pretrained_units(options: Options) -> xr.Dataset:
    """Units of a pretrained network beside the photographs that excite them, written and printed."""
    where = Photographs(
        images=options.images, network=str(options.network), weights=options.weights, limit=options.limit
    )
    network, photographs = prepare(where)
    key = named(jax.random.key(options.seed), "units")
    found = units(network, photographs.images, options.tap, options.units, steps=options.steps, key=key)
    dataset = found.assign_attrs(network=str(options.network))
    results.write_csv(dataset, options.out / "results.csv", variable="activation")
    plotting.save(unit_figure(dataset), options.out / "units.png")
    return written(dataset, unit_table(dataset), options, unit_findings(dataset), UNIT_FIGURES)


def benchmark(options: Options) -> None:
    """Units at once against one after the other: a convolution's channels, and the dense layer's before its ReLU."""
    model, params = trained_params(options)
    machine = f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores"
    lines = [f"{options.benchmark} units, {options.steps} steps, {machine}; median seconds, range of the ratio"]
    key = jax.random.key(options.seed)
    measure = partial(timed, model.apply, params, shape=SHAPE, units=options.benchmark, steps=options.steps, key=key)
    lines += [measure(tap) for tap in ("conv2", "dense")]
    text = "\n".join([*lines, ""])
    results.write_bytes(options.out / "benchmark.txt", text.encode())
    print(text)


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "activation_maximization.py", __doc__)
