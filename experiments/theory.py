"""Do saliency maps do what theory says, where theory can say it? Three models that are understood to the end.

    python experiments/theory.py

takes embedded MNIST digits, trains nothing, and takes about a minute on two cores. It should show that

- a digit times one noise and the same digit times another have absolute values of rank correlation 0.99 and signed ones
  of none: what the image alone does to the maps that are multiplied by it (figure 19 of the paper);
- the gradient of one random convolution with a sum over its places follows from which units are on, so that it is
  constant in uniform regions and looks like an edge detector (figure 27);
- guided backpropagation shows the image in a random convolutional network, and the better the more filters there are,
  while the gradient and deconvnet show noise; max pooling lets deconvnet show edges; without local connections
  guided backpropagation sees little before there are far more units than pixels (Nie, Zhang and Patel 2018).

In the folder --out: input_dominance.nc, convolution.nc and recovery.nc (xarray Datasets), the first and the last as
CSV too (a row a measurement), input_dominance.png, convolution.png, recovery.png, recovery_maps.png, table.txt; parts/
holds what is finished, so that a run that was broken off goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saliency_jax import data, plotting, results
from saliency_jax.keys import named
from saliency_jax.sanity.random_networks_theory import fully_connected_recovery
from saliency_jax.sanity.recovery import recovery
from saliency_jax.sanity.summary import mean_interval
from saliency_jax.sanity.theory import (
    activation_pattern,
    input_dominance,
    sparse_product_correlation,
    sum_pool_gradient,
    sum_pool_score,
)

EXPLAINER_COLOURS = dict(zip(("gradient", "guided_backprop", "deconvnet"), plotting.COLOURS, strict=False))
NETWORK_TITLES = {
    "convolution": "convolution",
    "max_pooling": "convolution with max pooling",
    "fully_connected": "fully connected",
}


@dataclass(frozen=True)
class Options:
    """Do saliency maps do what theory says, where theory can say it?"""

    images: int = 200
    """How many test digits the products with noise are taken of: the first ones."""
    explained: int = 8
    """How many of them the random networks are explained for."""
    seeds: int = 5
    """How many pairs of noises for each digit, and how many random networks of each kind."""
    filters: tuple[int, ...] = (4, 16, 64, 256, 1024)
    """The numbers of filters, or of units without locality, of the random networks."""
    seed: int = 0
    """The seed of everything that is drawn."""
    out: Path = Path("runs/theory")
    """The folder for the results; the same options again go on with what is there."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


