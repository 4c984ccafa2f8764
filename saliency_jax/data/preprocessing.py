"""From a picture to what a network was trained on: orientation, colours, size, crop, scale; and back for figures.

Resizing is Pillow's, which filters when it shrinks; the sizes are those of torchvision's Resize and CenterCrop.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

SMALLEST_SIDE = 8
"""Pixels of the shortest side that is enlarged; less is no picture of anything."""
LONGEST_RATIO = 20
"""Longer over shorter side past which a picture is refused: its centre would be less than a twentieth of it."""

_EIGHT_BIT_MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LA", "La", "PA", "RGBA", "RGBa")
_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")


class Preprocessing(NamedTuple):
    """How a network wants its images: value = pixel * scale + shift, pixel in 0..255, for the centre of the image."""

    size: int
    """Height and width of the result, in pixels."""
    crop: float = 0.875
    """Side of the centre that is kept, as a fraction of the resized shorter side, which is round(size / crop)."""
    resample: Literal["bicubic", "bilinear"] = "bicubic"
    """The filter, widened by the factor by which an image is shrunk."""
    scale: tuple[float, float, float] = (1 / 127.5, 1 / 127.5, 1 / 127.5)
    """Of each channel, in the network's order."""
    shift: tuple[float, float, float] = (-1.0, -1.0, -1.0)
    """Of each channel, in the network's order."""
    order: Literal["rgb", "bgr"] = "rgb"
    """The network's order of the channels."""


def standardized(
    size: int,
    *,
    crop: float = 0.875,
    resample: Literal["bicubic", "bilinear"] = "bilinear",
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225),
) -> Preprocessing:
    """The preprocessing of torchvision's networks: (pixel / 255 - mean) / deviation.

    Args:
        size: height and width of the result, in pixels.
        crop: fraction of the shorter side that is kept; size / side for a resized side of so many pixels.
        resample: the filter.
        mean: of each channel over ImageNet, for values in [0, 1].
        deviation: standard deviation of each channel over ImageNet, for values in [0, 1].

    Returns:
        The same as scale and shift of pixels in 0..255.
    """
    red, green, blue = (-m / d for m, d in zip(mean, deviation, strict=True))
    scale = (1 / (255 * deviation[0]), 1 / (255 * deviation[1]), 1 / (255 * deviation[2]))
    return Preprocessing(size, crop, resample, scale, (red, green, blue))


