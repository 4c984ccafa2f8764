"""The part of a page on ProtoPNet that shows all prototypes, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from saliency_jax.plotting.prototype_pictures import SIDES
from saliency_jax.report.embedded_pictures import shown
from saliency_jax.report.markup import node, table


def prototypes_section(patches: xr.Dataset, class_names: Sequence[str]) -> Element:
    """All prototypes by class, each with the images that it is from and near to."""
    classes = patches.prototype_class.values
    folded = [
        _class_prototypes(patches.isel(prototype=np.flatnonzero(classes == c)), class_names, int(c))
        for c in np.unique(classes)
    ]
    without = [name for c, name in enumerate(class_names) if c not in classes]
    said = [node("p", None, f"Classes without prototypes: {', '.join(without)}.")] if without else []
    return node(
        "section",
        {"id": "prototypes"},
        node("h2", None, "All prototypes"),
        node(
            "p",
            None,
            "Each prototype with the training image that it is a part of, and the training images that have the "
            "patches nearest to it. An image of another class than the prototype's has a dashed frame, and its class "
            "is named.",
        ),
        *said,
        *folded,
    )


def _class_prototypes(own: xr.Dataset, class_names: Sequence[str], c: int) -> Element:
    count, neighbours = own.sizes["prototype"], own.sizes["neighbour"]
    agreeing = int((own.image_class == c).sum())
    prototypes = f"{count} prototype" + ("" if count == 1 else "s")
    head = ["Number", "The prototype", "Training image", *(f"Nearest {k + 1}" for k in range(neighbours))]
    return node(
        "details",
        None,
        node(
            "summary",
            None,
            node("strong", None, f"Class {class_names[c]}"),
            f": {prototypes}, {agreeing} of {count * neighbours} nearest images are of this class",
        ),
        table(
            f"Prototypes of class {class_names[c]}",
            head,
            [_gallery_row(own.isel(prototype=j), class_names) for j in range(count)],
        ),
    )


def _gallery_row(origin: xr.Dataset, class_names: Sequence[str]) -> list[Element | str]:
    number, own = int(origin.prototype), int(origin.prototype_class)
    shape = (int(origin.attrs["height"]), int(origin.attrs["width"]))
    boxes = origin.box.sel(side=list(SIDES)).values
    nearest = []
    for k in range(origin.sizes["neighbour"]):
        place, found = int(origin.image[k]), int(origin.image_class[k])
        text = f"Training image {place} of class {class_names[found]}, a box on the patch nearest to prototype {number}"
        kind = "" if found == own else "other"
        said = [node("span", None, f"distance {float(origin.distance[k]):.2g}")]
        if found != own:
            said.append(node("span", {"class": "class"}, f"of class {class_names[found]}"))
        nearest.append(
            node("div", {"class": "near"}, shown(f"training-{place}", shape, text, box=boxes[k], kind=kind), *said)
        )
    return [
        node("span", {"id": f"row-{number}"}, str(number)),
        *prototype_and_its_image(origin, class_names[own]),
        *nearest,
    ]


def prototype_and_its_image(origin: xr.Dataset, class_name: str) -> tuple[Element, Element]:
    """The pictures of one prototype and of the training image that it is a part of, with a box there."""
    number, source = int(origin.prototype), int(origin.source)
    box = origin.source_box.sel(side=list(SIDES)).values
    top, bottom, left, right = (int(side) for side in box)
    whole = (int(origin.attrs["height"]), int(origin.attrs["width"]))
    return (
        shown(
            f"prototype-{number}",
            (bottom - top, right - left),
            f"Prototype {number}, a part of an image of class {class_name}",
        ),
        shown(f"training-{source}", whole, f"Training image {source}, a box on prototype {number}", box=box),
    )
