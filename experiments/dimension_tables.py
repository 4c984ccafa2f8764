"""The tables and the figure of `intrinsic_dimension.py`, from its Datasets alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from saliency_jax import plotting

ESTIMATORS = {
    "two_nn": "intrinsic dimension, TwoNN [95% interval]",
    "gaussian_control": "Gaussian points of equal covariance",
    "pca": "linear dimension: components with 90% of the variance",
}
WIDTH = 24


def table(dataset: xr.Dataset, *, measured_on: str) -> str:
    """A row a layer, a column a network: TwoNN with its interval, the linear dimension, spread and spectrum.

    Args:
        dataset: over network, layer and estimator, and over seed where networks were trained several times: values and
            intervals are then means over these.
        measured_on: what the accuracies are called, by what they were measured on.
    """
    several = "seed" in dataset.dims
    means = dataset[["dimension", "low", "high"]]
    means = means.mean("seed") if several else means
    lines: list[str] = []
    for estimator, title in ESTIMATORS.items():
        lines += _block(dataset, title, _cells(means.sel(estimator=estimator)))
    if several:
        lines += _block(
            dataset,
            "TwoNN over the seeds: smallest to largest (how many)",
            lambda layer, network: _spread(dataset.dimension.sel(layer=layer, network=network, estimator="two_nn")),
        )
    first = dataset.isel(seed=0) if several else dataset
    lines += _block(
        first,
        "spectrum: its largest step down, after which component; the step at TwoNN's dimension (1: none)",
        lambda layer, network: _gap(first.sel(layer=layer, network=network)),
    )
    accuracy = dataset.accuracy.mean("seed") if several else dataset.accuracy
    lines.append(f"{measured_on:18s}" + "".join(f"{float(x):{WIDTH}.3f}" for x in accuracy))
    return "\n".join([*lines, *_reasons(dataset), ""])


def _block(dataset: xr.Dataset, title: str, entry: Callable[[Any, Any], str]) -> Iterator[str]:
    """A title, the networks' names, a row a layer."""
    yield title
    yield f"{'':18s}" + "".join(f"{name:>{WIDTH}s}" for name in dataset.network.values)
    for layer in dataset.layer.values:
        yield f"{layer:18s}" + "".join(f"{entry(layer, name):>{WIDTH}s}" for name in dataset.network.values)
    yield ""


def _cells(values: xr.Dataset) -> Callable[[Any, Any], str]:
    return lambda layer, network: cell(values.sel(layer=layer, network=network))


def _spread(values: xr.DataArray) -> str:
    there = values.values[np.isfinite(values.values)]
    return f"{there.min():.1f} to {there.max():.1f} ({len(there)})" if len(there) else "none"


def _gap(one: xr.Dataset) -> str:
    """The largest ratio of one component's variance to the next one's, among those that PCA counts; and TwoNN's."""
    dimension, counted = (one.dimension.sel(estimator=name).item() for name in ("two_nn", "pca"))
    share = one.spectrum.values[one.spectrum.values > 0]
    if not np.isfinite([dimension, counted]).all() or len(share) < 2:
        return "none"
    ratio = share[:-1] / share[1:]
    largest = int(np.argmax(ratio[: int(counted)]))
    return f"{ratio[largest]:.3g} after {largest + 1}; {ratio[np.clip(round(dimension), 1, len(ratio)) - 1]:.3g}"


def _reasons(dataset: xr.Dataset) -> Iterator[str]:
    for place in zip(*np.nonzero(dataset.reason.values != ""), strict=True):
        one = dataset.isel(dict(zip(dataset.reason.dims, place, strict=True)))
        yield f"{one.network.item()}, {one.layer.item()}: {one.reason.item()}"


def training_table(during: xr.Dataset) -> str:
    """The last hidden layer over the training, an epoch a row."""
    one = during.sel(estimator="two_nn").isel(layer=-1)
    lines = ["last hidden layer over the training on the true labels: dimension [95% interval], test accuracy"]
    lines += [
        f"epoch {int(e):3d}{cell(one.sel(epoch=e)):>22s}{float(one.accuracy.sel(epoch=e)):8.3f}" for e in one.epoch
    ]
    return "\n".join([*lines, ""])


def cell(one: xr.Dataset) -> str:
    """A value and its interval."""
    return f"{float(one.dimension):.1f} [{float(one.low):.1f}, {float(one.high):.1f}]"


def training_figure(during: xr.Dataset) -> Figure:
    """Dimension of the last hidden layer and test accuracy, over the epochs."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    one = during.sel(estimator="two_nn").isel(layer=-1)
    errors = np.abs(np.stack([one.low, one.high]) - one.dimension.values)
    axes.errorbar(one.epoch, one.dimension, yerr=errors, color=plotting.COLOURS[0], marker="o", capsize=3)
    axes.set_xlabel("epoch")
    axes.set_ylabel("dimension of the last hidden layer", color=plotting.COLOURS[0])
    axes.set_ylim(0)
    beside = axes.twinx()
    beside.plot(during.epoch, during.accuracy, color=plotting.COLOURS[1], marker="s", linestyle="--")
    beside.set_ylabel("test accuracy", color=plotting.COLOURS[1])
    beside.set_ylim(0, 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Over the training on the true labels", fontsize=11)
    return figure
