"""Maps drawn in axes, and grids of them: a row an explainer, a column a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from saliency_jax.plotting.map_colours import as_picture, map_overlay, map_scale
from saliency_jax.plotting.style import readable

MANY_MODELS = 8
LONG_TITLE = 17
"""With more columns, or a title of more letters than this, titles are slanted."""
SLANTED = 0.7
"""The height of a slanted title, in inches."""


def show_map(axes: Axes, attribution: np.ndarray) -> None:
    """Draw one map `[height, width, channel]` with its channels summed, as `map_scale` says."""
    scale = map_scale(attribution)
    axes.imshow(scale.values, cmap=scale.colours, vmin=scale.low, vmax=scale.high, interpolation="nearest")


def show_overlay(axes: Axes, attribution: np.ndarray, *, image: np.ndarray) -> None:
    """Draw one map `[height, width, channel]` over its image, as `map_overlay` says."""
    axes.imshow(map_overlay(image, attribution), interpolation="nearest")


def map_grid(dataset: xr.Dataset, *, image: int = 0, draw: Callable[[Axes, np.ndarray], None] = show_map) -> Figure:
    """The maps of one image: a row an explainer, a column a model, from the trained one to the last stage.

    Every map is scaled by itself, by the 99th percentile of its absolute values: signed maps are red for positive and
    blue for negative with white at 0, maps without negative values white to black; yellow is not finite.

    Args:
        dataset: what `parameter_randomization` returned, with maps that were kept.
        image: which of the kept images.
        draw: draws a map `[height, width, channel]` in axes, as `partial(show_overlay, image=...)` does over the
            image.

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
    picture = as_picture(np.asarray(dataset.images[image]))
    for row, name in enumerate(names):
        for axes in panels[row]:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("0.8")
        panels[row, 0].imshow(picture, interpolation="nearest")
        panels[row, 0].set_ylabel(readable(name).replace(" ", "\n", 1), rotation=0, ha="right", va="center", fontsize=9)
        for column, model in enumerate(models, start=1):
            draw(panels[row, column], np.asarray(dataset.maps.sel(explainer=name, model=model)[image]))
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
