"""The figures and the table of three_analyses.py, each drawn from its Datasets alone."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from saliency_jax import plotting

TITLES = {"sensitivity": "sensitivity", "simple_taylor": "simple Taylor", "deep_taylor": "deep Taylor", "lrp": "LRP"}


def max_maps(dataset: xr.Dataset) -> Figure:
    """The maps of max(x1, x2) as arrows at the points of the plane, over the function."""
    figure, panels = plt.subplots(1, 3, figsize=(12.5, 4.9), layout="compressed", sharey=True)
    points = dataset.x.to_numpy()
    for axes, name in zip(panels, dataset.analysis.values, strict=True):
        sides = int(np.sqrt(len(points)))
        plane = (part.reshape(sides, sides) for part in (points[:, 0], points[:, 1], dataset.score.to_numpy()))
        axes.contourf(*plane, levels=12, cmap="Greys", vmin=-0.5, vmax=2.0)
        arrows = dataset["map"].sel(analysis=name).to_numpy()
        shown = slice(None, None, 2)
        rows = np.arange(len(points)).reshape(sides, sides)[shown, shown].ravel()
        axes.quiver(*points[rows].T, *arrows[rows].T, color=plotting.COLOURS[0], angles="xy", scale=14, width=0.006)
        axes.plot([0, 1], [0, 1], color=plotting.COLOURS[1], linewidth=1, linestyle="--")
        axes.set(title=TITLES[str(name)], xlabel="$x_1$", aspect="equal", xlim=(0, 1.12), ylim=(0, 1.12))
    panels[0].set_ylabel("$x_2$")
    figure.suptitle("max($x_1$, $x_2$) in grey, and the map ($R_1$, $R_2$) of each analysis as an arrow", fontsize=12)
    return figure


def max_continuity(dataset: xr.Dataset) -> Figure:
    """The constant that is found over the least distance of a pair."""
    figure, axes = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    for i, name in enumerate(dataset.analysis.values):
        one = dataset.sel(analysis=name)
        label = f"{TITLES[str(name)]}: slope {round(float(one.slope), 3) + 0.0:.3f}"
        axes.loglog(dataset.gap, one.constant, marker=plotting.MARKERS[i], color=plotting.COLOURS[i], label=label)
    axes.axhline(np.sqrt(2), color="0.5", linestyle=":", linewidth=1)
    axes.annotate(
        r"$\sqrt{2}$", (float(dataset.gap[-1]), np.sqrt(2)), xytext=(0, -14), textcoords="offset points", color="0.3"
    )
    axes.set(xlabel="least distance of two images", ylabel="continuity constant found", ylim=(0.6, None))
    axes.legend(frameon=False)
    axes.grid(color="0.92", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Explanation continuity of max($x_1$, $x_2$)", fontsize=12)
    return figure


def image_maps(dataset: xr.Dataset) -> Figure:
    """The image and its three maps, each scaled by itself."""
    figure, panels = plt.subplots(1, 4, figsize=(11.5, 3.2), layout="compressed")
    panels[0].imshow(dataset.picture.to_numpy().squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    panels[0].set_title(f"class {dataset.attrs['target']}, logit {float(dataset.score):.3f}", fontsize=10)
    for axes, name in zip(panels[1:], dataset.analysis.values, strict=True):
        plotting.show_map(axes, dataset["map"].sel(analysis=name).to_numpy())
        axes.set_title(f"{TITLES[str(name)]}: sum {float(dataset['sum'].sel(analysis=name)):.3f}", fontsize=10)
    for axes in panels:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("0.8")
    return figure


def table(example: xr.Dataset, image: xr.Dataset) -> str:
    """What was found, for people."""
    lines = [
        "max(x1, x2)",
        f"{'':16s}{'error':>10s}{'slope':>10s}" + "".join(f"{float(gap):>11.0e}" for gap in example.gap),
    ]
    lines[0] += ": the largest error against the closed form; the continuity constant found over the least distance"
    for name in example.analysis.values:
        one = example.sel(analysis=name)
        constants = "".join(f"{float(x):11.4f}" for x in one.constant)
        lines.append(
            f"{TITLES[str(name)]:16s}{float(one.error):10.1e}{round(float(one.slope), 4) + 0.0:10.4f}{constants}"
        )
    sums = {str(name): float(image["sum"].sel(analysis=name)) for name in image.analysis.values}
    score, norm = float(image.score), float(image.squared_gradient_norm)
    lines += [
        "",
        f"one image ({image.attrs['described']}), class {image.attrs['target']}: what each map sums to",
        f"sensitivity     {sums['sensitivity']:10.4f}   the squared norm of the gradient is {norm:.4f}",
        f"simple Taylor   {sums['simple_taylor']:10.4f}   the score is {score:.4f}; the rest is what biases do",
        f"LRP             {sums['lrp']:10.4f}   biases took {float(image.bias):.4f} of the score",
        "",
    ]
    return "\n".join(lines)
