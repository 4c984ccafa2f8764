"""Profiles of the dimension over the depth of networks."""

from __future__ import annotations

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


def dimension_profiles(dataset: xr.Dataset, *, over: str | None = None, title: str = "") -> Figure:
    """TwoNN with its interval and its Gaussian control, and the PCA dimension, over the layers.

    One line for each label along a further axis: networks, checkpoints, seeds. Where there are at most twelve layers
    they are named; else they stand at their relative depth. Above 20 the estimates are lower bounds, which is shaded.

    Args:
        dataset: what `layer_dimensions` or `layer_dimensions_along` returned.
        over: the further axis; the one that there is where None.
        title: what was measured.

    Raises:
        ValueError: the dataset has several further axes and none is named, or not the one that is.
    """
    further = [str(axis) for axis in dataset.dimension.dims if axis not in ("layer", "estimator")]
    if len(further) > 1 or (over is not None and further != [over]):
        raise ValueError(f"dataset must have one further axis{f', {over}' if over else ''}, got {further}")
    series = (
        {"": dataset} if not further else {str(x): dataset.sel({further[0]: x}) for x in dataset[further[0]].values}
    )
    named = dataset.sizes["layer"] <= 12
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2 if named else 4.8), layout="constrained")
    for i, (name, one) in enumerate(series.items()):
        look: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "markersize": 5,
        }
        _draw(left, one, "two_nn", named, label=readable(name) or "TwoNN", **look)
        _draw(left, one, "gaussian_control", named, **look | {"linestyle": ":", "marker": "", "linewidth": 1})
        _draw(right, one, "pca", named, **look)
    left.axhspan(LOWER_BOUND, max(left.get_ylim()[1], LOWER_BOUND), color="0.94", zorder=0)
    left.plot([], [], color="0.4", linestyle=":", linewidth=1, label="Gaussian of equal covariance")
    left.set_title("Intrinsic dimension (TwoNN, 95% intervals); shaded: lower bounds only", fontsize=11)
    right.set_title(
        f"Linear dimension (components with {dataset.attrs.get('variance', 0.9):.0%} of the variance)", fontsize=11
    )
    for axes in (left, right):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.grid(axis="y", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
        if named:
            names = [readable(str(name)) for name in dataset.layer.values]
            axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
        else:
            axes.set_xlabel("relative depth")
    left.set_ylabel("dimension")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _draw(axes: Axes, dataset: xr.Dataset, estimator: str, named: bool, **look: Any) -> None:
    """One estimator over the layers, with its interval."""
    one = dataset.sel(estimator=estimator)
    x = np.arange(one.sizes["layer"]) if named else one.depth.values
    axes.plot(x, one.dimension, **look)
    if estimator == "two_nn":
        axes.fill_between(x, one.low, one.high, color=look["color"], alpha=0.15, linewidth=0)
