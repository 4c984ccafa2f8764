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
CSV too (a row a measurement), input_dominance.png, convolution.png, recovery.png, recovery_maps.png, table.txt,
report.html (all of it for a browser); parts/ holds what is finished, so that a run that was broken off goes on where it
was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr
from pages import write_findings
from theory_figures import convolution_figure, dominance_figure, recovery_figure, recovery_maps
from unfinished import run

from saliency_jax import data, plotting, results
from saliency_jax.keys import named
from saliency_jax.report import labelled_table
from saliency_jax.sanity.recovery import recovery
from saliency_jax.sanity.summary import mean_interval
from saliency_jax.sanity.theory import (
    activation_pattern,
    input_dominance,
    sparse_product_correlation,
    sum_pool_gradient,
    sum_pool_score,
)


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
    report(found, options, text)
    print(text)
    print(f"written: {options.out}/ {', '.join(f'{name}.nc' for name in found)}, CSV, PNG, table.txt, report.html")
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


def report(found: dict[str, xr.Dataset], options: Options, text: str) -> None:
    """Write report.html: what each of the three models gave."""
    dominance, one_layer, networks = (found[name] for name in ("input_dominance", "convolution", "recovery"))
    products = dominance.similarity.sel(explainer="noise_times_input").mean(("seed", "image"))
    absolute, signed = (float(products.sel(metric=metric)) for metric in ("spearman_abs", "spearman"))
    gap = float(np.abs(one_layer.closed_form - one_layer.gradient).max())
    cosines = mean_interval(networks.similarity.sel(metric="cosine", network="convolution"))
    most = cosines["mean"].isel(filters=-1)
    shown = [f"{plotting.readable(str(e))} {float(most.sel(explainer=e)):.2f}" for e in most.explainer.values]
    write_findings(
        [
            f"A digit times one noise and the same digit times another: rank correlation {absolute:.2f} of the "
            f"absolute values, {signed:.2f} with signs, over {dominance.sizes['image']} digits.",
            f"One random convolution: its gradient is the closed form to {gap:.0e}.",
            f"A random convolutional network of {int(most.filters)} filters, cosine of map and image: "
            f"{', '.join(shown)}.",
        ],
        options,
        "theory.py",
        __doc__,
        figures={
            "input_dominance.png": (
                "A digit, two noises and their products, and how alike the products are.",
                "The two products look alike since both are 0 where the digit is blank.",
            ),
            "convolution.png": (
                "Images under one random filter: which units are on, the gradient by formula and by autodiff.",
                "The two gradients look the same; both are constant in flat parts and change at edges.",
            ),
            "recovery.png": (
                "How alike map and image are in random networks, over the number of filters.",
                "Lines for each explainer and kind of network; the tables have their points.",
            ),
            "recovery_maps.png": (
                "Maps of one digit in random networks.",
                "A row for each network and explainer, a column for each number of filters.",
            ),
        },
        tables=[
            labelled_table(
                f"Cosine of map and image, {plotting.readable(str(name))}: mean [95% interval]",
                mean_interval(networks.similarity.sel(metric="cosine", network=name)),
                rows="explainer",
                columns="filters",
            )
            for name in networks.network.values
        ],
        printed=text,
    )


def _cell(interval: xr.Dataset, *, digits: int = 3) -> str:
    mean, low, high = (float(interval[name]) for name in ("mean", "low", "high"))
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "theory.py", __doc__)
