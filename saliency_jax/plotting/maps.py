"""Grids of maps: a row an explainer, a column a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from saliency_jax.plotting.style import readable

MANY_MODELS = 8
LONG_TITLE = 17
"""With more columns, or a title of more letters than this, titles are slanted."""
SLANTED = 0.7
"""The height of a slanted title, in inches."""


def map_grid(dataset: xr.Dataset, *, image: int = 0) -> Figure:
    """The maps of one image: a row an explainer, a column a model, from the trained one to the last stage.

    Every map is scaled by itself, by the 99th percentile of its absolute values: signed maps are red for positive and
    blue for negative with white at 0, maps without negative values white to black.

    Args:
        dataset: what `parameter_randomization` returned, with maps that were kept.
        image: which of the kept images.

    Raises:
        ValueError: the dataset keeps no map of that image.
    """
    kept = dataset.sizes.get("kept_image", 0)
    if not 0 <= image < kept or "maps" not in dataset:
        raise ValueError(f"image must be one of the {kept} images whose maps were kept, got {image}")
    names, models = [str(x) for x in dataset.explainer.values], [str(x) for x in dataset.model.values]
    rows, columns = len(names), 1 + len(models)
    figure, panels = plt.subplots(
        rows, columns, figsize=(1.25 * columns + 1.4, 1.25 * rows + 0.5), layout="compressed", squeeze=False
    )
    picture = _drawable(np.asarray(dataset.images[image]))
    for row, name in enumerate(names):
        for axes in panels[row]:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("0.8")
        panels[row, 0].imshow(picture, cmap="gray", interpolation="nearest")
        panels[row, 0].set_ylabel(readable(name).replace(" ", "\n", 1), rotation=0, ha="right", va="center", fontsize=9)
        for column, model in enumerate(models, start=1):
            show_map(panels[row, column], np.asarray(dataset.maps.sel(explainer=name, model=model)[image]))
    panels[0, 0].set_title("image", fontsize=9)
    for column, model in enumerate(models, start=1):
        panels[0, column].set_title(readable(model), fontsize=9)
    if len(models) > MANY_MODELS or max(map(len, map(readable, models))) > LONG_TITLE:
        _turn_titles(figure, [axes.title for axes in panels[0, 1:]])
    return figure


def _turn_titles(figure: Figure, titles: Sequence[Text]) -> None:
    """Slant the titles of narrow columns, and leave room for them above and to the right instead of between."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + SLANTED, height + SLANTED)
    for title in titles:
        title.set(rotation=45, ha="left", va="bottom", rotation_mode="anchor", in_layout=False)
    kept = (0.0, 0.0, width / (width + SLANTED), height / (height + SLANTED))
    figure.set_layout_engine("compressed", rect=kept)


def _drawable(picture: np.ndarray) -> np.ndarray:
    """A grey image without its channel axis; a coloured one as it is where it lies in [0, 1], else brought there."""
    if picture.shape[-1] != 3:
        return picture.squeeze()
    low, high = min(picture.min(), 0.0), max(picture.max(), 1.0)
    return (picture - low) / (high - low)


def show_map(axes: Axes, attribution: np.ndarray) -> None:
    """Draw one map `[height, width, channel]`, its channels summed, scaled by its 99th percentile."""
    flat = attribution.sum(axis=-1)
    limit = float(np.percentile(np.abs(flat), 99)) or float(np.abs(flat).max()) or 1.0
    signed = (flat < 0).any()
    colours: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit} if signed else {"cmap": "Greys", "vmin": 0.0}
    axes.imshow(flat, vmax=limit, interpolation="nearest", **colours)
