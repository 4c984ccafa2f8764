"""Engineered tasks: images of two objects, so that two tasks on the same images must look at different pixels.

One centred digit confounds a sanity check: whatever a model has learned, there is only one thing to point at. Here a
model of one task and a model of the other see the same image, and right maps of the two must differ.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Shaped

from saliency_jax.typing import Images, PRNGKey

Labels = Shaped[np.ndarray, "..."] | Shaped[jax.Array, "..."]
"""One integer class for each image, `[n]`: kind and length are checked on entry."""

SMALLEST_TILE = 14
"""Pixels: on a smaller tile the smallest shapes cannot be told apart."""


class DigitAndShape(NamedTuple):
    """Images of a digit beside a shape, with the labels of both tasks and where each object stands."""

    images: Float32[np.ndarray, "n height width 1"]
    """Grey values in [0, 1]; the width is twice that of the digits."""
    digit_labels: Int32[np.ndarray, " n"]
    shape_labels: Int32[np.ndarray, " n"]
    """Index of each image's shape in SHAPES."""
    digit_mask: Bool[np.ndarray, "n height width"]
    """The pixels with ink of the digit."""
    shape_mask: Bool[np.ndarray, "n height width"]
    """The pixels with ink of the shape."""
    digit_on_right: Bool[np.ndarray, " n"]


class DigitPair(NamedTuple):
    """Images of two digits beside each other, with the labels of both tasks and where each digit stands."""

    images: Float32[np.ndarray, "n height width 1"]
    """Grey values in [0, 1]; the width is twice that of the digits."""
    left_labels: Int32[np.ndarray, " n"]
    right_labels: Int32[np.ndarray, " n"]
    left_mask: Bool[np.ndarray, "n height width"]
    right_mask: Bool[np.ndarray, "n height width"]


def digit_and_shape(images: Images, labels: Labels, key: PRNGKey, *, classes: int = 10) -> DigitAndShape:
    """Each digit beside a shape that is drawn for it, on sides that are drawn for each image.

    Shape, side, place and size are independent of the digit and of one another, so that neither task helps the other.
    The shapes have ink of 1 with an edge of one pixel between, a radius between 0.24 and 0.33 of the tile's smaller
    side, and stand off the tile's centre by at most 0.07 of it. What image i gets depends on the key and i alone.

    Args:
        images: digits, `[n, height, width, 1]`, in [0, 1], at least SMALLEST_TILE pixels high and wide.
        labels: their classes, `[n]` integers.
        key: a JAX key.
        classes: how many shapes: the first ones of SHAPES.

    Returns:
        n images `[n, height, 2 * width, 1]` with both labels, both masks, and the digit's side. The label of the task
        "digit" is `digit_labels`, that of the task "shape" is `shape_labels`.

    Raises:
        ValueError: images, labels or classes are outside what is said above.
        TypeError: images are not floating point, or labels not integer.

    Source: Yona and Greenfeld 2021, whose engineered tasks put two objects into one image.
    """
    digits, digit_labels = _checked(images, labels)
    if not 2 <= classes <= len(SHAPES):
        raise ValueError(f"classes must be between 2 and the {len(SHAPES)} shapes, got {classes}")
    count: int = len(digits)
    height, width = digits.shape[1:3]
    shape_labels = _generator(key, "shape").integers(classes, size=count)
    on_right = _generator(key, "side").random(count) < 0.5
    smaller = min(height, width)
    radii = smaller * _generator(key, "radius").uniform(0.24, 0.33, count)
    shifts = smaller * _generator(key, "centre").uniform(-0.07, 0.07, (count, 2))
    shapes = _drawn(shape_labels, radii, shifts, height, width)[..., None]
    digit_images, shape_images = _placed(digits, on_right), _placed(shapes, ~on_right)
    return DigitAndShape(
        images=digit_images + shape_images,
        digit_labels=digit_labels,
        shape_labels=shape_labels.astype(np.int32),
        digit_mask=digit_images[..., 0] > 0,
        shape_mask=shape_images[..., 0] > 0,
        digit_on_right=on_right,
    )


