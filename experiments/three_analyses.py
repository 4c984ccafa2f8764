"""What do sensitivity, simple Taylor and LRP each take apart? Three analyses of one image, and of max(x1, x2).

    python experiments/three_analyses.py

First the function max(x1, x2) as a ReLU network, f = relu(x1 - x2)/2 + relu(x2 - x1)/2 + relu(x1 + x2)/2 for x >= 0,
whose maps can be written down:

    sensitivity    R = (1, 0) where x1 > x2, else (0, 1)              sums to |grad f|^2 = 1
    simple Taylor  R = (x1, 0) where x1 > x2, else (0, x2)            sums to f
    deep Taylor    R = (relu(x1 - x2) + x1, relu(x2 - x1) + x2) / 2   sums to f

The library's maps are held against these, and drawn. Then the continuity constant of each is searched for with pairs of
images ever closer together: that of deep Taylor (LRP with the rule z-plus) is sqrt(2), those of the other two grow like
one over the distance, for their maps jump where x1 = x2.

Then a digit and the paper's CNN: the three maps beside each other, and what each of them sums to. About a minute on two
cores where the CNN is trained already. --photographs FOLDER --network squeezenet1_1 explains a photograph instead.

In the folder --out: max_example.nc, max_maps.png, max_continuity.png; image.nc, image.png; table.txt.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from explained_images import Explained, Subject, subject
from matplotlib.figure import Figure

import saliency_jax as sj
from saliency_jax import plotting, results
from saliency_jax.robustness import continuity
from saliency_jax.typing import Explainer

Z_PLUS = ((("convolution", "dense"), sj.rules.z_plus),)
ANALYSES: Mapping[str, Explainer] = {
    "sensitivity": sj.sensitivity,
    "simple_taylor": sj.simple_taylor,
    "deep_taylor": partial(sj.lrp, composite=Z_PLUS),
}
GAPS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
TITLES = {"sensitivity": "sensitivity", "simple_taylor": "simple Taylor", "deep_taylor": "deep Taylor", "lrp": "LRP"}


@dataclass(frozen=True)
class Options(Explained):
    """Three analyses of one image, and of the function max(x1, x2)."""

    images: int = 10
    """How many images are loaded: the one that is explained is among them."""
    image: int = 0
    """Which image is explained."""
    points: int = 64
    """At how many points of the plane the continuity constant of max(x1, x2) is searched for."""
    out: Path = Path("runs/three_analyses")
    """The folder for the results."""


def maximum(params: Any, images: jax.Array) -> jax.Array:
    """max(x1, x2) of images [1, 2, 1], for x >= 0."""
    return jax.nn.relu(images.reshape(len(images), 2) @ params["first"]) @ params["second"]


def maximum_params() -> dict[str, jax.Array]:
    """Its weights."""
    first = [[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]]
    return {"first": jnp.asarray(first, float), "second": jnp.full((3, 1), 0.5, float)}


def closed_forms(points: np.ndarray) -> dict[str, np.ndarray]:
    """The maps of max(x1, x2) at points `[n, 2]` off the diagonal, by formula."""
    larger = points > points[:, ::-1]
    return {
        "sensitivity": larger.astype(float),
        "simple_taylor": np.where(larger, points, 0),
        "deep_taylor": (np.maximum(points - points[:, ::-1], 0) + points) / 2,
    }


def max_example(options: Options) -> xr.Dataset:
    """The maps on a grid with their errors, and the continuity constants over the gap; in float64."""
    axis = np.linspace(0.05, 1, 20)
    grid = np.stack(np.meshgrid(axis, axis - 0.01), axis=-1).reshape(-1, 2)
    key = jax.random.key(options.seed)
    with jax.enable_x64(True):
        params = maximum_params()
        images = jnp.asarray(grid.reshape(-1, 1, 2, 1))
        targets = jnp.zeros(len(grid), int)
        maps = {
            name: np.asarray(sj.batched(explain, maximum)(params, images, targets)).reshape(-1, 2)
            for name, explain in ANALYSES.items()
        }
        scores = np.asarray(maximum(params, images))[:, 0]
        drawn = jax.random.uniform(key, (options.points, 1, 2, 1), float, 0.3, 1.0)
        constants = np.stack(
            [
                continuity(
                    maximum,
                    params,
                    drawn,
                    jnp.zeros(options.points, int),
                    ANALYSES,
                    key=key,
                    radius=0.3,
                    gap=gap,
                    translations=((0, 1), (0, -1)),
                    image_range=(0.0, 2.0),
                ).continuity.max("image")
                for gap in GAPS
            ],
            axis=1,
        )
    errors = [np.abs(maps[name] - form).max() for name, form in closed_forms(grid).items()]
    slopes = [np.polyfit(np.log(GAPS), np.log(row), 1)[0] for row in constants]
    return xr.Dataset(
        {
            "map": (("analysis", "point", "pixel"), np.stack(list(maps.values()))),
            "score": ("point", scores),
            "error": ("analysis", errors),
            "constant": (("analysis", "gap"), constants),
            "slope": ("analysis", slopes),
        },
        coords={"analysis": list(ANALYSES), "gap": list(GAPS), "x": (("point", "pixel"), grid)},
    )


def explained_image(of: Subject, place: int) -> xr.Dataset:
    """The three maps of one image, and what they sum to."""
    if not 0 <= place < len(of.images):
        raise SystemExit(f"--image must be one of the {len(of.images)} images, got {place}")
    image, target = of.images[place], of.targets[place]
    score = sj.class_score(of.apply, of.params, target)
    explainers = {"sensitivity": sj.sensitivity, "simple_taylor": sj.simple_taylor, "lrp": sj.lrp}
    maps = {name: np.asarray(explain(score, image)) for name, explain in explainers.items()}
    report = sj.conservation(score, image)
    gradient = np.asarray(sj.gradient(score, image), np.float64)
    return xr.Dataset(
        {
            "map": (("analysis", "height", "width", "channel"), np.stack(list(maps.values()))),
            "image": (("height", "width", "channel"), np.asarray(image)),
            "sum": ("analysis", [float(found.sum(dtype=np.float64)) for found in maps.values()]),
            "score": float(score(image)),
            "squared_gradient_norm": float(np.square(gradient).sum()),
            "bias": float(sum(np.sum(taken) for taken in report.biases.values())),
        },
        coords={"analysis": list(explainers)},
        attrs={"described": of.described, "target": int(target)},
    )


def max_maps(dataset: xr.Dataset) -> Figure:
    """The maps of max(x1, x2) as arrows at the points of the plane, over the function."""
    figure, panels = plt.subplots(1, 3, figsize=(12.5, 4.9), layout="compressed", sharey=True)
    points = dataset.x.to_numpy()
    for axes, name in zip(panels, dataset.analysis.values, strict=True):
        sides = int(np.sqrt(len(points)))
        plane = (part.reshape(sides, sides) for part in (points[:, 0], points[:, 1], dataset.score.to_numpy()))
        axes.contourf(*plane, levels=12, cmap="Greys", vmin=-0.5, vmax=2.0)
        arrows = dataset["map"].sel(analysis=name).to_numpy()
        shown = slice(None, None, 2)
        rows = np.arange(len(points)).reshape(sides, sides)[shown, shown].ravel()
        axes.quiver(*points[rows].T, *arrows[rows].T, color=plotting.COLOURS[0], angles="xy", scale=14, width=0.006)
        axes.plot([0, 1], [0, 1], color=plotting.COLOURS[1], linewidth=1, linestyle="--")
        axes.set(title=TITLES[str(name)], xlabel="$x_1$", aspect="equal", xlim=(0, 1.12), ylim=(0, 1.12))
    panels[0].set_ylabel("$x_2$")
    figure.suptitle("max($x_1$, $x_2$) in grey, and the map ($R_1$, $R_2$) of each analysis as an arrow", fontsize=12)
    return figure


def max_continuity(dataset: xr.Dataset) -> Figure:
    """The constant that is found over the least distance of a pair."""
    figure, axes = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    for i, name in enumerate(dataset.analysis.values):
        one = dataset.sel(analysis=name)
        label = f"{TITLES[str(name)]}: slope {round(float(one.slope), 3) + 0.0:.3f}"
        axes.loglog(dataset.gap, one.constant, marker=plotting.MARKERS[i], color=plotting.COLOURS[i], label=label)
    axes.axhline(np.sqrt(2), color="0.5", linestyle=":", linewidth=1)
    axes.annotate(r"$\sqrt{2}$", (GAPS[-1], np.sqrt(2)), xytext=(0, -14), textcoords="offset points", color="0.3")
    axes.set(xlabel="least distance of two images", ylabel="continuity constant found", ylim=(0.6, None))
    axes.legend(frameon=False)
    axes.grid(color="0.92", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Explanation continuity of max($x_1$, $x_2$)", fontsize=12)
    return figure


def image_maps(dataset: xr.Dataset) -> Figure:
    """The image and its three maps, each scaled by itself."""
    figure, panels = plt.subplots(1, 4, figsize=(11.5, 3.2), layout="compressed")
    picture = dataset.image.to_numpy()
    low, high = float(picture.min()), float(picture.max())
    panels[0].imshow(((picture - low) / (high - low or 1)).squeeze(), cmap="gray", interpolation="nearest")
    panels[0].set_title(f"class {dataset.attrs['target']}, logit {float(dataset.score):.3f}", fontsize=10)
    for axes, name in zip(panels[1:], dataset.analysis.values, strict=True):
        plotting.show_map(axes, dataset["map"].sel(analysis=name).to_numpy())
        axes.set_title(f"{TITLES[str(name)]}: sum {float(dataset['sum'].sel(analysis=name)):.3f}", fontsize=10)
    for axes in panels:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("0.8")
    return figure


def table(example: xr.Dataset, image: xr.Dataset) -> str:
    """What was found, for people."""
    lines = ["max(x1, x2)", f"{'':16s}{'error':>10s}{'slope':>10s}" + "".join(f"{gap:>11.0e}" for gap in GAPS)]
    lines[0] += ": the largest error against the closed form; the continuity constant found over the least distance"
    for name in example.analysis.values:
        one = example.sel(analysis=name)
        constants = "".join(f"{float(x):11.4f}" for x in one.constant)
        lines.append(
            f"{TITLES[str(name)]:16s}{float(one.error):10.1e}{round(float(one.slope), 4) + 0.0:10.4f}{constants}"
        )
    sums = {str(name): float(image["sum"].sel(analysis=name)) for name in image.analysis.values}
    score, norm = float(image.score), float(image.squared_gradient_norm)
    lines += [
        "",
        f"one image ({image.attrs['described']}), class {image.attrs['target']}: what each map sums to",
        f"sensitivity     {sums['sensitivity']:10.4f}   the squared norm of the gradient is {norm:.4f}",
        f"simple Taylor   {sums['simple_taylor']:10.4f}   the score is {score:.4f}; the rest is what biases do",
        f"LRP             {sums['lrp']:10.4f}   biases took {float(image.bias):.4f} of the score",
        "",
    ]
    return "\n".join(lines)


def main(options: Options) -> tuple[xr.Dataset, xr.Dataset]:
    """Both parts; write the results and print the table."""
    of = subject(options, ())
    image = explained_image(of, options.image)
    example = max_example(options)
    results.write_dataset(example, options.out / "max_example.nc")
    results.write_dataset(image, options.out / "image.nc")
    plotting.save(max_maps(example), options.out / "max_maps.png")
    plotting.save(max_continuity(example), options.out / "max_continuity.png")
    plotting.save(image_maps(image), options.out / "image.png")
    text = table(example, image)
    results.write_bytes(options.out / "table.txt", text.encode())
    print(text)
    print(f"written: {options.out}/max_example.nc, image.nc, max_maps.png, max_continuity.png, image.png, table.txt")
    return example, image


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
