"""The figures of theory.py, each drawn from a Dataset of its own."""

from __future__ import annotations

from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from grids import picture_grid
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saliency_jax import plotting
from saliency_jax.sanity.random_networks_theory import fully_connected_recovery
from saliency_jax.sanity.summary import mean_interval
from saliency_jax.sanity.theory import sparse_product_correlation

EXPLAINER_COLOURS = dict(zip(("gradient", "guided_backprop", "deconvnet"), plotting.COLOURS, strict=False))
NETWORK_TITLES = {
    "convolution": "convolution",
    "max_pooling": "convolution with max pooling",
    "fully_connected": "fully connected",
}


def dominance_figure(dataset: xr.Dataset, digit: np.ndarray, key: Any) -> Figure:
    """A digit, two products of it with noise, their absolute values beside each other, and all digits by density."""
    figure, panels = plt.subplots(1, 5, figsize=(17, 3.6), layout="constrained", width_ratios=(1, 1, 1, 1.25, 1.7))
    first, second = (digit * np.asarray(noise) for noise in jax.random.normal(key, (2, *digit.shape)))
    _show(panels[0], digit[..., 0], "image x", cmap="gray")
    for axes, product, name in ((panels[1], first, "x · u"), (panels[2], second, "x · v")):
        plotting.show_map(axes, product)
        _bare(axes, name)
    blank = digit.ravel() == 0
    pairs = np.abs(first).ravel(), np.abs(second).ravel()
    panels[3].scatter(
        *(x[~blank] for x in pairs), s=10, color=plotting.COLOURS[0], label=f"{(~blank).sum()} ink pixels"
    )
    panels[3].scatter([0], [0], s=90, color=plotting.COLOURS[1], label=f"{blank.sum()} blank pixels", zorder=3)
    panels[3].set(xlabel="|x · u|", ylabel="|x · v|", title="one digit, pixel by pixel")
    # Room for the legend above the points.
    panels[3].set_ylim(top=1.3 * max(pairs[1]))
    panels[3].legend(frameon=False, fontsize=9, loc="upper right")
    by_image = dataset.similarity.sel(explainer="noise_times_input").mean("seed")
    density = dataset.density.values
    for metric, colour, name in (
        ("spearman_abs", plotting.COLOURS[1], "absolute values"),
        ("spearman", plotting.COLOURS[0], "signed"),
    ):
        panels[4].scatter(density, by_image.sel(metric=metric), s=10, color=colour, label=name)
    line = np.linspace(density.min(), density.max(), 100)
    panels[4].plot(line, sparse_product_correlation(line), color="black", lw=1, label="flat image, closed form")
    panels[4].axhline(0, color="0.6", lw=0.8, zorder=0)
    panels[4].set(
        xlabel="share of pixels that are not blank",
        ylabel="Spearman, x · u against x · v",
        ylim=(-0.25, 1.05),
        title=f"{dataset.sizes['image']} digits, {dataset.sizes['seed']} pairs of noises each",
    )
    panels[4].legend(frameon=False, fontsize=9, loc="center right")
    for axes in panels[3:]:
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Input dominance: two maps that share nothing but a product with the image", fontsize=12)
    return figure


def convolution_figure(dataset: xr.Dataset) -> Figure:
    """Image, activation pattern, gradient in closed form and by autodiff, one row a picture."""
    figure, panels = plt.subplots(2, 4, figsize=(10.5, 5.4), layout="constrained")
    limit = float(np.abs(dataset.closed_form).max())
    for row, name in zip(panels, dataset.image.values, strict=True):
        of = dataset.sel(image=name)
        _show(row[0], of.images, "", cmap="gray")
        row[0].set_ylabel(name, fontsize=10)
        _show(row[1], of.pattern, "", cmap="Greys", vmin=0, vmax=1)
        for axes, values in ((row[2], of.closed_form), (row[3], of.gradient)):
            drawn = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            _bare(axes, "")
    for axes, title in zip(
        panels[0], ("image", "units that are on: black", "gradient, closed form", "gradient, autodiff"), strict=True
    ):
        axes.set_title(title, fontsize=10)
    figure.colorbar(drawn, ax=panels[:, 3], shrink=0.7)
    figure.suptitle("One random 3x3 filter, ReLU, sum over all places: the gradient changes only at edges", fontsize=12)
    return figure


