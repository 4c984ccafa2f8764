"""The figures and the table of engineered_tasks.py, each drawn from its Datasets alone."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from tables import cell, constant_map_lines

from saliency_jax import plotting
from saliency_jax.sanity.summary import mean_interval

MODELS = {"digit_task": "trained on digits", "shape_task": "trained on shapes", "random": "random weights"}


def compared(dataset: xr.Dataset, centred: xr.Dataset, metric: str) -> dict[str, xr.Dataset]:
    """What is compared -> the mean similarity of each explainer, with its interval."""
    two, one = dataset.sel(metric=metric), centred.sel(metric=metric)
    return {
        "centred digit: random": mean_interval(one.similarity.sel(stage="random")),
        "two objects: random": mean_interval(two.similarity.sel(stage="random")),
        "two objects: other task": mean_interval(two.similarity.sel(stage="other_task")),
        "null: other image": mean_interval(two["null"].sel(null_kind="other_image"), dims=("image",)),
    }


def scores(dataset: xr.Dataset, centred: xr.Dataset) -> Figure:
    """Where the maps lie, and how alike they are: an explainer a row, means over the images with 95% intervals."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.4), sharey=True, layout="constrained")
    mass = mean_interval(dataset.mass_on_task, dims=("image",))
    of_models = {MODELS[str(name)]: mass.sel(model=name) for name in dataset.model.values}
    _draw(panels[0], of_models)
    panels[0].axvline(0.5, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    panels[0].set_title("share of the map's absolute values\non the half of the model's own task", fontsize=10)
    panels[0].set_xlim(0, 1)
    for axes, metric in zip(panels[1:], ("spearman_abs", "spearman"), strict=True):
        _draw(axes, compared(dataset, centred, metric), first_colour=3)
        axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_title(f"{plotting.TITLES[metric]}\nof two maps of one image", fontsize=10)
    names = [plotting.readable(str(name)) for name in dataset.explainer.values]
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    for axes, title in ((panels[0], "model"), (panels[2], "the trained model's map against")):
        axes.legend(title=title, loc="upper left", bbox_to_anchor=(0, -0.1), frameon=False, fontsize=8, ncols=2)
    figure.suptitle(f"Two tasks on the same {dataset.sizes['image']} images of a digit beside a shape", fontsize=12)
    return figure


def _draw(axes: Axes, series: dict[str, xr.Dataset], *, first_colour: int = 0) -> None:
    spread = np.linspace(-0.24, 0.24, len(series))
    for i, (label, interval) in enumerate(series.items()):
        mean, low, high = (interval[part].values for part in ("mean", "low", "high"))
        axes.errorbar(
            mean,
            np.arange(len(mean)) + spread[i],
            xerr=np.maximum([mean - low, high - mean], 0),
            label=label,
            color=(*plotting.COLOURS, "0.45")[first_colour + i],
            marker=plotting.MARKERS[first_colour + i],
            linestyle="none",
            markersize=5,
            elinewidth=1,
            capsize=2,
        )
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def pictures(dataset: xr.Dataset) -> Figure:
    """The maps of the models side by side: a row an explainer, the half of each model's own task framed.

    The two images that are shown have the digit on different sides where the kept images have both.
    """
    names, models = [str(x) for x in dataset.explainer.values], [str(x) for x in dataset.model.values]
    sides = dataset.digit_on_right.values[: dataset.sizes["kept_image"]].astype(bool)
    shown = [0, int(np.argmax(sides != sides[0])) or 1]
    columns = len(shown) * (1 + len(models))
    size = (1.75 * columns + 1.2, 0.98 * len(names) + 0.4)
    figure, panels = plt.subplots(len(names), columns, figsize=size, layout="constrained", squeeze=False)
    for row, name in enumerate(names):
        for block, image in enumerate(shown):
            axes = panels[row, block * (1 + len(models)) :]
            axes[0].imshow(dataset.images[image].values.squeeze(), cmap="gray", interpolation="nearest")
            for place, model in zip(axes[1:], models, strict=False):
                plotting.show_map(place, dataset.maps.sel(explainer=name, model=model)[image].values)
                if model != "random":
                    _frame(place, on_right=bool(sides[image]) == (model == "digit_task"))
            if row == 0:
                axes[0].set_title("image", fontsize=9)
                for place, model in zip(axes[1:], models, strict=False):
                    place.set_title(MODELS[model], fontsize=9)
        panels[row, 0].set_ylabel(plotting.readable(name).replace(" ", "\n", 1), rotation=0, ha="right", va="center")
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    return figure


def _frame(axes: Axes, *, on_right: bool) -> None:
    width, height = (abs(end - start) for start, end in (axes.get_xlim(), axes.get_ylim()))
    corner = (width / 2 - 0.5 if on_right else -0.5, -0.5)
    axes.add_patch(Rectangle(corner, width / 2, height, fill=False, edgecolor="#009E73", linewidth=2.5))


def table(dataset: xr.Dataset, centred: xr.Dataset) -> str:
    """The means over the images, an explainer a row, for people."""
    lines = ["", "test accuracy:"]
    for name, value in dataset.attrs.items():
        if name.startswith("accuracy_"):
            lines.append(f"  {plotting.readable(name.removeprefix('accuracy_')):36s}{value:8.4f}")
    lines += ["", "share of the map's absolute values on the half of the model's own task: mean [95% interval]"]
    mass = mean_interval(dataset.mass_on_task, dims=("image",))
    lines.append(f"{'':24s}" + "".join(f"{MODELS[str(name)]:>26s}" for name in dataset.model.values))
    for name in dataset.explainer.values:
        cells = [cell(mass.sel(explainer=name, model=model)) for model in dataset.model.values]
        lines.append(f"{plotting.readable(str(name)):24s}" + "".join(f"{cell:>26s}" for cell in cells))
    for metric in dataset.metric.values:
        columns = compared(dataset, centred, str(metric))
        title = plotting.TITLES.get(str(metric), str(metric))
        lines += ["", f"{title} with the trained model's map: mean [95% interval]"]
        lines.append(f"{'':24s}" + "".join(f"{column:>26s}" for column in columns))
        for name in dataset.explainer.values:
            cells = [cell(interval.sel(explainer=name)) for interval in columns.values()]
            lines.append(f"{plotting.readable(str(name)):24s}" + "".join(f"{cell:>26s}" for cell in cells))
    lines += constant_map_lines(dataset, "which have no correlation (NaN)")
    return "\n".join([*lines, ""])