def main(options: Options) -> dict[str, xr.Dataset]:
    """Measure, write the results and print the table."""
    if options.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(options.compilation_cache.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    digits = data.load("mnist", "test").images
    for name, count in (("images", options.images), ("explained", options.explained)):
        if not 1 <= count <= len(digits):
            raise SystemExit(f"--{name} must be between 1 and the {len(digits)} test images, got {count}")
    key = jax.random.key(options.seed)
    explained = digits[: options.explained]
    measurements = {
        "input_dominance": partial(
            input_dominance, digits[: options.images], named(key, "input_dominance"), seeds=options.seeds
        ),
        "convolution": partial(convolution, named(key, "convolution"), digits[7]),
        "recovery": partial(recovery, explained, named(key, "recovery"), filters=options.filters, seeds=options.seeds),
    }
    configuration = {name: getattr(options, name) for name in ("images", "explained", "seeds", "filters", "seed")}
    results.open_run(options.out / "parts", configuration)
    found = {name: results.part(options.out / "parts", name, measure) for name, measure in measurements.items()}
    for name, dataset in found.items():
        results.write_dataset(dataset, options.out / f"{name}.nc")
        if "similarity" in dataset:
            results.write_csv(dataset, options.out / f"{name}.csv")
    figures = {
        "input_dominance": dominance_figure(found["input_dominance"], digits[0], named(key, "picture")),
        "convolution": convolution_figure(found["convolution"]),
        "recovery": recovery_figure(found["recovery"]),
        "recovery_maps": recovery_maps(found["recovery"]),
    }
    for name, figure in figures.items():
        plotting.save(figure, options.out / f"{name}.png")
    text = table(found)
    results.write_bytes(options.out / "table.txt", text.encode())
    print(text)
    print(f"written: {options.out}/ {', '.join(f'{name}.nc' for name in found)}, CSV, PNG, table.txt")
    return found


def convolution(key: Any, digit: np.ndarray) -> xr.Dataset:
    """Images under one random filter: which units are on, the gradient in closed form, and what autodiff says.

    Args:
        key: draws the filter.
        digit: `[28, 28, 1]`, the second picture; the first is made of flat patches.
    """
    patches = np.kron(np.array([[0.2, 0.8, 0.4], [0.9, 0.1, 0.6], [0.5, 1.0, 0.3]]), np.ones((10, 10)))[1:-1, 1:-1]
    images = jnp.stack([jnp.asarray(patches, jnp.float32)[..., None], jnp.asarray(digit)])
    kernel, bias = jax.random.normal(key, (3, 3, 1, 1)), jnp.zeros(1)
    # A filter that sums to 0 is on or off in a flat patch by rounding alone: this one answers to brightness as well.
    kernel = kernel - kernel.mean() + 0.02
    pictures = ("image", "height", "width")
    pattern = jax.vmap(lambda x: activation_pattern(x, kernel, bias))(images)
    closed = jax.vmap(lambda x: sum_pool_gradient(x, kernel, bias))(images)
    autodiff = jax.vmap(jax.grad(sum_pool_score(kernel, bias)))(images)
    return xr.Dataset(
        {
            "images": (pictures, np.asarray(images[..., 0])),
            "pattern": (pictures, np.asarray(pattern[..., 0])),
            "closed_form": (pictures, np.asarray(closed[..., 0])),
            "gradient": (pictures, np.asarray(autodiff[..., 0])),
            "kernel": (("kernel_height", "kernel_width"), np.asarray(kernel[..., 0, 0])),
        },
        coords={"image": ["flat patches", "digit"]},
    )


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
    figure, panels = plt.subplots(
        len(rows),
        1 + len(counts),
        figsize=(1.25 * (1 + len(counts)) + 2.4, 1.25 * len(rows) + 0.5),
        layout="constrained",
        squeeze=False,
    )
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


def table(found: dict[str, xr.Dataset]) -> str:
    """The means over images and seeds with their intervals, for people."""
    dominance, one_layer, networks = (found[name] for name in ("input_dominance", "convolution", "recovery"))
    lines = ["", "input dominance, x * u against x * v: mean [95% interval]"]
    products = mean_interval(dominance.similarity.sel(explainer="noise_times_input"))
    for metric in dominance.metric.values:
        other = dominance["null"].sel(explainer="noise_times_input", metric=metric, null_kind="other_image").mean()
        label, cell = plotting.readable(str(metric)), _cell(products.sel(metric=metric))
        lines.append(f"{label:24s}{cell:>24s}   other image {float(other):.3f}")
    density = dominance.density.values
    lines.append(
        f"density {density.mean():.3f}; a flat image of each density, closed form: "
        f"{float(sparse_product_correlation(density).mean()):.3f}"
    )
    gap = float(np.abs(one_layer.closed_form - one_layer.gradient).max())
    lines += ["", f"one convolution: the closed form and the gradient differ by at most {gap:.1e} (float32)"]
    for metric in networks.metric.values:
        lines += ["", f"random networks, {metric} of map and image: mean [95% interval]"]
        lines.append(
            f"{'':34s}" + "".join(f"{f'{n} filters':>20s}" for n in networks.filters.values) + f"{'limit':>8s}"
        )
        for network in networks.network.values:
            for name in networks.explainer.values:
                curves = mean_interval(networks.similarity.sel(metric=metric, network=network, explainer=name))
                cells = [_cell(curves.sel(filters=n), digits=2) for n in networks.filters.values]
                limit = float(networks.limit.sel(metric=metric, network=network).mean())
                last = f"{limit:.2f}" if name == "guided_backprop" and np.isfinite(limit) else ""
                label = f"{plotting.readable(network)}, {plotting.readable(name)}"
                lines.append(f"{label:34s}" + "".join(f"{cell:>20s}" for cell in cells) + f"{last:>8s}")
    return "\n".join([*lines, ""])


def _cell(interval: xr.Dataset, *, digits: int = 3) -> str:
    mean, low, high = (float(interval[name]) for name in ("mean", "low", "high"))
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
