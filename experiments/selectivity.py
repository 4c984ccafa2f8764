"""Do explainers find what the score needs? Selectivity: patches are removed by relevance, and the score recorded.

    python experiments/selectivity.py

explains 500 digits of the embedded part of MNIST with the paper's CNN, blackens their patches of 4 x 4 pixels one after
the other, those of the highest relevance first, and records the logit of the true class. The area under the mean curve
is the measure: the smaller, the better the explainer knows where the score comes from. "noise" is a random order. About
five minutes on two cores, most of them the training and the explainers that average.

It should show that every explainer of the model lies below the random order; table.txt has them in order, with 95 %
bootstrap intervals over the images, and with the difference to the random order, image by image.

    python experiments/selectivity.py --photographs FOLDER --network squeezenet1_1 --patch 16 --images 32

does the same on photographs with a published network, whose predicted class is explained and whose patches are replaced
by the mean colour. There deep Taylor and LRP find most, and guided backpropagation and deconvnet less than a random
order. Twenty minutes on busy cores; --explainers names fewer. --direction insertion starts from nothing and puts
patches in (a large area is good), --patch 1 is pixel flipping, --recompute explains again after every step.

In the folder --out: results.nc (an xarray Dataset), results.csv (the area of each image), curves.png, table.txt,
report.html (all of it for a browser); parts/ holds what is finished, so that a run that was broken off goes on where it
was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro
import xarray as xr
from explained_images import EXPLAINERS, RANDOM, Explained, label, subject
from pages import write_findings
from selectivity_curves import figure, ranked, table
from tqdm import tqdm
from unfinished import run

from saliency_jax import plotting, results
from saliency_jax.keys import named
from saliency_jax.report import Table
from saliency_jax.robustness import selectivity
from saliency_jax.sanity.fingerprint import digest

COMPARED = (
    "gradient",
    "sensitivity",
    "simple_taylor",
    "integrated_gradients",
    "smoothgrad",
    "smoothgrad_squared",
    "guided_backprop",
    "deconvnet",
    "grad_cam",
    "guided_grad_cam",
    "lrp",
    "deep_taylor",
    "deep_lift",
    "edges",
    RANDOM,
)


@dataclass(frozen=True)
class Options(Explained):
    """Do explainers find what the score needs? Selectivity on digits, or on photographs."""

    explainers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = COMPARED
    """Which explainers, by their names in saliency_jax.EXPLAINERS; deep_taylor as well."""
    patch: int = 4
    """The side of the patches, in pixels; 1 is pixel flipping."""
    direction: Literal["deletion", "insertion"] = "deletion"
    """Remove the patches of the whole image, or put them into an empty one."""
    recompute: bool = False
    """Explain the altered image again after every step."""
    ranking: Literal["signed", "absolute"] = "signed"
    """Rank patches by the sum of their relevance, or of its absolute values."""
    recorded: Literal["logit", "log_softmax", "softmax"] = "logit"
    """What of the logits is recorded."""
    out: Path = Path("runs/selectivity")
    """The folder for the results; the same options again go on with what is there."""


def main(options: Options) -> xr.Dataset:
    """Explain, remove, record; write the results and print the table."""
    if RANDOM not in options.explainers:
        raise SystemExit(f"--explainers must name {RANDOM}, the random order that all others are held against")
    of = subject(options, options.explainers)
    asked = ("patch", "direction", "recompute", "ranking", "recorded", "seed")
    configuration = {name: getattr(options, name) for name in asked}
    arrays = {"params": digest(of.params), "images": digest(of.images), "targets": digest(of.targets)}
    results.open_run(options.out / "parts", configuration | arrays)
    key = named(jax.random.key(options.seed), "selectivity")
    parts = []
    with tqdm(options.explainers, desc="selectivity", unit="explainer", leave=False) as bar:
        for name in bar:
            bar.set_postfix_str(name)
            measure = partial(
                selectivity,
                of.apply,
                of.params,
                of.images,
                of.targets,
                {name: EXPLAINERS[name]},
                key=key,
                patch=options.patch,
                direction=options.direction,
                recompute=options.recompute,
                ranking=options.ranking,
                fill=of.fill,
                image_range=of.image_range,
                kind=options.recorded,
                batch_size=options.batch,
            )
            parts.append(results.part(options.out / "parts", name, measure))
    dataset = xr.concat(parts, dim="explainer", join="exact", combine_attrs="override")
    dataset = dataset.assign_attrs(described=of.described)
    results.write_dataset(dataset, options.out / "results.nc")
    results.write_csv(dataset, options.out / "results.csv", variable="area")
    plotting.save(figure(dataset), options.out / "curves.png")
    text = table(dataset)
    results.write_bytes(options.out / "table.txt", text.encode())
    report(dataset, options, text)
    print(text)
    print(f"written: {options.out}/results.nc, results.csv, curves.png, table.txt, report.html")
    return dataset


def report(dataset: xr.Dataset, options: Options, text: str) -> None:
    """Write report.html: who is better than the random order, and all in order."""
    explainers = ranked(dataset)
    others = explainers.sel(explainer=[name for name in explainers.explainer.values if name != RANDOM])
    better = others.gain_low > 0
    found = [
        f"{int(better.sum())} of {others.sizes['explainer']} explainers are better than a random order of the patches."
    ]
    if others.sizes["explainer"] and float(others.gain[0]) > 0:
        best = others.isel(explainer=0)
        found.append(
            f"The best is {label(str(best.explainer.item()))}, better by {float(best.gain):.3f} "
            f"[{float(best.gain_low):.3f}, {float(best.gain_high):.3f}], and on {float(best.better):.0%} of the images."
        )
    rows = []
    for name in explainers.explainer.values:
        one = explainers.sel(explainer=name)
        intervals = [
            f"{float(one[mean]):.3f} [{float(one[low]):.3f}, {float(one[high]):.3f}]"
            for mean, low, high in (("mean", "low", "high"), ("gain", "gain_low", "gain_high"))
        ]
        beside = ["", ""] if name == RANDOM else [intervals[1], f"{float(one.better):.0%}"]
        rows.append([label(str(name)), intervals[0], *beside])
    write_findings(
        found,
        options,
        "selectivity.py",
        __doc__,
        figures={
            "curves.png": (
                f"The {options.recorded} over the share of the patches (left), and the areas under the curves (right).",
                "A line and a point for each explainer, the best at the top; the table has the areas.",
            )
        },
        tables=[
            Table(
                "The area under the mean curve, the best explainer first: mean [95% interval]",
                ["Explainer", "area", "better than random by", "of images"],
                rows,
            )
        ],
        printed=text,
    )


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "selectivity.py", __doc__)
