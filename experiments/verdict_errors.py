"""How often is the verdict wrong? Explainers of which it is known whether, and how much, they look at the model.

    python experiments/verdict_errors.py

mixes the gradient of the paper's CNN (trained on the embedded part of MNIST, against the same network with all layers
random) with something that does not look at the model, edges of the image or noise, and asks the verdict about each
mixture, on several numbers of images, 500 times with other images and other noise. About two minutes on two cores. It
should show that what ignores the model is found to depend on it in at most 5% of the cases, and a quarter of gradient
in at least 95%.

Two kinds of explainers ignore the model. One gives the same map of every model: its verdict can only be right. The
scores of the other change from one evaluation to the next for a reason of their own, a new draw of noise in half of the
map, as much for the trained model as for the random ones: those show the error rate of the test itself.

In the folder --out: results.nc (an xarray Dataset), rates.png, table.txt, report.html (all of it for a browser).
"""

from __future__ import annotations

from collections.abc import Callable
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
from digits import Digits, prepare, trained_params
from jax import Array
from pages import write_findings
from unfinished import run

import saliency_jax as sj
from saliency_jax import plotting, results
from saliency_jax.keys import named, numbered
from saliency_jax.report import labelled_table

QUARTER = 0.25
SHARES = (0.0, 0.05, 0.1, QUARTER, 0.5, 1.0)
BASES = ("edges", "noise", "redrawn noise")
METRIC = "spearman"


@dataclass(frozen=True)
class Options(Digits):
    """How often is the verdict wrong? Explainers of which it is known whether, and how much, they look at the model."""

    draws: int = 500
    """How many explainers of each kind are judged."""
    images: tuple[int, ...] = (8, 16, 32)
    """How many images an explainer is judged on."""
    pool: int = 300
    """How many test images these are drawn from."""
    level: float = 0.05
    """The level of the verdict."""
    out: Path = Path("runs/verdict_errors")
    """The folder for the results."""


def main(options: Options) -> xr.Dataset:
    """Explain the pool once, judge all mixtures, write the results and print the table."""
    test = prepare(options, (), options.pool)
    if max(options.images) > options.pool:
        raise SystemExit(f"--images must be at most --pool {options.pool}, got {max(options.images)}")
    model, params = trained_params(options)
    key = named(jax.random.key(options.seed), "verdict errors")
    images, labels = jnp.asarray(test.images[: options.pool]), jnp.asarray(test.labels[: options.pool])
    random = model.init(named(key, "random model"), images[:1])
    explain = sj.batched(sj.gradient, model.apply)
    gradients = jnp.stack([_unit(explain(p, images, labels)) for p in (params, random)])
    edges = _unit(sj.batched(sj.EXPLAINERS["edges"], model.apply)(params, images, labels))

    def rates_of(base: str, count: int) -> list[float]:
        """Compiled once for all shares."""
        scores = jax.jit(partial(_scores, gradients, edges, base, count))
        return [rejected(scores, share, named(key, f"{base} {count} {share}"), options) for share in SHARES]

    rates = np.array([[rates_of(base, count) for count in options.images] for base in BASES]).swapaxes(1, 2)
    dims = {"base": list(BASES), "share": list(SHARES), "images": list(options.images)}
    found = xr.Dataset(
        {"rate": (tuple(dims), rates)}, coords=dims, attrs={"level": options.level, "draws": options.draws}
    )
    results.write_dataset(found, options.out / "results.nc")
    plotting.save(curves(found), options.out / "rates.png")
    text = table(found)
    results.write_bytes(options.out / "table.txt", text.encode())
    report(found, options, text)
    print(text)
    print(f"written: {options.out}/results.nc, rates.png, table.txt, report.html")
    return found


def report(found: xr.Dataset, options: Options, text: str) -> None:
    """Write report.html: the two rates that matter, and all of them."""
    wrong, right = found.rate.sel(share=0.0), found.rate.sel(share=QUARTER)
    write_findings(
        [
            f"What ignores the model was found to depend on it in at most {float(wrong.max()):.1%} of "
            f"{found.attrs['draws']} cases of each kind, at level {found.attrs['level']:g}.",
            f"A quarter of gradient in the map was found in at least {float(right.min()):.1%} of them.",
        ],
        options,
        "verdict_errors.py",
        __doc__,
        figures={
            "rates.png": (
                "How often a map is found to depend on the model, over the share of gradient in it.",
                "A panel for each thing that gradient is mixed with, a line for each number of images; the points are "
                "in the tables.",
            )
        },
        tables=[
            labelled_table(
                f"Share found to depend on the model, gradient in {base}: columns are numbers of images",
                found.rate.sel(base=base),
                rows="share",
                columns="images",
                digits=3,
            )
            for base in found.base.values.tolist()
        ],
        printed=text,
    )


