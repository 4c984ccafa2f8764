"""ProtoPNet on one page: why some images are of their classes, and all prototypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from saliency_jax.plotting.prototype_pictures import (
    SIDES,
    Pictures,
    check_explained,
    check_names,
    overlay,
    part,
    picture,
)
from saliency_jax.plotting.style import readable
from saliency_jax.report.embedded_pictures import is_small, shown, store, stored
from saliency_jax.report.markup import document, node, table


def prototype_page(
    explained: xr.Dataset,
    patches: xr.Dataset,
    pictures: Pictures,
    training_pictures: Pictures,
    *,
    class_names: Sequence[str],
    labels: Sequence[int] | np.ndarray | None = None,
    title: str = "This looks like that",
    accuracy: Mapping[str, Mapping[str, float]] | None = None,
    settings: Mapping[str, Any] | None = None,
    thumbnail: int = 96,
) -> str:
    """One HTML file with everything inside: tables of points, all prototypes, accuracy and settings.

    It loads nothing and needs no script. Every picture is stored once and shown wherever it is wanted; the prototypes
    of a class are folded away until they are asked for. All texts are escaped.

    Args:
        explained: what `prototypes.analysis.explain` returned, for the images that the page is to explain.
        patches: what `plotting.prototype_patches` returned for the same network.
        pictures: the images to show, one for each that was explained.
        training_pictures: the training images to show.
        class_names: the name of each class.
        labels: the classes of the explained images, where they are known.
        title: the heading.
        accuracy: by row and column, as {"after projection": {"test": 0.8}}; an entry that a row lacks is left empty.
        settings: names and values, as they are printed.
        thumbnail: pixels a side of training images and prototypes; explained images have up to twice as many.

    Returns:
        The text of the file, to be written as UTF-8.

    Raises:
        ValueError: a picture or class name is missing, a picture has another size than the boxes are for, labels are
            not one class for each image, thumbnail is under 1, or the Datasets lack what is shown or are not of one
            network.

    Source: Chen et al. (2019), figure 3.

    Cost: about 7 MB for 500 prototypes with the 5 nearest of 1,449 photographs each.
    """
    check_explained(explained, patches)
    check_names(class_names, *(np.asarray(x) for x in (patches.prototype_class, patches.image_class)))
    check_names(class_names, np.arange(explained.sizes["class"]))
    if thumbnail < 1:
        raise ValueError(f"thumbnail must be at least 1 pixel, got {thumbnail}")
    count = explained.sizes["image"]
    if labels is not None and (len(labels) != count or not 0 <= min(labels) <= max(labels) < len(class_names)):
        raise ValueError(f"labels must be one of {len(class_names)} classes for each of {count} images, got {labels}")
    class_names = [readable(str(name)) for name in class_names]
    kept = [
        *_stored_images(explained, pictures, thumbnail),
        *_stored_prototypes(patches, training_pictures, thumbnail),
    ]
    sections = [
        *([_accuracy(accuracy)] if accuracy else []),
        _explained(explained, patches, class_names, labels),
        _prototypes(patches, class_names),
        *([_settings(settings)] if settings else []),
    ]
    links = [
        node("li", None, node("a", {"href": f"#{section.get('id')}"}, str(section[0].text))) for section in sections
    ]
    own = float((patches.image_class == patches.prototype_class).mean())
    held = len(np.unique(patches.prototype_class))
    head = node(
        "header",
        None,
        node("h1", None, title),
        node(
            "p",
            None,
            f"{patches.sizes['prototype']} prototypes of {held} classes; {own:.1%} of the training images nearest to "
            f"a prototype are of its own class.",
        ),
        node("nav", {"aria-label": "Sections"}, node("ul", None, *links)),
    )
    style = resources.files("saliency_jax.report").joinpath("prototype_page.css").read_text(encoding="utf-8")
    skip = node("a", {"class": "skip", "href": "#content"}, "Skip to the content")
    return document(title, style, skip, head, node("main", {"id": "content"}, *sections), store(kept))


def _stored_images(explained: xr.Dataset, pictures: Pictures, thumbnail: int) -> list[Element]:
    """The explained images, and each with each of its similarity maps."""
    kept = []
    for i in range(explained.sizes["image"]):
        whole = picture(pictures, i, explained, "pictures")
        kept.append(stored(f"image-{i}", whole, side=2 * thumbnail, small=is_small(whole)))
        for rank, similarities in enumerate(explained["map"].values[i]):
            kept.append(
                stored(f"map-{i}-{rank}", overlay(whole, similarities), side=2 * thumbnail, small=is_small(whole))
            )
    return kept


def _stored_prototypes(patches: xr.Dataset, training_pictures: Pictures, thumbnail: int) -> list[Element]:
    """The prototypes, and all training images that they come from or are near to."""
    kept = []
    boxes = patches.source_box.sel(side=list(SIDES)).values
    sources = patches.source.values
    for place in np.unique(np.concatenate([sources, patches.image.values.ravel()])):
        whole = picture(training_pictures, int(place), patches, "training_pictures")
        kept.append(stored(f"training-{place}", whole, side=thumbnail, small=is_small(whole)))
        for number in np.flatnonzero(sources == place):
            kept.append(
                stored(f"prototype-{number}", part(whole, boxes[number]), side=thumbnail, small=is_small(whole))
            )
    return kept


def _accuracy(accuracy: Mapping[str, Mapping[str, float]]) -> Element:
    columns = list(dict.fromkeys(column for row in accuracy.values() for column in row))
    rows = [
        [name, *(f"{row[column]:.4f}" if column in row else "" for column in columns)] for name, row in accuracy.items()
    ]
    return node(
        "section",
        {"id": "accuracy", "class": "numbers"},
        node("h2", None, "Accuracy"),
        table("Share of images classified rightly", ["Network", *columns], rows),
    )


def _settings(settings: Mapping[str, Any]) -> Element:
    rows = [[name, str(value)] for name, value in settings.items()]
    return node(
        "section",
        {"id": "settings"},
        node("h2", None, "Settings"),
        table("What this page was made with", ["Setting", "Value"], rows),
    )


def _explained(
    explained: xr.Dataset, patches: xr.Dataset, class_names: Sequence[str], labels: Sequence[int] | np.ndarray | None
) -> Element:
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
    name, source = class_names[int(origin.prototype_class)], int(origin.source)
    here, there = (box.sel(side=list(SIDES)).values for box in (ranked.box, origin.source_box))
    shape, training_shape = ((int(x.attrs["height"]), int(x.attrs["width"])) for x in (ranked, patches))
    return [
        node("div", None, node("a", {"href": f"#row-{number}"}, str(number)), f" of class {name}"),
        shown(f"image-{i}", shape, f"Image {i}, a box on the part like prototype {number}", box=here),
        shown(f"prototype-{number}", _size(there), f"Prototype {number}, a part of an image of class {name}"),
        shown(f"training-{source}", training_shape, f"Training image {source}, a box on prototype {number}", box=there),
        shown(f"map-{i}-{rank}", shape, f"Where image {i} is like prototype {number}", box=here),
        f"{float(ranked.similarity):.3f}",
        f"{float(ranked.weight):.3f}",
        f"{float(ranked.points):.3f}",
    ]


def _prototypes(patches: xr.Dataset, class_names: Sequence[str]) -> Element:
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
    number, own, source = (int(x) for x in (origin.prototype, origin.prototype_class, origin.source))
    shape = (int(origin.attrs["height"]), int(origin.attrs["width"]))
    there = origin.source_box.sel(side=list(SIDES)).values
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
        shown(
            f"prototype-{number}", _size(there), f"Prototype {number}, a part of an image of class {class_names[own]}"
        ),
        shown(f"training-{source}", shape, f"Training image {source}, a box on prototype {number}", box=there),
        *nearest,
    ]


def _size(box: np.ndarray) -> tuple[int, int]:
    top, bottom, left, right = (int(side) for side in box)
    return bottom - top, right - left
