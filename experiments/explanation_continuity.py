"""How fast can an explanation change while its image hardly does? Continuity, sensitivity and infidelity on digits.

    python experiments/explanation_continuity.py

explains digits with the paper's CNN and searches, for every image and explainer, for the pair of alike images between
which the map changes the most for its way: translations by a pixel, points drawn around the image, pairs across the
nearest kinks of the network's ReLUs, and gradient ascent. All are lower bounds. It is done for two least distances of a
pair (--gap): where the map is continuous the constant is the same for both, where it jumps it grows as the distance
shrinks, by a slope of -1 on logarithmic axes. Maps are brought to a mean square of 1 first, each by itself, so that
explainers of other units can be compared; an explainer that divides a small map thereby pays for it. Beside it stand
the relative max-sensitivity and average sensitivity within --max-radius of every pixel, and the scaled infidelity for
normal noise. Sensitivity alone says little: a constant map has none. About ten minutes on two cores.

It should show that draws alone miss what the kinks show, by factors of eight (SmoothGrad) to sixty (the gradient); that
the gradient, its square, guided backpropagation, LRP and deep Taylor all jump (slopes from -0.94 to -0.99), LRP too
since a maximum of a pool takes all, while SmoothGrad and simple Taylor do by half (-0.5 and -0.7); and that no order by
one of the measures is the order by another.

    python experiments/explanation_continuity.py --photographs FOLDER --network squeezenet1_1 --images 4

does the same on photographs with a published network.

In the folder --out: results.nc (an xarray Dataset), results.csv (the continuity of each image), continuity.png,
table.txt, report.html (all of it for a browser); parts/ holds what is finished, so that a run that was broken off goes
on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import tyro
import xarray as xr
from explained_images import EXPLAINERS, Explained, Subject, label, subject
from matplotlib.figure import Figure
from pages import write_findings
from tqdm import tqdm
from unfinished import run

from saliency_jax import plotting, results
from saliency_jax.keys import named
from saliency_jax.report import Table
from saliency_jax.robustness import average_sensitivity, continuity, gaussian_noise, infidelity, max_sensitivity
from saliency_jax.sanity.fingerprint import digest
from saliency_jax.similarity.scaling import by_mean_square

IN_SCORE_UNITS = ("simple_taylor", "gradient_times_input", "integrated_gradients", "lrp", "deep_taylor", "deep_lift")
JUMP = -0.9
"""A slope of the constant over the distance that is lower than this is that of a jump, -1, to the search's luck."""
FINER = 0.1
"""The second least distance, as a share of the first."""


@dataclass(frozen=True)
class Options(Explained):
    """Continuity, sensitivity and infidelity of explainers on digits, or on photographs."""

    images: int = 8
    """How many images are measured: the first ones."""
    explainers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = (
        "gradient",
        "sensitivity",
        "simple_taylor",
        "smoothgrad",
        "guided_backprop",
        "lrp",
        "deep_taylor",
    )
    """Which explainers, by their names in saliency_jax.EXPLAINERS; deep_taylor as well."""
    radius: float = 0.5
    """Of continuity: the Euclidean distance within which pairs are searched, in units of the images."""
    gap: float = 0.05
    """Of continuity: the least distance of a pair; a tenth of it is the second one."""
    max_radius: float = 0.02
    """Of the sensitivities: how far a pixel can go."""
    noise: float = 0.1
    """Of infidelity: the standard deviation of the noise."""
    samples: int = 30
    """Points drawn around each image, by every measure."""
    kinks: int = 8
    """Nearest kinks tried for each image."""
    ascent: int = 10
    """Steps of gradient ascent for each image."""
    out: Path = Path("runs/explanation_continuity")
    """The folder for the results; the same options again go on with what is there."""


