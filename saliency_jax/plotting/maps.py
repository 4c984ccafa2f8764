"""Maps drawn in axes, and grids of them: a row an explainer, a column a model."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from saliency_jax.plotting.map_colours import as_picture, map_overlay, map_scale
from saliency_jax.plotting.style import readable
from saliency_jax.typing import Images

MANY_MODELS = 8
LONG_TITLE = 17
"""With more columns, or a word of a title with more letters than this, titles are slanted."""
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
    picture = np.asarray(dataset.images[image])
    rows = [
        (readable(name), picture, [np.asarray(dataset.maps.sel(explainer=name, model=m)[image]) for m in models])
        for name in names
    ]
    return _drawn(rows, [readable(model) for model in models], draw)


def explainer_maps(
    images: Images,
    maps: Mapping[str, Any],
    *,
    rows: Sequence[str] | None = None,
    draw: Callable[[Axes, np.ndarray], None] = show_map,
) -> Figure:
    """The maps of several explainers beside their images: a row an image, a column an explainer.

    Scales and colours are those of `map_grid`.

    Args:
        images: `[n, height, width, channel]` as they are to be seen: bytes, values in [0, 1], or others, which each
            image then brings there by itself.
        maps: explainer -> its maps `[n, height, width, channel]`, as `batched(together(...))` gives them.
        rows: what stands before each image; nothing where not given.
        draw: draws a map in axes, as for `map_grid`.

    Raises:
        ValueError: images are no batch of images, there is no explainer, its maps are not one for each image, or rows
            do not name each.
    """
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"images must be [n, height, width, channel], got shape {images.shape}")
    if not maps:
        raise ValueError("maps must be of one explainer at least, got none")
    for name, found in maps.items():
        if np.ndim(found) != 4 or len(found) != len(images):
            raise ValueError(
                f"maps of {name!r} must be [{len(images)}, height, width, channel], one for each image, "
                f"got {np.shape(found)}"
            )
    labels = [""] * len(images) if rows is None else list(rows)
    if len(labels) != len(images):
        raise ValueError(f"rows must name each of the {len(images)} images, got {len(labels)}")
    drawn = [
        (label, image, [np.asarray(found[i]) for found in maps.values()])
        for i, (label, image) in enumerate(zip(labels, images, strict=True))
    ]
    return _drawn(drawn, [readable(name) for name in maps], draw)


def _drawn(
    rows: Sequence[tuple[str, np.ndarray, Sequence[np.ndarray]]],
    titles: Sequence[str],
    draw: Callable[[Axes, np.ndarray], None],
) -> Figure:
    """A row a label, its image and its maps; a title over each column of maps."""
    columns = 1 + len(titles)
    size = (1.25 * columns + 1.4, 1.25 * len(rows) + 0.5)
    figure, panels = plt.subplots(len(rows), columns, figsize=size, layout="compressed", squeeze=False)
    for axes, (label, image, maps) in zip(panels, rows, strict=True):
        for panel in axes:
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_color("0.8")
        axes[0].imshow(as_picture(image), interpolation="nearest")
        axes[0].set_ylabel("\n".join(_lines(label)), rotation=0, ha="right", va="center", fontsize=9)
        for panel, attribution in zip(axes[1:], maps, strict=True):
            draw(panel, attribution)
    narrow = len(titles) > MANY_MODELS or max(len(line) for title in titles for line in _lines(title)) > LONG_TITLE
    for panel, title in zip(panels[0], ["image", *titles], strict=True):
        panel.set_title(title if narrow else "\n".join(_lines(title)), fontsize=9)
    if narrow:
        _turn_titles(figure, [axes.title for axes in panels[0, 1:]])
    return figure


def _lines(name: str) -> list[str]:
    """A name in as many lines as its column is narrow."""
    return textwrap.wrap(name, LONG_TITLE, break_long_words=False, break_on_hyphens=False) or [""]


def _turn_titles(figure: Figure, titles: Sequence[Text]) -> None:
    """Slant the titles of narrow columns, and leave room for them above and to the right instead of between."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + SLANTED, height + SLANTED)
    for title in titles:
        title.set(rotation=45, ha="left", va="bottom", rotation_mode="anchor", in_layout=False)
    kept = (0.0, 0.0, width / (width + SLANTED), height / (height + SLANTED))
    figure.set_layout_engine("compressed", rect=kept)
