"""What intrinsic_dimension.py and network_dimensions.py found, in sentences and tables, and what their figures show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from saliency_jax import plotting
from saliency_jax.report import Table, labelled_table

DIGIT_FIGURES = {
    "profiles.png": (
        "The dimension over the layers: TwoNN with its interval and its Gaussian control (left), linear (right).",
        "A line for each network over the layers; the table has the points of TwoNN.",
    ),
    "spectra.png": (
        "The share of the variance that each principal component carries, with the dimensions marked.",
        "A panel for each of some layers, with a falling line for each network.",
    ),
    "training.png": (
        "The dimension of the last hidden layer over the training, and the accuracy on test images.",
        "Two lines over the epochs, one for the dimension and one for the accuracy.",
    ),
    "shifted.png": (
        "The dimension over the layers of a smaller network, of digits and of digits shifted in brightness.",
        "A line for digits and one for shifted digits over the layers.",
    ),
}


def digit_findings(dataset: xr.Dataset) -> list[str]:
    """The input and the last hidden layer of each network, and what permuted labels do to it."""
    value = over_seeds(dataset).dimension.sel(estimator="two_nn")
    hidden = value.isel(layer=-2)
    of_networks = [
        f"{plotting.readable(str(name))} {float(hidden.sel(network=name)):.1f}" for name in value.network.values
    ]
    found = [
        f"The input has the dimension {float(value.isel(layer=0, network=0)):.1f}, the last hidden layer: "
        f"{', '.join(of_networks)}."
    ]
    if {"true", "permuted"} <= set(value.network.values.tolist()):
        more = float(hidden.sel(network="permuted") - hidden.sel(network="true"))
        found.append(
            f"Of permuted labels it is {abs(more):.1f} {'higher' if more > 0 else 'lower'} (accuracy on them "
            f"{float(dataset.accuracy.sel(network='permuted').mean()):.3f})."
        )
    return [*found, str(dataset.attrs["caution"])]


def digit_tables(dataset: xr.Dataset) -> list[Table]:
    """TwoNN with its interval, a row a layer, a column a network."""
    one = over_seeds(dataset).sel(estimator="two_nn", drop=True).rename(dimension="mean")
    return [labelled_table("Intrinsic dimension, TwoNN [95% interval]", one, rows="layer", columns="network", digits=1)]


def over_seeds(dataset: xr.Dataset) -> xr.Dataset:
    """Dimensions and their intervals, means over seeds where there are several."""
    one = dataset[["dimension", "low", "high"]]
    return one.mean("seed") if "seed" in one.dims else one


def network_findings(found: Mapping[str, xr.Dataset]) -> list[str | Table]:
    """Where the dimension is highest with trained and with random weights, and in the last hidden layer."""
    sentences, rows = [], []
    for name, dataset in found.items():
        trained, untrained = (
            dataset.dimension.sel(estimator="two_nn", state=state) for state in ("trained", "untrained")
        )
        peak, other = (int(one.fillna(0).argmax("layer")) for one in (trained, untrained))
        start, last = float(trained[0]), float(trained[-2])
        sentences.append(
            f"{plotting.readable(name)}: from {start:.1f} in the input to {float(trained[peak]):.1f} at the depth "
            f"{float(dataset.depth[peak]):.2f} and {last:.1f} in the last hidden layer; with random weights the "
            f"highest is {float(untrained[other]):.1f} at the depth {float(dataset.depth[other]):.2f}."
        )
        rows.append([plotting.readable(name), f"{last:.1f}", f"{float(dataset.attrs['accuracy']):.3f}"])
    head = ["Network", "dimension of the last hidden layer", "accuracy on these photographs"]
    caution = str(next(iter(found.values())).attrs["caution"])
    return [*sentences, caution, Table("The last hidden layer of the trained networks", head, rows)]


def network_tables(found: Mapping[str, xr.Dataset]) -> list[Table]:
    """TwoNN with its interval of each network, a row a layer, with trained and with random weights."""
    return [
        labelled_table(
            f"{plotting.readable(name)}: intrinsic dimension, TwoNN [95% interval]",
            dataset[["dimension", "low", "high"]].sel(estimator="two_nn", drop=True).rename(dimension="mean"),
            rows="layer",
            columns="state",
            digits=1,
        )
        for name, dataset in found.items()
    ]


def network_figures(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The profiles and spectra of each network, and the last hidden layers together."""
    figures = {}
    for name in names:
        title = plotting.readable(name)
        figures[f"profiles-{name}.png"] = (
            f"{title}: the dimension over the depth, TwoNN (left) and linear (right).",
            "A line with trained weights and one with random weights; the table has their points.",
        )
        figures[f"spectra-{name}.png"] = (
            f"{title}: the share of the variance of each principal component, with the dimensions marked.",
            "A panel for each of some layers, a falling line for each state of the weights.",
        )
    return figures | {
        "last_hidden.png": (
            "The dimension of the last hidden layer against the error, a point a network.",
            "A point with an interval for each network.",
        )
    }