def main(options: Options) -> xr.Dataset:
    """Search, write the results and print the table."""
    of = subject(options, options.explainers)
    asked = ("radius", "gap", "max_radius", "noise", "samples", "kinks", "ascent", "seed")
    configuration: dict[str, Any] = {name: getattr(options, name) for name in asked}
    arrays = {"params": digest(of.params), "images": digest(of.images), "targets": digest(of.targets)}
    results.open_run(options.out / "parts", configuration | arrays)
    parts = []
    with tqdm(options.explainers, desc="continuity", unit="explainer", leave=False) as bar:
        for name in bar:
            bar.set_postfix_str(name)
            parts.append(results.part(options.out / "parts", name, partial(measure, of, name, options)))
    dataset = xr.concat(parts, dim="explainer", join="exact").assign_attrs(
        described=of.described, radius=options.radius, max_radius=options.max_radius, noise=options.noise
    )
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_csv(dataset, options.out / "results.csv", variable="continuity")
    plotting.save(figure(dataset), options.out / "continuity.png")
    text = table(dataset)
    results.write_bytes(options.out / "table.txt", text.encode())
    report(dataset, options, text)
    print(text)
    print(f"written: {options.out}/results.nc, results.csv, continuity.png, table.txt, report.html")
    return dataset


def report(dataset: xr.Dataset, options: Options, text: str) -> None:
    """Write report.html: whose maps jump, what draws alone miss, and all measures."""
    median, slope = dataset.map(medians), slopes(dataset)
    names = [str(name) for name in dataset.explainer.values]
    steepness = {name: float(slope.sel(explainer=name)) for name in names}
    jumps = [f"{label(name)} ({value:z.2f})" for name, value in steepness.items() if value < JUMP]
    others = [f"{label(name)} ({value:z.2f})" for name, value in steepness.items() if value >= JUMP]
    unknown = [label(name) for name, value in steepness.items() if np.isnan(value)]
    drawn = median.by_search.sel(search="samples").isel(gap=1)
    missed = float((median.continuity.isel(gap=1) / drawn).max())
    beyond = f"The other searches find up to {missed:.1f} times what points drawn around the image show."
    head = ["Explainer", *(f"continuity, pairs at least {float(gap):g}" for gap in dataset.gap), "slope", "draws alone"]
    head += ["max-sensitivity", "average sensitivity", "scaled infidelity"]
    rows = []
    for name in names:
        one = median.sel(explainer=name)
        values = [*one.continuity, slope.sel(explainer=name), drawn.sel(explainer=name)]
        values += [one.relative_max_sensitivity, one.relative_average_sensitivity, one.scaled_infidelity]
        rows.append([label(name), *(f"{float(value):z.4g}" for value in values)])
    write_findings(
        [
            f"Maps that jump, where the constant grows as the distance of the pair shrinks (slope): "
            f"{', '.join(jumps) or 'none'}.",
            f"Maps that do so less or not at all: {', '.join(others) or 'none'}.",
            *([f"Maps without a pair, of which nothing can be said: {', '.join(unknown)}."] if unknown else []),
            *([beyond] if np.isfinite(missed) else []),
        ],
        options,
        "explanation_continuity.py",
        __doc__,
        figures={
            "continuity.png": (
                "The continuity constant that each search finds (left), and over the least distance (right).",
                "A row for each explainer with a mark for each search; lines that rise to the left jump.",
            )
        },
        tables=[Table("Medians over the images; maps of mean square 1", head, rows)],
        printed=text,
    )


def measure(of: Subject, name: str, options: Options) -> xr.Dataset:
    """All measures of one explainer."""
    key = jax.random.key(options.seed)
    gaps = (options.gap, FINER * options.gap)
    searched = {"kinks": options.kinks, "ascent": options.ascent, "image_range": of.image_range}

    def call(measure: Callable[..., xr.Dataset], **changes: Any) -> xr.Dataset:
        return measure(
            of.apply,
            of.params,
            of.images,
            of.targets,
            {name: EXPLAINERS[name]},
            key=named(key, "measure"),
            samples=options.samples,
            batch_size=options.batch,
            **changes,
        )

    found = [
        call(continuity, radius=options.radius, gap=gap, fill=of.fill, scaling=by_mean_square, **searched)
        for gap in gaps
    ]
    pairs = xr.concat(found, dim="gap", join="exact", combine_attrs="drop").assign_coords(gap=list(gaps))
    farthest = call(max_sensitivity, radius=options.max_radius, **searched)
    average = call(average_sensitivity, radius=options.max_radius, image_range=of.image_range)
    units = (name,) if name in IN_SCORE_UNITS else ()
    misfit = call(infidelity, perturbation=gaussian_noise(options.noise), in_score_units=units)
    return pairs.assign(
        relative_max_sensitivity=farthest.relative_max_sensitivity,
        relative_average_sensitivity=average.relative_average_sensitivity,
        scaled_infidelity=misfit.scaled_infidelity,
    ).transpose("explainer", ...)


