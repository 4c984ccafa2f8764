"""Bars of a randomization test at its last stage, one an explainer, with their nulls."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from saliency_jax.plotting.style import COLOURS, CONTROLS, TITLES, readable
from saliency_jax.sanity.summary import mean_interval


def similarity_bars(dataset: xr.Dataset, *, metrics: Sequence[str] = ("spearman_abs", "spearman")) -> Figure:
    """One panel a metric, one bar an explainer: the similarity at the last stage, with its null.

    Bars are means over images and seeds with 95% bootstrap intervals; the diamonds are the nulls, the trained model's
    maps of different images against each other.

    Args:
        dataset: what `data_randomization` or `parameter_randomization` returned.
        metrics: which of its metrics to draw.

    Raises:
        ValueError: a metric is not in the dataset.
    """
    known = dataset.metric.values.tolist()
    if missing := [metric for metric in metrics if metric not in known]:
        raise ValueError(f"metrics must be among those of the dataset {known}, got {missing}")
    names = [str(name) for name in dataset.explainer.values]
    rows = np.arange(len(names))[::-1]
    figure, panels = plt.subplots(
        1,
        len(metrics),
        figsize=(2.2 + 3.8 * len(metrics), 1.3 + 0.34 * len(names)),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axes, metric in zip(panels[0], metrics, strict=True):
        scores = dataset.sel(metric=metric)
        bars = mean_interval(scores.similarity.isel(stage=-1))
        nulls = mean_interval(scores["null"].sel(null_kind="other_image"), dims=("image",))
        mean, low, high = (np.asarray(bars[part]) for part in ("mean", "low", "high"))
        colours = ["0.75" if name in CONTROLS else COLOURS[0] for name in names]
        axes.barh(rows, mean, height=0.62, color=colours, label="the same image")
        axes.errorbar(mean, rows, xerr=np.maximum([mean - low, high - mean], 0), fmt="none", ecolor="black", capsize=2)
        null = {part: np.asarray(nulls[part]) for part in ("mean", "low", "high")}
        axes.errorbar(
            null["mean"],
            rows,
            xerr=np.maximum([null["mean"] - null["low"], null["high"] - null["mean"]], 0),
            fmt="D",
            color=COLOURS[1],
            markersize=4,
            elinewidth=1,
            capsize=2,
            label="null: another image",
        )
        axes.axvline(0, color="0.4", linewidth=0.8)
        axes.set_title(TITLES.get(metric, readable(metric)), fontsize=11)
        axes.set_xlim(min(-0.1, 1.1 * float(np.nanmin([*low, *null["low"], 0]))), 1.05)
        axes.grid(axis="x", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_yticks(rows, list(map(readable, names)), fontsize=9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    stage, images = readable(str(dataset.stage.values[-1])), dataset.sizes["image"]
    figure.suptitle(f"Similarity to the trained model's maps: {stage} ({images} images)", fontsize=12)
    return figure
