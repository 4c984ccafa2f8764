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
from saliency_jax.report.embedded_pictures import is_small, store, stored
from saliency_jax.report.markup import document, node, table
from saliency_jax.report.prototype_points import explained_section
from saliency_jax.report.prototypes_by_class import prototypes_section


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
        explained_section(explained, patches, class_names, labels),
        prototypes_section(patches, class_names),
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