def preprocess(image: Any, preprocessing: Preprocessing) -> Float32[np.ndarray, "size size 3"]:
    """One picture as one input of a network.

    It is turned as its EXIF orientation says and made RGB: grey is repeated, transparent pixels are laid on white,
    palettes and CMYK are converted, 16-bit grey is divided by 257 and rounded; of an animation the first frame counts.
    Then its shorter side is resized to round(size / crop), down or up, its longer one in proportion (rounded down), and
    the centre of size x size is kept.

    Args:
        image: `[height, width, channel]` uint8 with 1, 3 or 4 channels (the fourth is opacity), or a Pillow image.
        preprocessing: size, crop, filter, scale, shift and order of the channels.

    Returns:
        `[size, size, 3]` float32, pixel * scale + shift in the network's order of channels.

    Raises:
        TypeError: an array that is not uint8, something that is no image, or a mode that has no fixed range of values
            (32-bit integers, floating point).
        ValueError: another shape, a side under 8 pixels, one side over 20 times the other, or a preprocessing out of
            range.
        ModuleNotFoundError: Pillow is not installed (the extra `images`).

    Cost: memory as the picture and its resized copy.
    """
    check_preprocessing(preprocessing)
    picture = as_rgb(image)
    shorter, longer = sorted(picture.size)
    if shorter < SMALLEST_SIDE:
        raise ValueError(f"image must be at least {SMALLEST_SIDE} pixels high and wide, got {_shape(picture)}")
    if longer > LONGEST_RATIO * shorter:
        raise ValueError(f"image must not be over {LONGEST_RATIO} times as long as wide, got {_shape(picture)}")
    resized_shorter = round(preprocessing.size / preprocessing.crop)
    resized = tuple(resized_shorter if side == shorter else resized_shorter * side // shorter for side in picture.size)
    pixels = np.asarray(picture.resize(resized, _filter(preprocessing.resample)))
    # Python's round and not a floor: torchvision's CenterCrop takes the even one of two middles.
    top, left = (round((side - preprocessing.size) / 2) for side in pixels.shape[:2])
    pixels = pixels[top : top + preprocessing.size, left : left + preprocessing.size]
    return normalized(pixels, preprocessing)


def normalized(
    pixels: UInt8[np.ndarray, "*batch height width 3"], preprocessing: Preprocessing
) -> Float32[np.ndarray, "*batch height width 3"]:
    """RGB pixels as the network's values, without resizing: pixel * scale + shift, in its order of channels."""
    check_preprocessing(preprocessing)
    ordered = pixels if preprocessing.order == "rgb" else pixels[..., ::-1]
    scale, shift = (np.asarray(values, np.float32) for values in (preprocessing.scale, preprocessing.shift))
    return ordered.astype(np.float32) * scale + shift


def displayed(images: Any, preprocessing: Preprocessing) -> UInt8[np.ndarray, "*batch height width 3"]:
    """The network's values as RGB pixels again: pixel = round((value - shift) / scale).

    Args:
        images: one or many, `[..., height, width, 3]`, values as `preprocess` makes them.
        preprocessing: the one they were made by; size, crop and filter are of no concern.

    Returns:
        uint8 pixels in RGB order.

    Raises:
        ValueError: not three channels, or a value that is no pixel in 0..255 (noise was added, say): clip it first, on
            purpose.
    """
    check_preprocessing(preprocessing)
    values = np.asarray(images, np.float64)
    if values.ndim < 3 or values.shape[-1] != 3:
        raise ValueError(f"images must be [..., height, width, 3], got shape {values.shape}")
    pixels = np.rint((values - np.array(preprocessing.shift)) / np.array(preprocessing.scale))
    # Written so that a NaN is outside too.
    if outside := pixels.size - np.count_nonzero((pixels >= 0) & (pixels <= 255)):
        raise ValueError(
            f"images must be pixels in 0..255 after (value - shift) / scale, found {outside} outside of "
            f"{pixels.size}, from {pixels.min()} to {pixels.max()}"
        )
    return (pixels if preprocessing.order == "rgb" else pixels[..., ::-1]).astype(np.uint8)


def as_rgb(image: Any) -> Any:
    """A picture as an 8-bit RGB Pillow image: the conversions that `preprocess` names, without resizing.

    Args, Raises: as `preprocess`.
    """
    pillow = pillow_module()
    picture = image if isinstance(image, pillow.Image) else _from_array(image, pillow)
    if 0 in picture.size:
        raise ValueError(f"image must have pixels, got {_shape(picture)}")
    picture = _upright(picture)
    if picture.mode in _SIXTEEN_BIT_MODES:
        # In exact integers, half rounded up: 65535 becomes 255.
        wide = np.asarray(picture)
        grey = ((wide.astype(np.uint32) + 128) // 257).astype(np.uint8)
        grey[wide == picture.info.get("transparency", -1)] = 255
        picture = pillow.fromarray(grey)
    elif picture.mode not in _EIGHT_BIT_MODES:
        raise TypeError(
            f"image must have 8 bits a channel, or 16 bits of grey, got mode {picture.mode!r}, whose values have no "
            "fixed range: convert it to uint8 first"
        )
    if picture.has_transparency_data:
        opaque = pillow.new("RGBA", picture.size, "white")
        opaque.alpha_composite(picture.convert("RGBA"))
        picture = opaque
    return picture.convert("RGB")


def pillow_module() -> Any:
    """Pillow's module PIL.Image; ModuleNotFoundError that names the extra where it is not installed."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("images are read by Pillow: pip install 'saliency-jax[images]'") from error
    return Image


def check_preprocessing(preprocessing: Preprocessing) -> None:
    """Raise ValueError where a field is out of its range."""
    size, crop, resample, scale, shift, order = preprocessing
    if size < 1:
        raise ValueError(f"preprocessing.size must be at least 1 pixel, got {size}")
    if not 0 < crop <= 1:
        raise ValueError(f"preprocessing.crop must be a fraction in (0, 1], got {crop}")
    if resample not in ("bicubic", "bilinear"):
        raise ValueError(f'preprocessing.resample must be "bicubic" or "bilinear", got {resample!r}')
    if len(scale) != 3 or not all(value != 0 and math.isfinite(value) for value in scale):
        raise ValueError(f"preprocessing.scale must be three finite numbers and not 0, got {scale}")
    if len(shift) != 3 or not all(map(math.isfinite, shift)):
        raise ValueError(f"preprocessing.shift must be three finite numbers, got {shift}")
    if order not in ("rgb", "bgr"):
        raise ValueError(f'preprocessing.order must be "rgb" or "bgr", got {order!r}')


def _from_array(image: Any, pillow: Any) -> Any:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = getattr(image, "dtype", type(image).__name__)
        raise TypeError(f"image must be a uint8 array or a Pillow image, got {found}")
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise ValueError(f"image must be [height, width, channel] with 1, 3 or 4 channels, got shape {image.shape}")
    if image.size == 0:
        raise ValueError(f"image must have pixels, got shape {image.shape}")
    return pillow.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def _upright(picture: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)


def _filter(resample: str) -> Any:
    filters = pillow_module().Resampling
    return {"bicubic": filters.BICUBIC, "bilinear": filters.BILINEAR}[resample]


def _shape(picture: Any) -> str:
    return f"{picture.height} x {picture.width} pixels (height x width)"
