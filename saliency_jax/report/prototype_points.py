"""The part of a page on ProtoPNet that tells why each image is of its class: tables of points."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from saliency_jax.plotting.prototype_pictures import SIDES
from saliency_jax.report.embedded_pictures import shown
from saliency_jax.report.markup import node, table
from saliency_jax.report.prototypes_by_class import prototype_and_its_image


def explained_section(
    explained: xr.Dataset, patches: xr.Dataset, class_names: Sequence[str], labels: Sequence[int] | np.ndarray | None
) -> Element:
    """The explained images, each with a table of what gives it points for a class."""
    articles = [
        _points(explained.isel(image=i), patches, class_names, i, None if labels is None else int(labels[i]))
        for i in range(explained.sizes["image"])
    ]
    percentile = explained.attrs.get("percentile", 95)
    return node(
        "section",
        {"id": "explained"},
        node("h2", None, "Explained images"),
        node(
            "p",
            None,
            "A part of the image looks like a prototype, which is a part of the training image beside it. The "
            "similarity of the two times the weight of the prototype for the class gives points, and the points of "
            f"all prototypes add up to the logit. Boxes hold all that is above the {percentile:g}th percentile of a "
            "similarity map. Maps are each scaled by themselves, from violet (lowest) to yellow (highest).",
        ),
        *articles,
    )


def _points(one: xr.Dataset, patches: xr.Dataset, class_names: Sequence[str], i: int, label: int | None) -> Element:
    """The table of one image."""
    predicted, target = class_names[int(one.logits.values.argmax())], class_names[int(one.target)]
    answer = f"Predicted: {predicted}." + ("" if label is None else f" True class: {class_names[label]}.")
    rows = [_points_row(one.isel(rank=rank), patches, class_names, i, rank) for rank in range(one.sizes["rank"])]
    others = patches.sizes["prototype"] - one.sizes["rank"]
    foot = [
        node("tr", None, node("th", {"scope": "row", "colspan": "7"}, text), node("td", None, f"{float(value):.3f}"))
        for text, value in ((f"All {others} other prototypes", one.others), (f"Logit of class {target}", one.logit))
    ]
    head = [
        "Prototype",
        "Part of this image",
        "The prototype",
        "Training image",
        "Similarity map",
        "Similarity",
        "\N{MULTIPLICATION SIGN} weight",
        "= points",
    ]
    return node(
        "article",
        {"class": "numbers"},
        node("h3", {"id": f"explained-{i}"}, f"Image {i}: evidence for class {target}"),
        node("p", None, answer),
        table(f"Points of image {i} for class {target}", head, rows, foot),
    )


def _points_row(
    ranked: xr.Dataset, patches: xr.Dataset, class_names: Sequence[str], i: int, rank: int
) -> list[Element | str]:
    number = int(ranked.prototype)
    origin = patches.isel(prototype=number)
    name = class_names[int(origin.prototype_class)]
    here = ranked.box.sel(side=list(SIDES)).values
    shape = (int(ranked.attrs["height"]), int(ranked.attrs["width"]))
    return [
        node("div", None, node("a", {"href": f"#row-{number}"}, str(number)), f" of class {name}"),
        shown(f"image-{i}", shape, f"Image {i}, a box on the part like prototype {number}", box=here),
        *prototype_and_its_image(origin, name),
        shown(f"map-{i}-{rank}", shape, f"Where image {i} is like prototype {number}", box=here),
        f"{float(ranked.similarity):.3f}",
        f"{float(ranked.weight):.3f}",
        f"{float(ranked.points):.3f}",
    ]
