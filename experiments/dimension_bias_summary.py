"""What the draws of dimension_bias.py say of each estimator: its mean and its coverage, as tables and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saliency_jax import plotting

DISTRIBUTIONS = {"gaussian": "Gaussian", "cube": "uniform in a cube", "torus": "uniform on a flat torus"}
GRIDE_RANGE = 32
"""The largest of those that `gride` looks at by itself: the 64th neighbour's distance over the 32nd's."""
TITLES = {
    "two_nn_linear": "TwoNN, line",
    "two_nn_ml": "TwoNN, likelihood",
    "gride": f"Gride, {GRIDE_RANGE} to {2 * GRIDE_RANGE}",
    "levina_bickel": "Levina-Bickel, 20",
}
DOUBTFUL = 20
"""The dimension above which the estimates are known to fall behind."""


def summary(found: xr.Dataset) -> xr.Dataset:
    """Over the draws: the mean estimate, its standard error, and how often the interval covers the true dimension."""
    made = found.draw < found.draws
    covered = ((found.low <= found.dimension) & (found.dimension <= found.high)).where(made)
    return xr.Dataset(
        {
            # An estimate that is NaN makes its mean NaN; what was not drawn counts for nothing.
            "mean": found.value.where(made, 0).sum("draw", skipna=False) / found.draws.where(found.draws > 0),
            "error": found.value.std("draw", ddof=1) / np.sqrt(found.draws),
            "coverage": covered.mean("draw"),
            "draws": found.draws,
        }
    )


def lesson(judged: xr.Dataset) -> str:
    """What is to be remembered, with what this run has found on it."""
    sentences = [
        f"Common estimators do not keep up with the true dimension above about {DOUBTFUL}: "
        "what they give there is a lower bound."
    ]
    high = sorted(int(d) for d in judged.dimension if d >= DOUBTFUL)
    if high:
        distribution = next(name for name in DISTRIBUTIONS if judged.draws.sel(distribution=name).any())
        points = int(judged.points[judged.draws.sel(distribution=distribution) > 0].max())
        means = judged["mean"].sel(distribution=distribution, points=points)
        told = [
            f"{float(means.sel(dimension=d).min()):.1f} to {float(means.sel(dimension=d).max()):.1f} where it is {d}"
            for d in sorted({high[0], high[-1]})
        ]
        sentences.append(f"Here, {points} points ({DISTRIBUTIONS[distribution]}): {', '.join(told)}.")
    else:
        sentences.append("No dimension was as high here.")
    return " ".join(sentences)


def table(judged: xr.Dataset) -> str:
    """Means, their standard errors and coverage for people, a distribution, dimension and number of points a row."""
    lines = [lesson(judged), "", "mean estimate +- its standard error, and how many of the 95% intervals cover"]
    for distribution, title in DISTRIBUTIONS.items():
        if not judged.draws.sel(distribution=distribution).any():
            continue
        lines += [
            "",
            title,
            f"{'true d':>6s}{'points':>8s}{'draws':>7s}" + "".join(f"{TITLES[n]:>24s}" for n in TITLES),
        ]
        for d, points in product(judged.dimension.values.tolist(), judged.points.values.tolist()):
            one = judged.sel(distribution=distribution, dimension=d, points=points)
            if one.draws:
                cells = "".join(f"{_cell(one.sel(estimator=name)):>24s}" for name in TITLES)
                lines.append(f"{d:6d}{points:8d}{int(one.draws):7d}{cells}")
    return "\n".join([*lines, ""])


def _cell(one: xr.Dataset) -> str:
    error = f"+- {float(one.error):.2f}" if one.draws > 1 else ""
    return f"{float(one['mean']):.2f} {error:8s}{float(one.coverage):6.0%}"


def markdown(judged: xr.Dataset) -> str:
    """The means, and how many intervals cover, for the documentation: the numbers of points side by side in a cell."""
    lines = [lesson(judged)]
    for distribution, title in DISTRIBUTIONS.items():
        one = judged.sel(distribution=distribution)
        points = [n for n in judged.points.values.tolist() if one.draws.sel(points=n) > 0]
        if not points:
            continue
        sizes = _listed(points, "{}")
        draws = _listed(one.draws.sel(points=points).values.tolist(), "{}")
        for variable, heading, pattern in (
            ("mean", "mean estimate", "{:.1f}"),
            ("coverage", "95% intervals that cover", "{:.0%}"),
        ):
            lines += [
                "",
                f"**{title[0].upper()}{title[1:]}, {sizes} points: {heading}** ({draws} draws)",
                "",
                "| d | " + " | ".join(TITLES[name] for name in TITLES) + " |",
                "| ---: |" + " ---: |" * len(TITLES),
            ]
            for d in judged.dimension.values.tolist():
                cells = (
                    one[variable].sel(estimator=name, dimension=d, points=points).values.tolist() for name in TITLES
                )
                lines.append(f"| {d} | " + " | ".join(_listed(cell, pattern) for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _listed(values: Sequence[Any], pattern: str) -> str:
    return " / ".join(pattern.format(value) for value in values)


def figure(judged: xr.Dataset) -> Figure:
    """Estimate against true dimension, a distribution a panel, from the fewest points (dashed) to the most (solid)."""
    drawn = [name for name in DISTRIBUTIONS if judged.draws.sel(distribution=name).any()]
    whole, panels = plt.subplots(
        1,
        len(drawn),
        figsize=(1 + 3.6 * len(drawn), 4.6),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, distribution in zip(panels[0], drawn, strict=True):
        _panel(axes, judged.sel(distribution=distribution), DISTRIBUTIONS[distribution])
    panels[0, 0].set_ylabel("estimate")
    panels[0, 0].legend(frameon=False, fontsize=9, loc="upper left")
    whole.suptitle(lesson(judged).replace(": what", ":\nwhat").split(" Here")[0], fontsize=11)
    return whole


def _panel(axes: Axes, judged: xr.Dataset, title: str) -> None:
    points = judged.points.values[judged.draws.values > 0]
    dimensions = judged.dimension.values
    axes.plot(dimensions, dimensions, color="0.6", linewidth=1, label="the true dimension")
    for place, name in enumerate(TITLES):
        means = judged["mean"].sel(estimator=name)
        colour = plotting.COLOURS[place]
        fewest, most = means.sel(points=points.min()), means.sel(points=points.max())
        axes.fill_between(dimensions, fewest, most, color=colour, alpha=0.15, linewidth=0)
        axes.plot(dimensions, fewest, color=colour, linestyle="--", linewidth=1)
        # TwoNN's two forms fall together: the first shows around the second.
        size = 9 - 1.5 * place
        axes.plot(dimensions, most, color=colour, marker=plotting.MARKERS[place], markersize=size, label=TITLES[name])
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(dimensions, [str(d) for d in dimensions])
        axis.set_ticks([], minor=True)
    sizes = f"{points.max()}" if len(points) == 1 else f"{points.min()} (dashed) to {points.max()}"
    axes.set_title(f"{title}\n{sizes} points", fontsize=11)
    axes.set_xlabel("true dimension")
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
