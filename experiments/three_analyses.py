"""What do sensitivity, simple Taylor and LRP each take apart? Three analyses of one image, and of max(x1, x2).

    python experiments/three_analyses.py

takes the function max(x1, x2) as a ReLU network, f = relu(x1 - x2)/2 + relu(x2 - x1)/2 + relu(x1 + x2)/2 for x >= 0,
whose maps can be written down, holds the library's maps against these, draws them, and searches for the continuity
constant of each with pairs of images ever closer together. Then it explains a digit with the paper's CNN: the three
maps beside each other, and what each of them sums to. About a minute on two cores where the CNN is trained already.

    sensitivity    R = (1, 0) where x1 > x2, else (0, 1)              sums to |grad f|^2 = 1
    simple Taylor  R = (x1, 0) where x1 > x2, else (0, x2)            sums to f
    deep Taylor    R = (relu(x1 - x2) + x1, relu(x2 - x1) + x2) / 2   sums to f

It should show that the continuity constant of deep Taylor (LRP with the rule z-plus) is sqrt(2), while those of the
other two grow like one over the distance, for their maps jump where x1 = x2.

    python experiments/three_analyses.py --photographs FOLDER --network squeezenet1_1

explains a photograph instead of the digit.

In the folder --out: max_example.nc, max_maps.png, max_continuity.png; image.nc, image.png; table.txt, report.html (all
of it for a browser).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr
from explained_images import Explained, Subject, subject
from pages import write_findings
from three_figures import TITLES, image_maps, max_continuity, max_maps, table
from unfinished import run

import saliency_jax as sj
from saliency_jax import plotting, results
from saliency_jax.report import Table
from saliency_jax.robustness import continuity
from saliency_jax.typing import Explainer

Z_PLUS = ((("convolution", "dense"), sj.rules.z_plus),)
ANALYSES: Mapping[str, Explainer] = {
    "sensitivity": sj.sensitivity,
    "simple_taylor": sj.simple_taylor,
    "deep_taylor": partial(sj.lrp, composite=Z_PLUS),
}
GAPS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)


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
            "picture": (("height", "width", "channel"), of.pictures[place]),
            "sum": ("analysis", [float(found.sum(dtype=np.float64)) for found in maps.values()]),
            "score": float(score(image)),
            "squared_gradient_norm": float(np.square(gradient).sum()),
            "bias": float(sum(np.sum(taken) for taken in report.biases.values())),
        },
        coords={"analysis": list(explainers)},
        attrs={"described": of.described, "target": int(target)},
    )


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
    report(example, image, options, text)
    print(text)
    figures = "max_maps.png, max_continuity.png, image.png"
    print(f"written: {options.out}/max_example.nc, image.nc, {figures}, table.txt, report.html")
    return example, image


def report(example: xr.Dataset, image: xr.Dataset, options: Options, text: str) -> None:
    """Write report.html: errors, constants and slopes of max(x1, x2), and what the maps of one image sum to."""
    deep = example.sel(analysis="deep_taylor")
    others = [f"{TITLES[n]} {float(example.slope.sel(analysis=n)):.2f}" for n in ("sensitivity", "simple_taylor")]
    constants = []
    for name in example.analysis.values:
        one = example.sel(analysis=name)
        # Adding 0 makes 0 of what was rounded to -0.
        numbers = (f"{float(one.error):.1e}", f"{round(float(one.slope), 3) + 0:.3f}")
        constants.append([TITLES[str(name)], *numbers, *(f"{float(c):.4g}" for c in one.constant)])
    sums = [[TITLES[str(name)], f"{float(image['sum'].sel(analysis=name)):.4f}"] for name in image.analysis.values]
    write_findings(
        [
            f"The continuity constant of deep Taylor is at most {float(deep.constant.max()):.4f} at every distance "
            f"(the square root of 2 is 1.4142); the slopes of the others over the distance are {' and '.join(others)}, "
            "-1 being a jump.",
            f"The maps of max(x1, x2) are those of the formulas to {float(example.error.max()):.0e}.",
            f"Of one image ({image.attrs['described']}), class {image.attrs['target']}: the score is "
            f"{float(image.score):.4f}, the squared norm of the gradient {float(image.squared_gradient_norm):.4f}, and "
            f"biases took {float(image.bias):.4f} of the score from LRP.",
        ],
        options,
        "three_analyses.py",
        __doc__,
        figures={
            "max_maps.png": (
                "The maps of max(x1, x2) as arrows at the points of the plane.",
                "The arrows of sensitivity and simple Taylor turn where x1 = x2; those of deep Taylor turn slowly.",
            ),
            "max_continuity.png": (
                "The continuity constant over the least distance of two images.",
                "Two lines fall with the distance, that of deep Taylor is flat.",
            ),
            "image.png": (
                "An image and its three maps, each scaled by itself.",
                "The image on the left, then its maps.",
            ),
        },
        tables=[
            Table(
                "max(x1, x2): largest error, slope, and the continuity constant by least distance",
                ["Analysis", "error", "slope", *(f"{gap:g}" for gap in GAPS)],
                constants,
            ),
            Table("What each map of the image sums to", ["Analysis", "sum"], sums),
        ],
        printed=text,
    )


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "three_analyses.py", __doc__)