def halves(
    found: DigitAndShape,
) -> tuple[Bool[np.ndarray, "n height width"], Bool[np.ndarray, "n height width"]]:
    """The half of each image that holds the digit, and the half that holds the shape: all pixels are in one of them.

    Ink alone is not all that an object is: where a 3 has none tells it from an 8.
    """
    count, height, width, _ = found.images.shape
    right = np.broadcast_to(np.arange(width) >= width // 2, (count, height, width))
    digit = right == found.digit_on_right[:, None, None]
    return digit, ~digit


def digit_pairs(images: Images, labels: Labels, key: PRNGKey) -> DigitPair:
    """Each digit on the left of another one: the tasks are the left digit's class and the right digit's.

    Every digit stands once on the left, in the order given, and once on the right, in an order that is drawn.

    Args, Raises: as `digit_and_shape`.

    Returns:
        n images `[n, height, 2 * width, 1]` with both labels and both masks.

    Source: Yona and Greenfeld 2021, image pairs.
    """
    digits, digit_labels = _checked(images, labels)
    partners = _generator(key, "partner").permutation(len(digits))
    right = np.ones(len(digits), bool)
    left_images, right_images = _placed(digits, ~right), _placed(digits[partners], right)
    return DigitPair(
        images=left_images + right_images,
        left_labels=digit_labels,
        right_labels=digit_labels[partners],
        left_mask=left_images[..., 0] > 0,
        right_mask=right_images[..., 0] > 0,
    )


def delete_half(
    images: Images, *, half: Literal["top", "bottom", "left", "right"]
) -> Shaped[np.ndarray, "n height width channel"]:
    """The images with one half blank: a model that was trained on these has never seen that half.

    Two models, trained without the top and without the bottom, can both be explained on whole images, and right maps
    of the two lie in different halves. The middle row or column of an odd size is kept.

    Args:
        images: `[n, height, width, channel]`.
        half: which half is set to 0.

    Raises:
        ValueError: images are no batch, or half is none of the four.

    Source: after the half deletion of Yona and Greenfeld 2021.
    """
    kept = np.array(images)
    if kept.ndim != 4:
        raise ValueError(f"images must be [n, height, width, channel], got shape {kept.shape}")
    rows, columns = kept.shape[1] // 2, kept.shape[2] // 2
    places: dict[str, tuple[slice, ...]] = {
        "top": np.s_[:, :rows],
        "bottom": np.s_[:, kept.shape[1] - rows :],
        "left": np.s_[:, :, :columns],
        "right": np.s_[:, :, kept.shape[2] - columns :],
    }
    if half not in places:
        raise ValueError(f"half must be one of {list(places)}, got {half!r}")
    kept[places[half]] = 0
    return kept


_Field = Float[np.ndarray, "n height width"]


def _bars(u: _Field, v: _Field) -> _Field:
    return np.minimum(0.9 - np.abs(u), 0.22 - np.abs(np.abs(v) - 0.55))


def _plus(u: _Field, v: _Field) -> _Field:
    u, v = np.abs(u), np.abs(v)
    return np.maximum(np.minimum(0.95 - u, 0.25 - v), np.minimum(0.95 - v, 0.25 - u))


def _triangle(u: _Field, v: _Field) -> _Field:
    return np.minimum(0.75 - v, (0.95 + v - 2 * np.abs(u)) / math.sqrt(5))


_DEPTHS: dict[str, Callable[[_Field, _Field], _Field]] = {
    "disc": lambda u, v: 0.9 - np.hypot(u, v),
    "square": lambda u, v: 0.8 - np.maximum(np.abs(u), np.abs(v)),
    "diamond": lambda u, v: (1.0 - np.abs(u) - np.abs(v)) / math.sqrt(2),
    "triangle": _triangle,
    "plus": _plus,
    "cross": lambda u, v: _plus((u + v) / math.sqrt(2), (u - v) / math.sqrt(2)),
    "ring": lambda u, v: 0.18 - np.abs(np.hypot(u, v) - 0.75),
    "frame": lambda u, v: 0.18 - np.abs(np.maximum(np.abs(u), np.abs(v)) - 0.7),
    "bars": _bars,
    "columns": lambda u, v: _bars(v, u),
}
"""Shape -> how far inside of its outline a point lies, u to the right and v down, in units of the shape's radius."""

SHAPES: tuple[str, ...] = tuple(_DEPTHS)
"""The names of the shapes; a label is a place in here."""


def _drawn(
    labels: np.ndarray, radii: np.ndarray, shifts: np.ndarray, height: int, width: int
) -> Float32[np.ndarray, "n height width"]:
    """Each image's shape on its tile, ink 1, the ink of a pixel on the outline by how far inside its centre lies."""
    depth = np.empty((len(labels), height, width))
    v, u = np.mgrid[:height, :width] - np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2
    for label, depth_of in enumerate(_DEPTHS.values()):
        chosen = labels == label
        radius = radii[chosen, None, None]
        down, right = shifts[chosen, :, None, None].swapaxes(0, 1)
        depth[chosen] = radius * depth_of((u[None] - right) / radius, (v[None] - down) / radius)
    return np.clip(depth + 0.5, 0, 1).astype(np.float32)


def _placed(tiles: np.ndarray, on_right: np.ndarray) -> Float32[np.ndarray, "n height width 1"]:
    """Each tile in the left or the right half of an image twice as wide that is blank elsewhere."""
    blank = np.zeros_like(tiles)
    side = on_right[:, None, None, None]
    return np.concatenate([np.where(side, blank, tiles), np.where(side, tiles, blank)], axis=2)


def _generator(key: PRNGKey, name: str) -> np.random.Generator:
    """Random numbers of one name: their first n are the same whatever is drawn after them, or by other names."""
    raw = jax.random.key_data(key) if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return np.random.default_rng([*np.asarray(raw, np.uint32).ravel().tolist(), zlib.crc32(name.encode())])


def _checked(images: Any, labels: Any) -> tuple[Float32[np.ndarray, "n height width 1"], Int32[np.ndarray, " n"]]:
    images, labels = np.asarray(images), np.asarray(labels)
    if not np.issubdtype(images.dtype, np.floating):
        raise TypeError(f"images must be floating point in [0, 1], got {images.dtype}")
    if images.ndim != 4 or images.shape[-1] != 1 or 0 in images.shape:
        raise ValueError(f"images must be [n, height, width, 1] with at least one image, got shape {images.shape}")
    if min(images.shape[1:3]) < SMALLEST_TILE:
        raise ValueError(f"images must be at least {SMALLEST_TILE} pixels high and wide, got shape {images.shape}")
    # Written so that a NaN is found as well.
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"images must be in [0, 1], found values from {images.min()} to {images.max()}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels must be integer classes, got {labels.dtype}")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels must hold one class for each of the {len(images)} images, got shape {labels.shape}")
    return images.astype(np.float32), labels.astype(np.int32)
