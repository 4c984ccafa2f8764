"""Pictures inside a page: each is stored once, and shown wherever it is wanted with a box and a text for those who
cannot see it."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float
from PIL import Image

from saliency_jax.report.markup import node

SMALL = 64
"""Pixels: pictures up to this side, and parts of them, are kept without loss and shown with sharp pixels."""
QUALITY = 80
"""Of JPEG, for larger ones."""
MOST_TEXT = 4_000_000
"""Characters of all pictures of a page, so that it is under 5 MB."""


def stored(identifier: str, pixels: Float[np.ndarray, "height width 3"], *, side: int, small: bool) -> Element:
    """A picture for the page's store, in units of its own pixels.

    Args:
        identifier: what it is shown by.
        pixels: values in [0, 1].
        side: the most pixels a side; larger pictures are made smaller.
        small: whether it is, or is a part of, a small picture: kept without loss.
    """
    height, width = pixels.shape[:2]
    size = {"width": width, "height": height, "preserveAspectRatio": "none"}
    look = {"class": "pixels"} if small else {}
    return node("image", {"id": identifier, "href": data_uri(pixels, side=side, lossless=small), **size, **look})


def is_small(pixels: np.ndarray) -> bool:
    """Whether a whole picture is to be kept without loss."""
    return max(pixels.shape[:2]) <= SMALL


def store(pictures: Sequence[Element]) -> Element:
    """All pictures of a page, not to be seen where they stand."""
    return node(
        "svg", {"class": "store", "width": "0", "height": "0", "aria-hidden": "true"}, node("defs", None, *pictures)
    )


def shown(
    identifier: str,
    shape: tuple[int, int],
    text: str,
    *,
    box: Sequence[int] | np.ndarray | None = None,
    kind: str = "",
) -> Element:
    """A stored picture with a box around a part of it.

    Args:
        identifier: of the stored picture.
        shape: its height and width in pixels, before it was made smaller.
        text: what is to be seen, for those who cannot see it.
        box: top, bottom, left, right in pixels; none where None.
        kind: a further CSS class.
    """
    height, width = shape
    parts = [node("use", {"href": f"#{identifier}"})]
    if box is not None:
        top, bottom, left, right = (int(side) for side in box)
        place = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        parts += [node("rect", {"class": line, **place}) for line in ("around", "box")]
    described = {"role": "img", "aria-label": text, "class": f"picture {kind}".strip()}
    return node("svg", {"viewBox": f"0 0 {width} {height}", **described}, *parts)


def data_uri(pixels: Float[np.ndarray, "height width 3"], *, side: int, lossless: bool) -> str:
    """A picture as a text that a browser shows: PNG or, with loss, JPEG; of one channel where it has no colours."""
    rounded = np.rint(255 * np.asarray(pixels)).astype(np.uint8)
    grey = bool((rounded == rounded[..., :1]).all())
    image = Image.fromarray(rounded[..., 0] if grey else rounded)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if lossless:
        image.save(file, "PNG", optimize=True)
    else:
        image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/{'png' if lossless else 'jpeg'};base64,{b64encode(file.getvalue()).decode()}"