def medians(values: xr.DataArray) -> xr.DataArray:
    """The median over the images; one for which a search found no pair stands below all others."""
    middle = values.fillna(-np.inf).median("image")
    return middle.where(np.isfinite(middle))


def slopes(dataset: xr.Dataset) -> xr.DataArray:
    """How the median constant of each explainer grows with the least distance, on logarithmic axes."""
    median = medians(dataset.continuity)
    ratio = np.log(median.isel(gap=1) / median.isel(gap=0))
    return ratio / np.log(float(dataset.gap[1] / dataset.gap[0]))


def table(dataset: xr.Dataset) -> str:
    """An explainer a row: medians over the images."""
    gaps = [f"{float(gap):g}" for gap in dataset.gap]
    median = dataset.map(medians)
    lines = [
        dataset.attrs["described"],
        "medians over the images; continuity of maps of mean square 1, the largest that any search found: lower bounds",
        "",
        f"{'':20s}{'continuity, pairs at least':>28s}{'':10s}{'draws':>10s}{'max-':>13s}{'average':>13s}"
        f"{'scaled':>13s}",
        f"{'':20s}{gaps[0]:>14s}{gaps[1]:>14s}{'slope':>10s}{'alone':>10s}{'sensitivity':>13s}{'sensitivity':>13s}"
        f"{'infidelity':>13s}",
    ]
    slope = slopes(dataset)
    for name in dataset.explainer.values:
        row = median.sel(explainer=name)
        drawn = float(row.by_search.sel(search="samples").isel(gap=1))
        constants = "".join(f"{float(x):14.4g}" for x in row.continuity)
        others = (row.relative_max_sensitivity, row.relative_average_sensitivity, row.scaled_infidelity)
        lines.append(
            f"{label(str(name)):20s}{constants}{float(slope.sel(explainer=name)):z10.2f}{drawn:10.4g}"
            + "".join(f"{float(x):13.4g}" for x in others)
        )
    return "\n".join([*lines, ""])


def figure(dataset: xr.Dataset) -> Figure:
    """What each search finds, at the finer gap, and the constants over the gap."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(13, 4.8), layout="constrained", width_ratios=(1.5, 1))
    names = [str(name) for name in dataset.explainer.values]
    rows = np.arange(len(names))[::-1]
    finer = dataset.isel(gap=1).by_search
    for i, search in enumerate(dataset.search.values):
        values = finer.sel(search=search)
        left.plot(
            medians(values),
            rows,
            linestyle="none",
            marker=plotting.MARKERS[i],
            markersize=8,
            color=plotting.COLOURS[i],
            label={"samples": "points drawn"}.get(str(search), str(search)),
        )
    for row, name in zip(rows, names, strict=True):
        middle = medians(finer.sel(explainer=name))
        left.hlines(row, float(middle.min()), float(middle.max()), color="0.85", zorder=0)
    left.set_xscale("log")
    left.set_yticks(rows, list(map(label, names)))
    left.set_xlabel(f"continuity constant, median over images, pairs at least {float(dataset.gap[1]):g} apart")
    left.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=4, fontsize=9)
    for i, name in enumerate(names):
        right.loglog(
            dataset.gap,
            medians(dataset.continuity.sel(explainer=name)),
            marker=plotting.MARKERS[i % len(plotting.MARKERS)],
            color=plotting.COLOURS[i % len(plotting.COLOURS)],
            label=f"{label(name)}: slope {float(slopes(dataset).sel(explainer=name)):z.2f}",
        )
    right.set(xlabel="least distance of a pair", ylabel="continuity constant, median over images")
    gaps = [float(gap) for gap in dataset.gap]
    right.set_xticks(gaps, [f"{gap:g}" for gap in gaps])
    right.minorticks_off()
    right.margins(x=0.15)
    right.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axes in (left, right):
        axes.grid(color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    drawn.suptitle(f"Explanation continuity: {dataset.attrs['described']}", fontsize=12)
    return drawn


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "explanation_continuity.py", __doc__)
