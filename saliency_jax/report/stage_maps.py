"""The maps of a randomization test, a row a model, and a slider that walks through the rows."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from saliency_jax.plotting.map_colours import as_picture, coloured
from saliency_jax.plotting.style import readable
from saliency_jax.report.embedded_pictures import MOST_TEXT, is_small, shown, stored
from saliency_jax.report.markup import node, table
from saliency_jax.report.number_tables import number, title_of
from saliency_jax.sanity.parts import TRAINED

SIDES = (192, 160, 128, 96, 64)
"""Pixels a side of pictures: the most whose maps take no more than MOST_TEXT."""


def stored_maps(dataset: xr.Dataset) -> list[Element]:
    """The pictures of all kept maps, and of the images where they are there, as large as the page may have them."""
    for side in SIDES:
        kept = _stored(dataset, side)
        if sum(len(one.get("href", "")) for one in kept) <= MOST_TEXT:
            break
    return kept


def slider(stages: Sequence[str]) -> Element:
    """A control of which stage is shown. It is hidden until the script that serves it runs."""
    last = len(stages)
    control = {"type": "range", "id": "stage", "min": "1", "max": last, "step": "1", "value": last}
    return node(
        "div",
        {"class": "slider", "hidden": "hidden"},
        node("label", {"for": "stage"}, "Stage"),
        node("input", control),
        node("output", {"for": "stage", "id": "stage-name"}, readable(str(stages[-1]))),
        node("label", {"class": "every"}, node("input", {"type": "checkbox", "id": "every-stage"}), "show all stages"),
    )


def image_maps(dataset: xr.Dataset, place: int, metric: str, class_names: Sequence[str] | None) -> Element:
    """One image and its maps: a row a model, a column an explainer, under each map how similar it is.

    Args:
        dataset: a randomization test's, with maps.
        place: which of the kept images.
        metric: whose value stands under a map.
        class_names: of each class, where they are known.
    """
    names = [str(name) for name in dataset.explainer.values]
    stages = [str(stage) for stage in dataset.stage.values]
    shape = (dataset.sizes["height"], dataset.sizes["width"])
    scores = dataset.similarity.sel(metric=metric).isel(seed=0, image=place)
    target = _class(int(dataset.targets[place]), class_names) if "targets" in dataset else ""

    def cell(model: int, explainer: int) -> Element:
        name = readable(names[explainer])
        if model == 0:
            picture = shown(f"map-{place}-0-{explainer}", shape, f"{name}, trained model")
            return node("div", {"class": "map"}, picture)
        value = number(float(scores.sel(explainer=names[explainer], stage=stages[model - 1])))
        said = f"{name}, {readable(stages[model - 1])} random, similarity {value}"
        return node(
            "div",
            {"class": "map"},
            shown(f"map-{place}-{model}-{explainer}", shape, said),
            node("small", None, value),
        )

    def row(model: int) -> list[Element | str]:
        if model == 0:
            said = [node("strong", None, TRAINED)]
            said += [node("small", None, f"explains {target}")] if target else []
        else:
            said = [node("strong", None, readable(stages[model - 1]))]
            if "explained_class" in dataset:
                explained = int(dataset.explained_class.isel(seed=0, image=place, stage=model - 1))
                said.append(node("small", None, f"explains {_class(explained, class_names)}"))
        return [node("div", None, *said), *(cell(model, explainer) for explainer in range(len(names)))]

    framed = table(
        f"Maps of image {place}; under each its {title_of(metric)} with the trained model's map",
        ["Model", *map(readable, names)],
        [row(model) for model in range(1 + len(stages))],
    )
    for stage, element in enumerate(framed.iter("tr"), start=-1):
        if stage >= 1:
            element.set("data-stage", str(stage))
            element.set("data-name", readable(stages[stage - 1]))
    picture = [shown(f"image-{place}", shape, f"Image {place}")] if "images" in dataset else []
    title = f"Image {place}" + (f", explained as {target}" if target else "")
    return node(
        "article", {"class": "image"}, node("h3", None, title), node("div", {"class": "beside"}, *picture, framed)
    )


def _stored(dataset: xr.Dataset, side: int) -> list[Element]:
    kept = []
    maps = dataset.maps.transpose("kept_image", "model", "explainer", "height", "width", "channel").to_numpy()
    small = is_small(maps[0, 0, 0])
    for place, model, explainer in np.ndindex(*maps.shape[:3]):
        pixels = coloured(maps[place, model, explainer])
        kept.append(stored(f"map-{place}-{model}-{explainer}", pixels, side=side, small=small))
    if "images" in dataset:
        images = dataset["images"].to_numpy()
        kept += [stored(f"image-{i}", as_picture(image), side=side, small=small) for i, image in enumerate(images)]
    return kept


def _class(number: int, class_names: Sequence[str] | None) -> str:
    return f"class {number}" if class_names is None else class_names[number]
