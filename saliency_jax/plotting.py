"""Figures of a randomization test, drawn from its Dataset alone: curves with intervals, grids of maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saliency_jax.sanity.parts import TRAINED
from saliency_jax.sanity.summary import mean_interval

# Okabe and Ito's colours, told apart by people with any colour vision, and two markers for the second round.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
CONTROLS = ("edges", "noise", "constant")
TITLES = {
    "spearman": "Spearman rank correlation, signed",
    "spearman_abs": "Spearman rank correlation, absolute values",
    "pearson": "Pearson correlation",
    "cosine": "Cosine similarity",
    "ssim": "Structural similarity (SSIM)",
    "hog": "Correlation of oriented gradients (HOG)",
}


NAMES = {
    "smoothgrad": "SmoothGrad",
    "smoothgrad_squared": "SmoothGrad squared",
    "vargrad": "VarGrad",
    "grad_cam": "Grad-CAM",
    "guided_grad_cam": "guided Grad-CAM",
    "lrp": "LRP",
    "deep_lift": "DeepLIFT",
    "simple_taylor": "simple Taylor",
}


def readable(name: str) -> str:
    """A name for people: "gradient_times_input" as "gradient times input", "grad_cam" as "Grad-CAM"."""
    return NAMES.get(name, name.replace("_", " "))


def similarity_curves(dataset: xr.Dataset, *, metrics: Sequence[str] = ("spearman_abs", "spearman")) -> Figure:
    """One panel a metric, one line an explainer: similarity to the trained model's maps over the stages.

    Points are means over images and seeds, bars their 95% bootstrap intervals. To the right of the curves stands the
    null: the trained model's maps of different images against each other, where similarity means nothing.

    Args:
        dataset: what `parameter_randomization` returned.
        metrics: which of its metrics to draw.

    Raises:
        ValueError: a metric is not in the dataset.
    """
    known = list(dataset.metric.values)
    if missing := [metric for metric in metrics if metric not in known]:
        raise ValueError(f"metrics must be among those of the dataset {known}, got {missing}")
    figure, panels = plt.subplots(
        1,
        len(metrics),
        figsize=(1.6 + 5.2 * len(metrics), 5.0),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axes, metric in zip(panels[0], metrics, strict=True):
        _draw_curves(axes, dataset.sel(metric=metric))
        axes.set_title(TITLES.get(metric, readable(metric)), fontsize=11)
    panels[0, 0].set_ylabel("similarity to the trained model's map")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    images, seeds = dataset.sizes["image"], dataset.sizes["seed"]
    figure.suptitle(
        f"Model parameter randomization ({readable(dataset.attrs.get('order', ''))}, "
        f"{images} images, {seeds} seed{'s' if seeds != 1 else ''})",
        fontsize=12,
    )
    return figure


def _draw_curves(axes: Axes, scores: xr.Dataset) -> None:
    stages = list(scores.stage.values)
    places = np.arange(len(stages) + 1)
    null_place = places[-1] + 1
    curves = mean_interval(scores.similarity)
    nulls = mean_interval(scores["null"].sel(null_kind="other_image"), dims=("image",))
    names = [str(name) for name in scores.explainer.values]
    spread = np.linspace(-0.18, 0.18, len(names))
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.axvspan(null_place - 0.5, null_place + 0.5, color="0.94", zorder=0)
    for i, name in enumerate(names):
        mean, low, high = (np.asarray(curves[part].sel(explainer=name)) for part in ("mean", "low", "high"))
        if np.isnan(mean).all():
            continue
        # The trained model's map equals itself: every curve starts at 1.
        mean, low, high = (np.concatenate([[1.0], part]) for part in (mean, low, high))
        style = _style(name, i)
        axes.errorbar(
            places + spread[i],
            mean,
            yerr=np.maximum([mean - low, high - mean], 0),
            label=readable(name),
            linewidth=1.6,
            markersize=5,
            elinewidth=1,
            capsize=2,
            **style,
        )
        null = {part: float(nulls[part].sel(explainer=name)) for part in ("mean", "low", "high")}
        axes.errorbar(
            null_place + spread[i],
            null["mean"],
            yerr=[[max(null["mean"] - null["low"], 0)], [max(null["high"] - null["mean"], 0)]],
            markersize=5,
            elinewidth=1,
            capsize=2,
            **{**style, "linestyle": "none"},
        )
    axes.set_xticks([*places, null_place], [TRAINED, *map(readable, stages), "null:\nother image"])
    axes.tick_params(axis="x", labelrotation=30 if len(stages) > 6 else 0, labelsize=9)
    axes.set_xlim(-0.4, null_place + 0.5)
    axes.set_xlabel("randomized up to this layer")
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _style(name: str, place: int) -> dict[str, Any]:
    if name in CONTROLS:
        return {
            "color": "0.55",
            "linestyle": ":",
            "marker": MARKERS[CONTROLS.index(name)],
            "markerfacecolor": "white",
        }
    second_round = place >= len(COLOURS)
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": "--" if second_round else "-",
    }


def map_grid(dataset: xr.Dataset, *, image: int = 0) -> Figure:
    """The maps of one image: a row an explainer, a column a model, from the trained one to the last stage.

    Every map is scaled by itself, by the 99th percentile of its absolute values: signed maps are red for positive and
    blue for negative with white at 0, maps without negative values white to black.

    Args:
        dataset: what `parameter_randomization` returned, with maps that were kept.
        image: which of the kept images.

    Raises:
        ValueError: the dataset keeps no map of that image.
    """
    kept = dataset.sizes.get("kept_image", 0)
    if not 0 <= image < kept or "maps" not in dataset:
        raise ValueError(f"image must be one of the {kept} images whose maps were kept, got {image}")
    names, models = [str(x) for x in dataset.explainer.values], [str(x) for x in dataset.model.values]
    rows, columns = len(names), 1 + len(models)
    figure, panels = plt.subplots(
        rows, columns, figsize=(1.25 * columns + 1.4, 1.25 * rows + 0.5), layout="constrained", squeeze=False
    )
    picture = np.asarray(dataset.images[image])
    for row, name in enumerate(names):
        for axes in panels[row]:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("0.8")
        panels[row, 0].imshow(picture.squeeze(), cmap="gray", interpolation="nearest")
        panels[row, 0].set_ylabel(readable(name).replace(" ", "\n", 1), rotation=0, ha="right", va="center", fontsize=9)
        for column, model in enumerate(models, start=1):
            show_map(panels[row, column], np.asarray(dataset.maps.sel(explainer=name, model=model)[image]))
    panels[0, 0].set_title("image", fontsize=9)
    for column, model in enumerate(models, start=1):
        panels[0, column].set_title(readable(model), fontsize=9)
    return figure


def show_map(axes: Axes, attribution: np.ndarray) -> None:
    """Draw one map `[height, width, channel]`, its channels summed, scaled by its 99th percentile."""
    flat = attribution.sum(axis=-1)
    limit = float(np.percentile(np.abs(flat), 99)) or float(np.abs(flat).max()) or 1.0
    signed = (flat < 0).any()
    colours: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit} if signed else {"cmap": "Greys", "vmin": 0.0}
    axes.imshow(flat, vmax=limit, interpolation="nearest", **colours)


def save(figure: Figure, path: Any) -> None:
    """Write a figure and close it; the ending of the path chooses the format."""
    figure.savefig(path, dpi=150)
    plt.close(figure)
