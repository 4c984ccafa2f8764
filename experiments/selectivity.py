"""Do explainers find what the score needs? Selectivity: patches are removed by relevance, and the score recorded.

    python experiments/selectivity.py

explains 500 digits of the embedded part of MNIST with the paper's CNN, blackens their patches of 4 x 4 pixels one after
the other, those of the highest relevance first, and records the logit of the true class. The area under the mean curve
is the measure: the smaller, the better the explainer knows where the score comes from. "noise" is a random order. About
five minutes on two cores, most of them the training and the explainers that average.

It should show that every explainer of the model lies below the random order; table.txt has them in order, with 95 %
bootstrap intervals over the images, and with the difference to the random order, image by image.

    python experiments/selectivity.py --photographs FOLDER --network squeezenet1_1 --patch 16 --images 32

does the same on photographs with a published network, whose predicted class is explained and whose patches are replaced
by the mean colour. --direction insertion starts from nothing and puts patches in (a large area is good), --patch 1 is
pixel flipping, --recompute explains again after every step.

In the folder --out: results.nc (an xarray Dataset), results.csv (the area of each image), curves.png, table.txt; parts/
holds what is finished, so that a run that was broken off goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
import xarray as xr
from digits import Digits, prepare, set_up, trained_params
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from photographs import Photographs
from photographs import prepare as prepare_photographs
from tqdm import tqdm

import saliency_jax as sj
from saliency_jax import plotting, results
from saliency_jax.explainers import EXPLAINERS as NAMED
from saliency_jax.keys import named
from saliency_jax.robustness import selectivity
from saliency_jax.sanity.fingerprint import digest
from saliency_jax.sanity.summary import mean_interval
from saliency_jax.typing import Explainer

RANDOM = "noise"

# Five hundred images are explained by each: paths and averages are shorter than in the paper's settings.
EXPLAINERS: Mapping[str, Explainer] = {
    **NAMED,
    "integrated_gradients": partial(sj.integrated_gradients, steps=16),
    "smoothgrad": sj.smoothgrad(sj.gradient, samples=16, noise=0.15),
    "smoothgrad_squared": sj.smoothgrad_squared(sj.gradient, samples=16, noise=0.15),
    "vargrad": sj.vargrad(sj.gradient, samples=16, noise=0.15),
    "deep_taylor": partial(sj.lrp, composite=sj.composites.deep_taylor),
}
COMPARED = (
    "gradient",
    "sensitivity",
    "simple_taylor",
    "integrated_gradients",
    "smoothgrad",
    "smoothgrad_squared",
    "guided_backprop",
    "deconvnet",
    "grad_cam",
    "guided_grad_cam",
    "lrp",
    "deep_taylor",
    "deep_lift",
    "edges",
    RANDOM,
)


@dataclass(frozen=True)
class Explained(Digits):
    """Which network on which images: digits, or photographs where a folder of them is given."""

    images: int = 500
    """How many images are explained: the first ones, or of photographs as many, spread evenly."""
    photographs: tuple[Path, ...] = ()
    """Pictures in place of the digits: files, folders of files, or .npz archives."""
    network: str = "squeezenet1_1"
    """Of photographs: the published network, by its name in photographs.py."""
    weights: Path | None = None
    """Of photographs: the file of its weights, where no installed package brings them."""
    batch: int | None = None
    """How many images are explained at once; as many as the memory holds if not given."""


@dataclass(frozen=True)
class Options(Explained):
    """Do explainers find what the score needs? Selectivity on digits, or on photographs."""

    explainers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = COMPARED
    """Which explainers, by their names in saliency_jax.EXPLAINERS; deep_taylor as well."""
    patch: int = 4
    """The side of the patches, in pixels; 1 is pixel flipping."""
    direction: Literal["deletion", "insertion"] = "deletion"
    """Remove the patches of the whole image, or put them into an empty one."""
    recompute: bool = False
    """Explain the altered image again after every step."""
    ranking: Literal["signed", "absolute"] = "signed"
    """Rank patches by the sum of their relevance, or of its absolute values."""
    recorded: Literal["logit", "log_softmax", "softmax"] = "logit"
    """What of the logits is recorded."""
    out: Path = Path("runs/selectivity")
    """The folder for the results; the same options again go on with what is there."""


class Subject(NamedTuple):
    """What is explained.

    Attributes:
        apply, params: the network.
        images, targets: what it is asked about.
        fill: what stands for a removed pixel, one number for each channel.
        image_range: the range of the images; None where their units have none.
        described: the network and the data, in a line.
    """

    apply: Any
    params: Any
    images: jax.Array
    targets: jax.Array
    fill: np.ndarray
    image_range: tuple[float, float] | None
    described: str


def subject(options: Explained, explainers: tuple[str, ...]) -> Subject:
    """The trained CNN and the first test digits with their labels, or a published network and photographs."""
    if options.photographs:
        set_up(explainers, EXPLAINERS, options.out, options.compilation_cache)
        chosen = Photographs(options.photographs, options.network, options.weights, limit=options.images)
        network, explained = prepare_photographs(chosen)
        images = jnp.asarray(explained.images)
        fill = np.asarray(images.mean(axis=(0, 1, 2)))
        described = f"{options.network}, {len(images)} photographs"
        predicted = jnp.asarray(explained.predicted)
        return Subject(network.model.apply, network.params, images, predicted, fill, None, described)
    test = prepare(options, (), options.images)
    set_up(explainers, EXPLAINERS, options.out, options.compilation_cache)
    model, params = trained_params(options)
    images = jnp.asarray(test.images[: options.images])
    labels = jnp.asarray(test.labels[: options.images]).astype(jnp.int32)
    described = f"{options.model} on {options.dataset} ({options.source}), {len(images)} images"
    return Subject(model.apply, params, images, labels, np.zeros(images.shape[-1]), (0.0, 1.0), described)


def main(options: Options) -> xr.Dataset:
    """Explain, remove, record; write the results and print the table."""
    if RANDOM not in options.explainers:
        raise SystemExit(f"--explainers must name {RANDOM}, the random order that all others are held against")
    of = subject(options, options.explainers)
    asked = ("patch", "direction", "recompute", "ranking", "recorded", "seed")
    configuration = {name: getattr(options, name) for name in asked}
    arrays = {"params": digest(of.params), "images": digest(of.images), "targets": digest(of.targets)}
    results.open_run(options.out / "parts", configuration | arrays)
    key = named(jax.random.key(options.seed), "selectivity")
    parts = []
    with tqdm(options.explainers, desc="selectivity", unit="explainer", leave=False) as bar:
        for name in bar:
            bar.set_postfix_str(name)
            measure = partial(
                selectivity,
                of.apply,
                of.params,
                of.images,
                of.targets,
                {name: EXPLAINERS[name]},
                key=key,
                patch=options.patch,
                direction=options.direction,
                recompute=options.recompute,
                ranking=options.ranking,
                fill=of.fill,
                image_range=of.image_range,
                kind=options.recorded,
                batch_size=options.batch,
            )
            parts.append(results.part(options.out / "parts", name, measure))
    dataset = xr.concat(parts, dim="explainer", join="exact", combine_attrs="override")
    dataset = dataset.assign_attrs(described=of.described)
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_csv(dataset, options.out / "results.csv", variable="area")
    plotting.save(figure(dataset), options.out / "curves.png")
    text = table(dataset)
    results.write_bytes(options.out / "table.txt", text.encode())
    print(text)
    print(f"written: {options.out}/results.nc, results.csv, curves.png, table.txt")
    return dataset


def ranked(dataset: xr.Dataset) -> xr.Dataset:
    """The explainers in order, the best first: mean areas with intervals, and their differences to the random order."""
    area = mean_interval(dataset.area)
    gain = dataset.area.sel(explainer=RANDOM, drop=True) - dataset.area
    if dataset.attrs["direction"] == "insertion":
        gain = -gain
    of_gain = mean_interval(gain)
    found = area.assign(
        gain=of_gain["mean"],
        gain_low=of_gain["low"],
        gain_high=of_gain["high"],
        better=(gain > 0).mean("image").where(gain.notnull().any("image")),
    )
    best_first = np.argsort(-found.gain.to_numpy(), kind="stable")
    return found.isel(explainer=best_first)


def table(dataset: xr.Dataset) -> str:
    """The explainers in order, a row each."""
    rows = ranked(dataset)
    good = "small" if dataset.attrs["direction"] == "deletion" else "large"
    recorded, patch = dataset.attrs["kind"].replace("_", " "), dataset.attrs["patch"]
    how = "recomputed after every step" if dataset.attrs["recompute"] else "computed once"
    lines = [
        dataset.attrs["described"],
        f"area under the {recorded} by {dataset.attrs['direction']} of patches of {patch} x {patch} pixels, relevance "
        f"{how}: {good} is good",
        "",
        f"{'':34s}{'area [95% interval]':>26s}{'better than random by':>28s}{'of images':>11s}",
    ]
    for name in rows.explainer.values:
        row = rows.sel(explainer=name)
        area, gain = (
            f"{float(row[mean]):.3f} [{float(row[low]):.3f}, {float(row[high]):.3f}]"
            for mean, low, high in (("mean", "low", "high"), ("gain", "gain_low", "gain_high"))
        )
        if name == RANDOM:
            lines.append(f"{'random order (noise)':34s}{area:>26s}")
        else:
            lines.append(f"{label(str(name)):34s}{area:>26s}{gain:>28s}{float(row.better):11.0%}")
    below = [str(n) for n in rows.explainer.values if n != RANDOM and not float(rows.gain_low.sel(explainer=n)) > 0]
    lines += ["", f"not better than the random order: {', '.join(map(label, below)) or 'none'}", ""]
    return "\n".join(lines)


def figure(dataset: xr.Dataset) -> Figure:
    """The mean curves, and the areas under them in order."""
    rows = ranked(dataset)
    drawn, (left, right) = plt.subplots(1, 2, figsize=(12.5, 5.2), layout="constrained", width_ratios=(1.25, 1))
    names = [str(name) for name in rows.explainer.values]
    # Colours follow the order in which explainers were named, so that they stay in runs that rank otherwise.
    order = [str(name) for name in dataset.explainer.values if name not in plotting.CONTROLS]
    for name in names:
        left.plot(
            dataset.fraction, dataset.curve.sel(explainer=name).mean("image"), label=label(name), **_look(name, order)
        )
    gone = "removed" if dataset.attrs["direction"] == "deletion" else "put in"
    recorded = dataset.attrs["kind"].replace("_", " ")
    left.set(xlabel=f"share of the patches {gone}", ylabel=f"{recorded}, mean over images", xlim=(0, 1))
    left.legend(fontsize=8, frameon=False)
    _areas(right, rows, names, order)
    for axes in (left, right):
        axes.grid(color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    drawn.suptitle(f"Selectivity: {dataset.attrs['described']}", fontsize=12)
    return drawn


def _areas(axes: Axes, rows: xr.Dataset, names: list[str], order: list[str]) -> None:
    places = np.arange(len(names))[::-1]
    for place, name in zip(places, names, strict=True):
        row = rows.sel(explainer=name)
        mean, low, high = (float(row[part]) for part in ("mean", "low", "high"))
        look = _look(name, order) | {"linestyle": "none", "markersize": 6}
        axes.errorbar(mean, place, xerr=[[max(mean - low, 0)], [max(high - mean, 0)]], capsize=2, **look)
    axes.axvline(float(rows["mean"].sel(explainer=RANDOM)), color="0.6", linestyle=":", linewidth=1.2, zorder=0)
    axes.set_yticks(places, list(map(label, names)), fontsize=9)
    axes.set_xlabel("area under the curve, mean and 95 % interval")


def label(name: str) -> str:
    """The name of an explainer for people."""
    return {RANDOM: "random order", "deep_taylor": "deep Taylor"}.get(name, plotting.readable(name))


def _look(name: str, order: list[str]) -> dict[str, Any]:
    if name in plotting.CONTROLS:
        return {"color": "0.45", "linestyle": ":" if name == RANDOM else "--", "marker": "", "linewidth": 2.0} | (
            {"marker": "o", "markerfacecolor": "white", "markevery": 8}
        )
    place = order.index(name)
    count = len(plotting.COLOURS)
    return {
        "color": plotting.COLOURS[place % count],
        "marker": plotting.MARKERS[place % count],
        "linestyle": "-" if place < count else "--",
        "markerfacecolor": plotting.COLOURS[place % count] if place < count else "white",
        "markevery": 8,
        "markersize": 4,
        "linewidth": 1.4,
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
