"""The mean curves of selectivity.py and the areas under them: the table and the figure, the best explainer first."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from explained_images import RANDOM, label
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saliency_jax import plotting
from saliency_jax.sanity.summary import mean_interval


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
        left.plot(dataset.fraction, dataset.curve.sel(explainer=name).mean("image"), **_look(name, order))
    gone = "removed" if dataset.attrs["direction"] == "deletion" else "put in"
    recorded = dataset.attrs["kind"].replace("_", " ")
    left.set(xlabel=f"share of the patches {gone}", ylabel=f"{recorded}, mean over images", xlim=(0, 1))
    # A legend of all explainers would lie on the curves, and says no more than the names beside the same marks.
    left.set_title("colours and marks are those on the right; random order dotted", fontsize=10)
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
