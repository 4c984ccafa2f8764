"""This looks like that: why an image is of its class, and what the prototypes of a network are."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from saliency_jax.plotting.prototype_pictures import (
    SIDES,
    Pictures,
    check_dataset,
    check_explained,
    check_names,
    overlay,
    part,
    picture,
)
from saliency_jax.plotting.style import COLOURS, readable

BOX = "#F0E442"
"""Okabe and Ito's yellow; with a black line around it, it is seen on any picture."""
OTHER_CLASS = COLOURS[1]
LABEL, CELL, NUMBER, HEAD = 1.5, 1.3, 0.95, 1.05
"""Inches: the width of the labels, the side of a picture, the width of a number, the height of the titles."""
GALLERY_HEAD = 0.85
END = LABEL + 4 * CELL
TIMES = "\N{MULTIPLICATION SIGN}"


def points_table(
    explained: xr.Dataset,
    patches: xr.Dataset,
    pictures: Pictures,
    training_pictures: Pictures,
    *,
    class_names: Sequence[str],
    image: int = 0,
    true_class: int | None = None,
    rows: int | None = None,
) -> Figure:
    """Why one image is of its class: this part looks like that prototype, similarity x weight = points, their sum.

    A row for each prototype with most points: the part of the image, the prototype, the training image that it comes
    from, the similarity map over the image; then all other prototypes and the logit. Boxes are around what is high in
    the enlarged maps, which are each scaled by themselves.

    Args:
        explained: what `prototypes.analysis.explain` returned.
        patches: what `prototype_patches` returned for the same network.
        pictures: the images to show, one for each that was explained.
        training_pictures: the training images to show.
        class_names: the name of each class.
        image: which of the images.
        true_class: the image's own class, where it is known.
        rows: how many prototypes; all in `explained` where None. The points of those left out go to the others.

    Raises:
        ValueError: there is no such image, row, picture or class, a picture has another size than the boxes are for,
            or the Datasets lack what is drawn or are not of one network.

    Source: Chen et al. (2019), figure 3.
    """
    check_explained(explained, patches)
    count, most = explained.sizes["image"], explained.sizes["rank"]
    if not 0 <= image < count:
        raise ValueError(f"image must be one of the {count} that were explained, got {image}")
    if rows is not None and not 1 <= rows <= most:
        raise ValueError(f"rows must be between 1 and the {most} prototypes that were kept, got {rows}")
    one = explained.isel(image=image)
    check_names(class_names, patches.prototype_class.values, np.arange(one.sizes["class"]))
    if true_class is not None and not 0 <= true_class < len(class_names):
        raise ValueError(f"true_class must be one of the {len(class_names)} classes, got {true_class}")
    rows = most if rows is None else rows
    shown = picture(pictures, image, explained, "pictures")
    figure = plt.figure(figsize=(END + 3 * NUMBER + 0.1, HEAD + rows * CELL + 1.0))
    for row in range(rows):
        ranked = one.isel(rank=row)
        origin = patches.isel(prototype=int(ranked.prototype))
        source = picture(training_pictures, int(origin.source), patches, "training_pictures")
        _points_row(figure, ranked, origin, shown, source, class_names, top=HEAD + row * CELL)
    _points_head(figure)
    _points_sum(figure, one, patches.sizes["prototype"], rows, class_names)
    middle = figure.get_figwidth() / 2
    target = readable(class_names[int(one.target)])
    _write(figure, middle, 0.2, f"Evidence for class {target}", ha="center", fontsize=12, fontweight="bold")
    _write(figure, middle, 0.46, _answer(one, class_names, true_class), ha="center")
    return figure


def _points_head(figure: Figure) -> None:
    titles = ("part of this image", "the prototype", "training image\nit comes from", "similarity map")
    for column, text in enumerate(titles):
        _write(figure, LABEL + (column + 0.5) * CELL, HEAD - 0.06, text, ha="center", va="bottom", fontsize=9)
    for column, text in enumerate(("similarity", f"{TIMES} weight", "= points")):
        _write(figure, END + (column + 0.9) * NUMBER, HEAD - 0.06, text, ha="right", va="bottom", fontsize=9)