def rejected(scores: Callable, share: float, key: Any, options: Options) -> float:
    """The share of explainers of one kind that are found to depend on the model."""
    itself, randomized, other = scores(share, numbered(key, options.draws))
    dataset = xr.Dataset(
        {
            "similarity": (
                ("explainer", "metric", "stage", "seed", "image"),
                np.asarray(randomized)[:, None, None, None],
            ),
            "null": (("null_kind", "explainer", "metric", "image"), np.stack([itself, other])[:, :, None]),
        },
        coords={
            "explainer": np.arange(options.draws),
            "metric": [METRIC],
            "stage": ["random"],
            "null_kind": ["itself", "other_image"],
        },
    )
    # Each explainer is a test of its own: that of a dataset with one explainer.
    return float((sj.verdicts(dataset, level=options.level).p_value <= options.level).mean())


def _scores(
    gradients: Array, edges: Array, base: str, count: int, share: float, keys: Array
) -> tuple[Array, Array, Array]:
    """Similarities `[explainer, image]` of the explainers' maps: unchanged, of the random model, of another image."""
    compare = jax.vmap(sj.METRICS[METRIC])

    def of_explainer(key: Array) -> tuple[Array, Array, Array]:
        chosen = jax.random.choice(named(key, "images"), len(edges), (count,), replace=False)

        def maps(model: int, draw: str) -> Array:
            noise = _unit(jax.random.normal(named(key, draw), (count, *edges.shape[1:])))
            ignored = {"edges": edges[chosen], "noise": noise, "redrawn noise": _unit(edges[chosen] + noise)}[base]
            return share * gradients[model, chosen] + (1 - share) * ignored

        draws = ("first", "second", "third") if base == "redrawn noise" else ("first",) * 3
        trained, again, random = (maps(model, draw) for model, draw in zip((0, 0, 1), draws, strict=True))
        return compare(trained, again), compare(trained, random), compare(trained, jnp.roll(again, 1, axis=0))

    return jax.lax.map(of_explainer, keys)


def _unit(maps: Array) -> Array:
    return maps / jnp.sqrt(jnp.sum(maps**2, axis=(1, 2, 3), keepdims=True))


def table(found: xr.Dataset) -> str:
    """The rates, a mixture a row."""
    lines = [f"found to depend on the model, of {found.attrs['draws']} explainers, level {found.attrs['level']:g}", ""]
    lines.append(f"{'gradient in':20s}" + "".join(f"{f'{n} images':>12s}" for n in found.images.values))
    for base in found.base.values.tolist():
        for share in found.share.values.tolist():
            cells = "".join(f"{float(x):12.3f}" for x in found.rate.sel(base=base, share=share))
            lines.append(f"{base:14s}{share:6.2f}{cells}")
    return "\n".join([*lines, ""])


def curves(found: xr.Dataset) -> Any:
    """Rates over the share of gradient, one panel for each thing that it is mixed with."""
    figure, panels = plt.subplots(1, found.sizes["base"], figsize=(10.5, 3.6), sharey=True, layout="constrained")
    for axes, base in zip(panels, found.base.values.tolist(), strict=True):
        for k, count in enumerate(found.images.values.tolist()):
            axes.plot(
                100 * found.share,
                100 * found.rate.sel(base=base, images=count),
                color=plotting.COLOURS[k],
                marker=plotting.MARKERS[k],
                label=f"{count} images",
            )
        axes.axhline(100 * found.attrs["level"], color="0.5", linestyle=":", label="level")
        axes.set_title(f"gradient in {base}", fontsize=11)
        axes.set_xlabel("share of gradient in the map, %")
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("found to depend on the model, %")
    panels[-1].legend(frameon=False, fontsize=9)
    return figure


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "verdict_errors.py", __doc__)