def recovery_figure(dataset: xr.Dataset) -> Figure:
    """One panel a network: the correlation of map and image over the number of filters."""
    networks = [str(name) for name in dataset.network.values]
    figure, panels = plt.subplots(
        1, len(networks), figsize=(1.5 + 4.2 * len(networks), 4.2), sharey=True, layout="constrained", squeeze=False
    )
    counts = dataset.filters.values
    pixels = int(np.prod([dataset.sizes[dim] for dim in ("height", "width", "channel")]))
    cosine = dataset.sel(metric="cosine")
    for axes, network in zip(panels[0], networks, strict=True):
        curves = mean_interval(cosine.similarity.sel(network=network))
        for marker, (name, colour) in zip(plotting.MARKERS, EXPLAINER_COLOURS.items(), strict=False):
            of = curves.sel(explainer=name)
            axes.plot(counts, of["mean"], color=colour, marker=marker, lw=1.6, ms=5, label=plotting.readable(name))
            axes.fill_between(counts, of["low"], of["high"], color=colour, alpha=0.18, lw=0)
        guided = cosine["null"].sel(network=network, explainer="guided_backprop", null_kind="other_image")
        axes.plot(
            counts,
            guided.mean(("seed", "image")),
            ":",
            color=EXPLAINER_COLOURS["guided_backprop"],
            lw=1.2,
            label="guided backprop, other image",
        )
        if network == "fully_connected":
            theory = [fully_connected_recovery(pixels, int(n)) for n in counts]
            axes.plot(counts, theory, color="black", lw=1, ls="--", label="guided backprop, closed form")
        elif network == "convolution":
            limit = float(cosine.limit.sel(network=network).mean())
            axes.axhline(limit, color="black", lw=1, ls="--", label="guided backprop, closed form")
        axes.axhline(0, color="0.6", lw=0.8, zorder=0)
        axes.set_xscale("log", base=4)
        axes.set_xticks(counts, [str(n) for n in counts])
        axes.minorticks_off()
        axes.set(xlabel="units" if network == "fully_connected" else "filters", ylim=(-0.3, 1.05))
        axes.set_title(NETWORK_TITLES.get(network, network), fontsize=11)
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylabel("cosine of map and image")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    figure.suptitle(
        f"How much of the image maps of random networks show ({dataset.sizes['image']} digits, "
        f"{dataset.sizes['seed']} networks)",
        fontsize=12,
    )
    return figure


def recovery_maps(dataset: xr.Dataset) -> Figure:
    """The first digit's maps: a row for each network and explainer, a column for each number of filters."""
    rows = [(network, name) for network in dataset.network.values for name in dataset.explainer.values]
    counts = dataset.filters.values
    figure, panels = picture_grid(len(rows), 1 + len(counts), beside=2.4, above=0.5)
    for (network, name), axes in zip(rows, panels, strict=True):
        _show(axes[0], dataset.images[0, ..., 0], "", cmap="gray")
        label = f"{NETWORK_TITLES.get(network, network)}\n{plotting.readable(name)}"
        axes[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        for column, count in zip(axes[1:], counts, strict=True):
            plotting.show_map(column, dataset.maps.sel(network=network, explainer=name, filters=count)[0].values)
            _bare(column, "")
    for axes, title in zip(panels[0], ("image", *(f"{n} filters" for n in counts)), strict=True):
        axes.set_title(title, fontsize=9)
    return figure


def _show(axes: Axes, values: Any, title: str, **options: Any) -> None:
    axes.imshow(values, interpolation="nearest", **options)
    _bare(axes, title)


def _bare(axes: Axes, title: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)
    axes.spines[:].set_color("0.8")