def _points_row(
    figure: Figure,
    ranked: xr.Dataset,
    origin: xr.Dataset,
    shown: np.ndarray,
    source: np.ndarray,
    class_names: Sequence[str],
    *,
    top: float,
) -> None:
    """One prototype of the table of points: four pictures and three numbers."""
    here, there = (box.sel(side=list(SIDES)).values for box in (ranked.box, origin.source_box))
    drawings = (
        (shown, here),
        (part(source, there), None),
        (source, there),
        (overlay(shown, ranked["map"].values), here),
    )
    for column, (drawn, box) in enumerate(drawings):
        axes = _cell(figure, LABEL + column * CELL, top)
        axes.imshow(drawn, interpolation="nearest")
        if box is not None:
            _draw_box(axes, box)
    middle = top + CELL / 2
    name = _wrapped(class_names[int(origin.prototype_class)])
    label = f"prototype {int(ranked.prototype)}\n{name}"
    _write(figure, LABEL - 0.08, middle, label, ha="right", fontsize=9)
    numbers = (f"{ranked.similarity:.3f}", f"{TIMES} {ranked.weight:.3f}", f"= {ranked.points:.3f}")
    for column, text in enumerate(numbers):
        _write(figure, END + (column + 0.9) * NUMBER, middle, text, ha="right")


def _points_sum(figure: Figure, one: xr.Dataset, prototypes: int, rows: int, class_names: Sequence[str]) -> None:
    """The points of all prototypes that are not shown, a line, and the logit."""
    width, height = figure.get_size_inches()
    floor, right = HEAD + rows * CELL, END + 2.9 * NUMBER
    others = float(one.others) + float(one.points[rows:].sum())
    _write(figure, right - NUMBER, floor + 0.25, f"all {prototypes - rows} other prototypes", ha="right")
    _write(figure, right, floor + 0.25, f"+ {others:.3f}" if others >= 0 else f"- {-others:.3f}", ha="right")
    figure.add_artist(
        plt.Line2D([LABEL / width, 1 - 0.1 / width], [1 - (floor + 0.45) / height] * 2, color="0.3", linewidth=0.8)
    )
    name = readable(class_names[int(one.target)])
    _write(figure, right - NUMBER, floor + 0.68, f"logit of class {name}", ha="right", fontweight="bold")
    _write(figure, right, floor + 0.68, f"= {float(one.logit):.3f}", ha="right", fontweight="bold")


def _write(figure: Figure, x: float, y: float, text: str, **look: Any) -> None:
    """A text at a place in inches from the top left."""
    width, height = figure.get_size_inches()
    figure.text(x / width, 1 - y / height, text, **{"va": "center", "fontsize": 10, **look})


def prototype_gallery(
    patches: xr.Dataset,
    training_pictures: Pictures,
    *,
    class_names: Sequence[str],
    prototypes: Sequence[int] | None = None,
) -> Figure:
    """Prototypes, each with the training images that have the patches nearest to it.

    The first picture of a row is the prototype; then come the nearest images with boxes around the patches. An image
    of another class than the prototype's has a dashed frame and says its class.

    Args:
        patches: what `prototype_patches` returned.
        training_pictures: the training images to show.
        class_names: the name of each class.
        prototypes: which ones; all where None.

    Raises:
        ValueError: there is no such prototype, picture or class, a picture has another size than the boxes are for,
            or the Dataset lacks what is drawn.
    """
    check_dataset(patches, ("prototype_class", "source", "source_box", "image", "image_class", "box"), "patches")
    check_names(class_names, patches.prototype_class.values, patches.image_class.values)
    count = patches.sizes["prototype"]
    chosen = list(range(count)) if prototypes is None else list(prototypes)
    if not chosen or not 0 <= min(chosen) <= max(chosen) < count:
        raise ValueError(f"prototypes must be some of the {count}, got {chosen[:5]}")
    wide, tall = LABEL + (1 + patches.sizes["neighbour"]) * CELL + 0.15, CELL + 0.3
    # Side by side in as many columns as make the whole about as wide as it is high.
    blocks = max(1, round(math.sqrt(len(chosen) * tall / wide)))
    longest = -(-len(chosen) // blocks)
    blocks = -(-len(chosen) // longest)
    figure = plt.figure(figsize=(blocks * wide, GALLERY_HEAD + longest * tall + 0.1))
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1))
    for place, number in enumerate(chosen):
        block, row = divmod(place, longest)
        _draw_prototype(
            axes,
            patches.isel(prototype=number),
            patches,
            training_pictures,
            class_names,
            corner=(block * wide, GALLERY_HEAD + row * tall),
        )
    for block in range(blocks):
        left = block * wide + LABEL
        axes.text(left + CELL / 2, GALLERY_HEAD - 0.05, "prototype", ha="center", va="bottom", fontsize=9)
        axes.text(
            left + CELL * 1.04,
            GALLERY_HEAD - 0.05,
            "nearest patches of training images",
            ha="left",
            va="bottom",
            fontsize=9,
        )
    axes.text(0.3, 0.2, f"Prototypes and what is nearest to them ({len(chosen)} of {count})", fontsize=12)
    axes.text(0.3, 0.42, "dashed: a nearest image of another class, named below it", fontsize=9)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure


