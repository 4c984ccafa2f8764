"""How the numbers of a map become colours, alone and over the image: arrays in, arrays out."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.colors import Colormap, to_rgb

from saliency_jax.plotting.style import COLOURS

NOT_FINITE = to_rgb("#F0E442")
"""Okabe and Ito's yellow, for NaN and infinite pixels: no map and no grey image has it."""
POSITIVE, NEGATIVE = to_rgb(COLOURS[1]), to_rgb(COLOURS[0])
"""Over an image: their vermilion and blue, which no colour vision confuses. Both are seen on any grey from DARKEST."""
DARKEST = 0.45
"""Of an image below a map."""
PERCENTILE = 99
SAME = 1e-5
"""Of the limit: a map whose values differ by no more is constant, but for rounding."""
LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue, as ITU-R BT.601 weighs them."""


class Scale(NamedTuple):
    """How a map is drawn.

    Attributes:
        values: the map with its channels summed, `[height, width]`; NaN where it was not finite.
        low, high: the values that the ends of the colours stand for: -limit and limit where a value is negative, so
            that 0 is in the middle, else 0 and limit.
        colours: a diverging colour map from blue by white to red, or white to black.
    """

    values: Float[np.ndarray, "height width"]
    low: float
    high: float
    colours: Colormap


def map_scale(attribution: Float[np.ndarray, "height width channel"]) -> Scale:
    """The numbers and the colours of a map.

    The limit is the 99th percentile of the absolute values, so that a few pixels do not make all others pale; the
    largest value where that percentile is 0, and 1 where the map is blank or nothing in it is finite. Values beyond
    the limit have the last colour. Of a constant map it is twice the value: nothing in it stands out, and an even half
    tone says so.

    Args:
        attribution: a map, whatever its numbers.
    """
    flat = np.asarray(attribution, np.float64).sum(axis=-1)
    known = np.isfinite(flat)
    size = np.abs(flat[known]) if known.any() else np.ones(1)
    limit = float(np.percentile(size, PERCENTILE)) or float(size.max()) or 1.0
    if known.any() and size.any() and np.ptp(flat[known]) <= SAME * limit:
        limit *= 2
    signed = bool((flat[known] < 0).any())
    colours = matplotlib.colormaps["RdBu_r" if signed else "Greys"].with_extremes(bad=NOT_FINITE)
    return Scale(np.where(known, flat, np.nan), -limit if signed else 0.0, limit, colours)


def coloured(attribution: Float[np.ndarray, "height width channel"]) -> Float[np.ndarray, "height width 3"]:
    """A map as colours, scaled as `map_scale` says; yellow where it is not finite."""
    scale = map_scale(attribution)
    place = (scale.values - scale.low) / (scale.high - scale.low)
    return scale.colours(np.ma.masked_invalid(place))[..., :3]


def as_picture(image: Shaped[np.ndarray, "height width channel"]) -> Float[np.ndarray, "height width 3"]:
    """An explained image as colours in [0, 1]; brought there where it does not lie there, grey but for three channels.

    Bytes are 255ths. Pixels that are not finite are yellow.
    """
    values = np.asarray(image, np.float64) / (255 if image.dtype == np.uint8 else 1)
    known = np.isfinite(values)
    low, high = values.min(where=known, initial=0.0), values.max(where=known, initial=1.0)
    # Infinity less infinity is nothing to be warned of: the pixel is yellow.
    scaled = (np.where(known, values, 0.0) - low) / (high - low)
    drawn = scaled if scaled.shape[-1] == 3 else np.repeat(scaled.mean(-1, keepdims=True), 3, axis=-1)
    return np.where(known.all(axis=-1, keepdims=True), drawn, NOT_FINITE)


def map_overlay(
    image: Shaped[np.ndarray, "height width channel"],
    attribution: Float[np.ndarray, "map_height map_width map_channel"],
) -> Float[np.ndarray, "height width 3"]:
    """A map over its image: the image in light grey, positive values in orange, negative ones in blue.

        pixel = (1 - a) grey + a colour,    a = min(|value| / limit, 1)

    so that nothing lies over the image where the map is 0. The limit is that of `map_scale`; yellow pixels are not
    finite, in the map or in the image.

    Args:
        image: grey or in colours; brought into [0, 1] where it does not lie there.
        attribution: its map.

    Raises:
        ValueError: the two are not of one height and width.
    """
    if np.shape(image)[:2] != np.shape(attribution)[:2]:
        raise ValueError(
            f"attribution must have the height and width of its image {np.shape(image)[:2]}, "
            f"got {np.shape(attribution)[:2]}"
        )
    scale = map_scale(attribution)
    known = np.isfinite(scale.values) & np.isfinite(image).all(axis=-1)
    opacity = np.clip(np.abs(np.where(known, scale.values, 0.0)) / scale.high, 0, 1)[..., None]
    colour = np.where((scale.values < 0)[..., None], NEGATIVE, POSITIVE)
    grey = DARKEST + (1 - DARKEST) * (as_picture(image) @ np.array(LUMA))[..., None]
    return np.where(known[..., None], (1 - opacity) * grey + opacity * colour, NOT_FINITE)
