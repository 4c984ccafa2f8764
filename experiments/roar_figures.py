"""The curves, the pictures and the table of roar.py, each drawn from its Dataset alone."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from grids import picture_grid
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tables import cell, constant_map_lines

from saliency_jax import plotting
from saliency_jax.sanity.summary import mean_interval


def curves(dataset: xr.Dataset) -> Figure:
    """Accuracy against the fraction removed, trained anew and not, a line an explainer."""
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.8), sharey=True, layout="constrained")
    seeds, whole = dataset.sizes["seed"], float(dataset.accuracy_of_whole_images.mean())
    intervals = mean_interval(dataset.accuracy, dims=("seed",))
    _draw(panels[0], dataset, intervals["mean"], whole, intervals)
    _draw(panels[1], dataset, dataset.accuracy_without_retraining, dataset.attrs["test_accuracy"])
    panels[0].set_title(f"trained anew (mean of {seeds} trainings, bars: 95% bootstrap interval)", fontsize=10)
    panels[1].set_title("the explained model, not trained anew", fontsize=10)
    panels[0].set_ylabel("test accuracy")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    figure.suptitle(f"Remove and retrain: pixels ranked by {dataset.attrs['ranking']} value of the map", fontsize=12)
    return figure


def _draw(axes: Axes, dataset: xr.Dataset, means: xr.DataArray, whole: float, bars: xr.Dataset | None = None) -> None:
    fractions = np.concatenate([[0.0], dataset.fraction.values])
    coloured = [name for name in dataset.explainer.values if name not in plotting.CONTROLS]
    for name in dataset.explainer.values:
        mean = np.concatenate([[whole], means.sel(explainer=name).values])
        control = name in plotting.CONTROLS
        place = (plotting.CONTROLS if control else coloured).index(name)
        axes.errorbar(
            fractions,
            mean,
            yerr=None if bars is None else _lengths(mean, bars.sel(explainer=name)),
            label=plotting.readable(str(name)),
            color="0.45" if control else plotting.COLOURS[place % len(plotting.COLOURS)],
            marker=plotting.MARKERS[place % len(plotting.MARKERS)],
            markerfacecolor="white" if control else None,
            linestyle=":" if control else "-",
            linewidth=1.6,
            markersize=5,
            elinewidth=1,
            capsize=2,
        )
    axes.axhline(0.1, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axes.annotate("chance", (0.0, 0.1), xytext=(0, 3), textcoords="offset points", fontsize=8, color="0.4")
    axes.set(xlabel="fraction of the pixels removed", xlim=(-0.03, 1.0), ylim=(0, 1.02))
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _lengths(mean: np.ndarray, interval: xr.Dataset) -> np.ndarray:
    low, high = (np.concatenate([mean[:1], interval[part].values]) for part in ("low", "high"))
    return np.maximum([mean - low, high - mean], 0)


def pictures(dataset: xr.Dataset) -> Figure:
    """The first test image without what each explainer ranks highest: a row an explainer, a column a fraction."""
    names, fractions = [str(x) for x in dataset.explainer.values], dataset.fraction.values
    figure, panels = picture_grid(len(names), 1 + len(fractions), beside=1.4, above=0.3)
    for row, name in enumerate(names):
        shown = [dataset.images[0], *dataset.removed.sel(explainer=name).isel(kept_image=0)]
        for axes, picture in zip(panels[row], shown, strict=True):
            axes.imshow(np.asarray(picture).squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
        panels[row, 0].set_ylabel(plotting.readable(name).replace(" ", "\n"), rotation=0, ha="right", va="center")
    for axes, title in zip(panels[0], ["image", *(f"{fraction:.0%}" for fraction in fractions)], strict=True):
        axes.set_title(title, fontsize=9)
    return figure


def table(dataset: xr.Dataset) -> str:
    """Accuracies for people: an explainer a row, a fraction a column."""
    whole = dataset.accuracy_of_whole_images
    lines = [
        "",
        f"test accuracy of trainings on whole images: {float(whole.mean()):.3f} "
        f"(from {float(whole.min()):.3f} to {float(whole.max()):.3f} over {dataset.sizes['seed']} seeds)",
    ]
    fractions = "".join(f"{fraction:>22.0%}" for fraction in dataset.fraction.values)
    lines += ["", "test accuracy after removal and retraining: mean over seeds [95% interval]", f"{'':24s}{fractions}"]
    intervals = mean_interval(dataset.accuracy, dims=("seed",))
    for name in dataset.explainer.values:
        cells = [
            cell(intervals.sel(explainer=name, fraction=fraction), digits=3) for fraction in dataset.fraction.values
        ]
        lines.append(f"{plotting.readable(str(name)):24s}" + "".join(f"{cell:>22s}" for cell in cells))
    lines += ["", "test accuracy after removal, without retraining", f"{'':24s}{fractions}"]
    for name in dataset.explainer.values:
        accuracies = dataset.accuracy_without_retraining.sel(explainer=name).values
        lines.append(f"{plotting.readable(str(name)):24s}" + "".join(f"{x:22.3f}" for x in accuracies))
    lines += constant_map_lines(dataset, "whose pixels go at random")
    return "\n".join([*lines, ""])