def _draw_prototype(
    axes: Axes,
    origin: xr.Dataset,
    patches: xr.Dataset,
    training_pictures: Pictures,
    class_names: Sequence[str],
    *,
    corner: tuple[float, float],
) -> None:
    """A row of the gallery, in axes whose units are inches: many axes would be slow to draw."""
    left, top = corner
    source = picture(training_pictures, int(origin.source), patches, "training_pictures")
    own = int(origin.prototype_class)
    name = _wrapped(class_names[own])
    label = f"prototype {int(origin.prototype)}\n{name}"
    axes.text(left + LABEL - 0.08, top + CELL / 2, label, ha="right", va="center", fontsize=9)
    _place(axes, part(source, origin.source_box.sel(side=list(SIDES)).values), left + LABEL, top)
    for rank in range(origin.sizes["neighbour"]):
        near = origin.isel(neighbour=rank)
        x = left + LABEL + (1 + rank) * CELL
        whole = picture(training_pictures, int(near.image), patches, "training_pictures")
        scale, x0, y0 = _place(axes, whole, x, top)
        box = scale * near.box.sel(side=list(SIDES)).values
        axes.add_patch(_rectangle(box, x0, y0))
        if int(near.image_class) != own:
            side = CELL - 0.06
            axes.add_patch(
                Rectangle(
                    (x + 0.03, top + 0.03), side, side, fill=False, color=OTHER_CLASS, linestyle="--", linewidth=2
                )
            )
            text = textwrap.shorten(f"of class {readable(class_names[int(near.image_class)])}", 28, placeholder="...")
            axes.text(x + CELL / 2, top + CELL + 0.02, text, color=OTHER_CLASS, ha="center", va="top", fontsize=7)


def _place(axes: Axes, drawn: np.ndarray, x: float, y: float) -> tuple[float, float, float]:
    """Draw a picture in the cell with this corner; return its inches a pixel and its own corner."""
    tall, wide = drawn.shape[:2]
    scale = (CELL - 0.12) / max(tall, wide)
    left, top = x + (CELL - scale * wide) / 2, y + (CELL - scale * tall) / 2
    axes.imshow(drawn, extent=(left, left + scale * wide, top + scale * tall, top), interpolation="nearest")
    return scale, left, top


def _cell(figure: Figure, x: float, y: float) -> Axes:
    """Axes for a picture, at a place in inches from the top left."""
    width, height = figure.get_size_inches()
    side = CELL - 0.12
    axes = figure.add_axes(((x + 0.06) / width, 1 - (y + 0.06 + side) / height, side / width, side / height))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _draw_box(axes: Axes, box: np.ndarray) -> None:
    """A box in pixels, where a pixel reaches from -1/2 to 1/2 around its number."""
    axes.add_patch(_rectangle(box, -0.5, -0.5))


def _rectangle(box: np.ndarray, x: float, y: float) -> Rectangle:
    """Top, bottom, left, right, counted from a corner."""
    top, bottom, left, right = map(float, box)
    outlined = [patheffects.withStroke(linewidth=3.5, foreground="black")]
    look: dict[str, Any] = {"fill": False, "edgecolor": BOX, "linewidth": 1.8, "clip_on": False}
    return Rectangle((x + left, y + top), right - left, bottom - top, path_effects=outlined, **look)


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(f"of class {readable(name)}", 16))


def _answer(one: xr.Dataset, class_names: Sequence[str], true_class: int | None) -> str:
    predicted = f"predicted: {readable(class_names[int(one.logits.values.argmax())])}"
    return predicted if true_class is None else f"{predicted};  true class: {readable(class_names[true_class])}"
