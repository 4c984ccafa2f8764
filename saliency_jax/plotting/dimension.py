"""Profiles of the dimension over the depth of networks, and the spectra beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from saliency_jax.plotting.style import COLOURS, MARKERS, readable

LOWER_BOUND = 20
"""The dimension above which estimates are lower bounds."""
ROUNDING = 1e-6
"""The share of the variance below which components of float32 are rounding."""
COUNTED = {
    "two_nn": ("o", "TwoNN"),
    "pca": ("s", "components with {:.0%} of the variance"),
    "gaussian_control": ("^", "TwoNN of a Gaussian of equal covariance"),
}
"""Estimator -> its marker on a spectrum, and what it is called."""


def dimension_profiles(
    dataset: xr.Dataset, *, over: str | None = None, repeats: str | None = None, title: str = ""
) -> Figure:
    """TwoNN with its interval and its Gaussian control, and the PCA dimension, over the layers.

    One line for each label along a further axis: networks, checkpoints, seeds. With repeats each line is the mean over
    them, its bars reach from the smallest to the largest, and its band is the mean interval of one. Where there are at
    most twelve layers they are named; else they stand at their relative depth. Above 20 the estimates are lower bounds,
    which is shaded.

    Args:
        dataset: what `layer_dimensions` or `layer_dimensions_along` returned.
        over: the further axis; the one that there is where None.
        repeats: an axis of repetitions, as "seed"; those that were not measured are NaN.
        title: what was measured.

    Raises:
        ValueError: the dataset has several further axes and none is named, or not the one that is.
    """
    series = _series(dataset, over, repeats)
    named = dataset.sizes["layer"] <= 12
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2 if named else 4.8), layout="constrained")
    for i, (name, one) in enumerate(series):
        look: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "markersize": 5,
        }
        _draw(left, one, "two_nn", named, repeats, label=readable(name) or "TwoNN", **look)
        _draw(left, one, "gaussian_control", named, repeats, **look | {"linestyle": ":", "marker": "", "linewidth": 1})
        _draw(right, one, "pca", named, repeats, **look)
    left.plot([], [], color="0.4", linestyle=":", linewidth=1, label="Gaussian of equal covariance")
    if repeats and dataset.sizes[repeats] > 1:
        left.errorbar([], [], [], color="0.4", fmt="none", capsize=4, label=f"smallest and largest over the {repeats}s")
    left.set_title("Intrinsic dimension (TwoNN, 95% intervals)\nshaded: lower bounds only", fontsize=11)
    right.set_title(
        f"Linear dimension\n(components with {dataset.attrs.get('variance', 0.9):.0%} of the variance)", fontsize=11
    )
    for axes in (left, right):
        axes.set_yscale("log")
        # Two numbers on an axis do not tell that it is logarithmic.
        low, top = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if top > 20 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.grid(axis="y", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
        if named:
            names = [readable(str(name)) for name in dataset.layer.values]
            axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
        else:
            axes.set_xlabel("relative depth")
    low, top = left.get_ylim()
    left.axhspan(LOWER_BOUND, max(top, LOWER_BOUND), color="0.94", zorder=0)
    left.set_ylim(low, top)
    left.set_ylabel("dimension, logarithmic")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def dimension_spectra(
    dataset: xr.Dataset, *, layers: Sequence[str] | None = None, over: str | None = None, title: str = ""
) -> Figure:
    """The share of the variance that each principal component carries, in some layers, with the dimensions marked.

    A gap in the spectrum, a step down after as many components as the data has dimensions, would show that it lies on a
    plane. TwoNN, the number of components with most of the variance, and TwoNN of Gaussian points, which have the same
    spectrum, are marked where they stand on it.

    Args:
        dataset: as `dimension_profiles`, of standardized features.
        layers: which, a panel each; the first, the middle and the last two where None.
        over: the further axis, whose labels have a line each; the one that there is where None.
        title: what was measured.

    Raises:
        ValueError: a layer or the spectra are not there, or the dataset has several further axes.
    """
    if "spectrum" not in dataset:
        raise ValueError("dataset must have the variable spectrum, which an earlier version did not measure")
    found = [str(name) for name in dataset.layer.values]
    if layers is None:
        last = len(found) - 1
        layers = [found[place] for place in sorted({0, len(found) // 2, max(last - 1, 0), last})]
    if missing := [name for name in layers if name not in found]:
        raise ValueError(f"layers must be among {', '.join(found)}, got {', '.join(missing)}")
    series = list(_series(dataset, over, None))
    figure, row = plt.subplots(
        1, len(layers), figsize=(3.6 * len(layers) + 1, 4.2), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, layer in zip(row[0], layers, strict=True):
        for i, (name, one) in enumerate(series):
            label = readable(name) if name and layer == layers[0] else None
            _draw_spectrum(axes, one.isel(layer=found.index(layer)), COLOURS[i % len(COLOURS)], label)
        axes.set_title(readable(layer), fontsize=10)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("component")
        axes.grid(color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
    row[0][0].set_ylabel("share of the variance")
    for marker, words in COUNTED.values():
        words = words.format(dataset.attrs.get("variance", 0.9))
        row[0][0].plot([], [], color="0.4", marker=marker, linestyle="", label=words)
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=len(series) + len(COUNTED))
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _series(dataset: xr.Dataset, over: str | None, repeats: str | None) -> Iterator[tuple[str, xr.Dataset]]:
    """The labels along the one further axis, and the dataset of each; the repeats are none."""
    further = [str(axis) for axis in dataset.dimension.dims if axis not in ("layer", "estimator", repeats)]
    if len(further) > 1 or (over is not None and further != [over]):
        raise ValueError(f"dataset must have one further axis{f', {over}' if over else ''}, got {further}")
    if repeats is not None and repeats not in dataset.dimension.dims:
        raise ValueError(f"repeats must be an axis of the dataset {dataset.dimension.dims}, got {repeats!r}")
    if not further:
        yield "", dataset
    for label in dataset[further[0]].values if further else ():
        yield str(label), dataset.sel({further[0]: label})


def _draw(axes: Axes, dataset: xr.Dataset, estimator: str, named: bool, repeats: str | None, **look: Any) -> None:
    """One estimator over the layers, with its interval and its repeats."""
    one = dataset.sel(estimator=estimator)
    x = np.arange(one.sizes["layer"]) if named else one.depth.values
    value, low, high = one.dimension, one.low, one.high
    if repeats is not None:
        value, low, high = (array.mean(repeats) for array in (value, low, high))
        if estimator != "gaussian_control" and one.sizes[repeats] > 1:
            # The mean of equal numbers is beside them by rounding.
            reach = np.maximum([value - one.dimension.min(repeats), one.dimension.max(repeats) - value], 0)
            axes.errorbar(x, value, yerr=reach, color=look["color"], fmt="none", capsize=4, linewidth=1, zorder=3)
    axes.plot(x, value, **look)
    if estimator == "two_nn":
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)


def _draw_spectrum(axes: Axes, dataset: xr.Dataset, colour: str, label: str | None) -> None:
    """One layer's spectrum, down to where components are rounding, and the dimensions on it."""
    share = dataset.spectrum.values[dataset.spectrum.values > ROUNDING]
    component = np.arange(1, len(share) + 1)
    axes.plot(component, share, color=colour, linewidth=1.2, label=label)
    for estimator, (marker, _) in COUNTED.items():
        value = float(dataset.dimension.sel(estimator=estimator))
        if len(share) and value >= 1:
            height = np.exp(np.interp(np.log(value), np.log(component), np.log(share)))
            axes.plot([value], [height], color=colour, marker=marker, markersize=7, markeredgecolor="white")
