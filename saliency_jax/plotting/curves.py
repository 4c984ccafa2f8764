"""Curves of a randomization test: similarity over the stages with intervals, and the null beside them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saliency_jax.plotting.style import TITLES, readable, style
from saliency_jax.sanity.parts import TRAINED
from saliency_jax.sanity.summary import mean_interval


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
    known = dataset.metric.values.tolist()
    if missing := [metric for metric in metrics if metric not in known]:
        raise ValueError(f"metrics must be among those of the dataset {known}, got {missing}")
    columns = min(len(metrics), 2)
    rows = -(-len(metrics) // columns)
    wide = 5.2 if dataset.sizes["stage"] <= 12 else 6.8
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(1.6 + wide * columns, 0.4 + 4.6 * rows),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for unused in panels.flat[len(metrics) :]:
        unused.remove()
    for axes, metric in zip(panels.flat, metrics, strict=False):
        _draw_curves(axes, dataset.sel(metric=metric))
        axes.set_title(TITLES.get(metric, readable(metric)), fontsize=11)
    for axes in panels[:, 0]:
        axes.set_ylabel("similarity to the trained model's map")
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
        look = style(name, i)
        axes.errorbar(
            places + spread[i],
            mean,
            yerr=np.maximum([mean - low, high - mean], 0),
            label=readable(name),
            linewidth=1.6,
            markersize=5,
            elinewidth=1,
            capsize=2,
            **look,
        )
        null = {part: float(nulls[part].sel(explainer=name)) for part in ("mean", "low", "high")}
        axes.errorbar(
            null_place + spread[i],
            null["mean"],
            yerr=[[max(null["mean"] - null["low"], 0)], [max(null["high"] - null["mean"], 0)]],
            markersize=5,
            elinewidth=1,
            capsize=2,
            **{**look, "linestyle": "none"},
        )
    axes.set_xticks([*places, null_place], [TRAINED, *map(readable, stages), "null:\nother image"])
    axes.tick_params(axis="x", labelsize=9)
    if len(stages) > 6:
        plt.setp(axes.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.4, null_place + 0.5)
    axes.set_xlabel("randomized up to this layer")
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
