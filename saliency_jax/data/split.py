"""The one thing that every source of data hands out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Integer, UInt8


class Split(NamedTuple):
    """The images of one split with their labels, as numpy arrays."""

    images: Float32[np.ndarray, "n height width channel"]
    """Grey values or colours in [0, 1]."""
    labels: Int32[np.ndarray, " n"]
    """Index of each image's class in `class_names`."""
    class_names: tuple[str, ...]


def from_grey_bytes(
    images: UInt8[np.ndarray, "n height width"],
    labels: Integer[np.ndarray, " n"],
    class_names: tuple[str, ...],
) -> Split:
    """A split from grey values of one byte: `images / 255` with a channel axis.

    Args:
        images: grey values 0 to 255, `[n, height, width]`.
        labels: class indices, `[n]`.
        class_names: the name of each class.

    Returns:
        The split, images `[n, height, width, 1]`.
    """
    return Split(
        images=images[..., np.newaxis].astype(np.float32) / np.float32(255),
        labels=labels.astype(np.int32),
        class_names=class_names,
    )
