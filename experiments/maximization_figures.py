"""The figures and tables of activation_maximization.py, each drawn from its Dataset alone."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from saliency_jax import plotting


def prototype_figure(dataset: xr.Dataset) -> Figure:
    """A row an objective, a column a class; penalized prototypes are grey where they are 0, the others black."""
    rows, classes = dataset.row.values, dataset.sizes["class"]
    figure, panels = plt.subplots(len(rows), classes, figsize=(11.5, 1.12 * len(rows)), layout="compressed")
    for row, name in enumerate(rows):
        one = dataset.sel(row=name)
        limit = float(np.abs(one.image).max())
        low = -limit if np.isfinite(one.weight) else 0.0
        for column, axes in enumerate(panels[row]):
            axes.imshow(one.image[column], cmap="gray", vmin=low, vmax=limit if low else 1.0)
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(f"p = {float(one.probability[column]):.3f}", fontsize=7, labelpad=2)
        label = f"$\\lambda$ = {float(one.weight):g}" if low else str(name).replace(" ", "\n")
        panels[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    for column in range(classes):
        panels[0, column].set_title(str(column), fontsize=10)
    return figure


def course_figure(dataset: xr.Dataset) -> Figure:
    """The gradient's norm over the steps for each penalty, and the norm of the prototypes over the penalty."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained", width_ratios=(1.6, 1))
    penalized = dataset.where(np.isfinite(dataset.weight), drop=True)
    for i, name in enumerate(penalized.row.values):
        one = penalized.sel(row=name)
        colour = plotting.COLOURS[i % len(plotting.COLOURS)]
        left.plot(one.entry, one.course.median("class"), color=colour, label=f"$\\lambda$ = {float(one.weight):g}")
        left.fill_between(one.entry, one.course.min("class"), one.course.max("class"), color=colour, alpha=0.2, lw=0)
    left.axhline(1e-4, color="0.5", linestyle=":", lw=1)
    left.set(yscale="log", xlabel="step", ylabel="norm of the objective's gradient")
    left.set_title("Ascent, then refinement at each sharpness: median and range of ten classes", fontsize=10)
    left.legend(frameon=False)
    for c in dataset["class"].values:
        right.plot(penalized.weight, penalized.norm.sel({"class": c}), color="0.6", lw=0.8)
    right.plot(penalized.weight, penalized.norm.mean("class"), color=plotting.COLOURS[0], marker="o")
    right.set(xscale="log", xlabel="penalty $\\lambda$", ylabel="norm of the prototype")
    right.set_title("Ten classes and their mean", fontsize=10)
    right.set_ylim(0)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def prototype_table(dataset: xr.Dataset) -> str:
    """A row an objective: smallest probability, norm, gradients."""
    heads = {"p(c|x), least": 15, "norm, mean": 12, "gradient, largest": 19, "unrefined": 12, "of score": 12}
    lines = [f"{'':18s}" + "".join(f"{name:>{width}s}" for name, width in heads.items())]
    for name in dataset.row.values:
        one = dataset.sel(row=name)
        lines.append(
            f"{name:18s}{float(one.probability.min()):15.4f}{float(one.norm.mean()):12.3f}"
            f"{float(one.gradient_norm.max()):19.1e}{float(one.unrefined_gradient_norm.max()):12.1e}"
            f"{float(one.score_gradient_norm.mean()):12.1e}"
        )
    lines.append(
        "gradient: of the whole objective, its ReLUs as smooth as at the last sharpness; of score: the mean norm"
    )
    lines.append(
        "of log p(c|x)'s gradient, which the penalty's or the expert's cancels; unrefined: on the sharp network."
    )
    return "\n".join([*lines, ""])


def prototype_findings(dataset: xr.Dataset) -> list[str]:
    """How sure the network is of its prototypes, and how near they are to a maximum."""
    least = dataset.probability.min("class")
    worst = least.row.values[int(least.argmin("row"))]
    found = [f"The least probability of a prototype's own class is {float(least.min()):.3f} ({worst})."]
    penalized = dataset.isel(row=np.isfinite(dataset.weight.values))
    if penalized.sizes["row"]:
        found.append(
            f"With the penalty it is {float(penalized.probability.min()):.3f}, and the norm of the objective's "
            f"gradient at most {float(penalized.gradient_norm.max()):.0e}."
        )
    return found


def unit_figure(dataset: xr.Dataset) -> Figure:
    """A row a unit: its maxima, and the photographs that excite it most."""
    rows, columns = dataset.sizes["unit"], dataset.sizes["shown"]
    figure, panels = plt.subplots(
        rows, columns, figsize=(1.7 * columns, 1.85 * rows), layout="compressed", squeeze=False
    )
    for row in range(rows):
        for column, axes in enumerate(panels[row]):
            one = dataset.isel(unit=row, shown=column)
            axes.imshow(one.image)
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(f"{float(one.activation):.4g}", fontsize=8, labelpad=2)
            if row == 0:
                axes.set_title(str(one.shown.item()), fontsize=9)
        panels[row, 0].set_ylabel(f"channel {int(dataset.unit[row])}", fontsize=9)
    figure.suptitle(f"{dataset.attrs['network']}, {dataset.attrs['tap']}: mean activation below", fontsize=10)
    return figure


def unit_table(dataset: xr.Dataset) -> str:
    """A row a unit: the mean activation in its maxima and in its best photographs."""
    names = [str(name) for name in dataset.shown.values]
    lines = [f"{dataset.attrs['network']}, {dataset.attrs['tap']}, {dataset.attrs['photographs']} photographs"]
    lines.append(f"{'mean activation':20s}" + "".join(f"{name:>15s}" for name in names))
    for unit in dataset.unit.values:
        cells = "".join(f"{float(x):15.3f}" for x in dataset.activation.sel(unit=unit))
        lines.append(f"{f'channel {unit}':20s}{cells}")
    lines.append("Means over all places, which is what the maxima are of; those were looked for under transformations.")
    return "\n".join([*lines, ""])


def unit_findings(dataset: xr.Dataset) -> list[str]:
    """Whether what is made excites the units more than the photographs do."""
    photographs = [name for name in dataset.shown.values if str(name).startswith("photograph")]
    best = dataset.activation.sel(shown=photographs).max("shown")
    found = []
    for name in [str(name) for name in dataset.shown.values if name not in photographs]:
        more = int((dataset.activation.sel(shown=name) > best).sum())
        found.append(
            f"{name}: {more} of {dataset.sizes['unit']} channels of {dataset.attrs['tap']} answer more to the image "
            f"made for them than to any of {dataset.attrs['photographs']} photographs."
        )
    return found
