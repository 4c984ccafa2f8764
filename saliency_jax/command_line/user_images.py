"""A user's pictures as images of the user's model, and the classes to explain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int32

from saliency_jax.data import images
from saliency_jax.data.images import Pictures
from saliency_jax.data.preprocessing import Preprocessing

Scale = Literal["unit", "signed", "imagenet"]
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue, as in ITU-R BT.601."""
IMAGENET_MEAN, IMAGENET_DEVIATION = (
    np.array(values, np.float32) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
)


def read_pictures(
    folder: Path, *, size: int, channels: int, limit: int
) -> tuple[Pictures, Float32[np.ndarray, "n size size channel"]]:
    """Pictures of a folder, spread evenly over it, with values in [0, 1].

    Args:
        folder: of pictures, or of a folder for each class.
        size: height and width of the result, in pixels; the shorter side is resized and the centre is kept.
        channels: 3, or 1 for grey.
        limit: the most pictures that are read.

    Raises:
        NotADirectoryError, ValueError: as `data.images.from_folder` and `data.images.load`.
    """
    pictures = images.from_folder(folder)
    count = len(pictures.sources)
    if limit < count:
        pictures = images.take(pictures, np.arange(limit) * count // limit)
    pixels = images.load(pictures, Preprocessing(size, crop=1.0, scale=(1 / 255,) * 3, shift=(0.0,) * 3))
    return pictures, pixels if channels == 3 else (pixels @ LUMINANCE)[..., None]


def scaled(
    pixels: Float32[np.ndarray, "n size size channel"], scale: Scale
) -> Float32[np.ndarray, "n size size channel"]:
    """Values in [0, 1] as a model wants them: as they are, in [-1, 1], or standardized as for ImageNet.

    Raises:
        ValueError: grey images are to be standardized by the means of three colours.
    """
    if scale == "unit":
        return pixels
    if scale == "signed":
        return 2 * pixels - 1
    if pixels.shape[-1] != 3:
        raise ValueError("--scale imagenet needs --channels 3, got 1")
    return (pixels - IMAGENET_MEAN) / IMAGENET_DEVIATION


def classes_to_explain(which: str, pictures: Pictures, predict: Callable[[], np.ndarray]) -> Int32[np.ndarray, " n"]:
    """The class to explain for each picture.

    Args:
        which: "predicted", "folders", or the path of a text file with one class a line.
        pictures: what is explained.
        predict: gives the classes that the model predicts.

    Raises:
        ValueError: the pictures have no class folders, or the file does not have one integer for each picture.
        FileNotFoundError: there is no such file.
    """
    if which == "predicted":
        return np.asarray(predict(), np.int32)
    if which == "folders":
        if pictures.labels is None:
            raise ValueError("--labels folders needs a folder for each class in --images, found pictures alone")
        return pictures.labels
    path = Path(which)
    if not path.is_file():
        raise FileNotFoundError(f"--labels must be predicted, folders or a text file, and there is no file {path}")
    lines = path.read_text(encoding="utf-8").split()
    try:
        labels = np.array([int(line) for line in lines], np.int32)
    except ValueError as error:
        raise ValueError(f"--labels: {path} must hold one integer a line ({error})") from error
    if len(labels) != len(pictures.sources):
        raise ValueError(
            f"--labels: {path} must hold {len(pictures.sources)} classes, one a picture, got {len(labels)}"
        )
    return labels
