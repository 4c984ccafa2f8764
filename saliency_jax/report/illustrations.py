"""Figures inside a page: as they were drawn where there is room for them, else smaller."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from matplotlib.figure import Figure
from PIL import Image

from saliency_jax.report.embedded_pictures import MOST_TEXT, QUALITY
from saliency_jax.report.markup import node

DPI = 150
"""Of figures that are drawn here, and of PNG files that do not say."""
SCREEN = 96
"""CSS pixels an inch."""
WIDTHS = (1600, 1200, 900, 640)
"""Pixels: the widest at which all figures of a page fit, where they do not as they are."""


class Illustration(NamedTuple):
    """A figure of a page.

    Attributes:
        content: a PNG file's bytes, or a figure, which stays open.
        caption: what it shows, below it.
        text: what is to be seen in it, for those who cannot see it.
    """

    content: bytes | Figure
    caption: str
    text: str


def illustrated(illustrations: Sequence[Illustration]) -> list[Element]:
    """The figures with their captions, together no longer than MOST_TEXT, each in a frame that scrolls sideways.

    Raises:
        ValueError: one is no PNG, has no caption or no text, or they do not fit even when they are small.
    """
    files = [_png(one, place) for place, one in enumerate(illustrations)]
    drawn = []
    for one, file, (kind, content) in zip(illustrations, files, _fitting(files), strict=True):
        with Image.open(io.BytesIO(file)) as image:
            resolution = float(image.info.get("dpi", (DPI, DPI))[0])
            width, height = (round(side * SCREEN / resolution) for side in image.size)
        source = f"data:image/{kind};base64,{b64encode(content).decode()}"
        picture = node("img", {"src": source, "alt": one.text, "width": width, "height": height})
        frame = {"class": "scrolls", "role": "region", "tabindex": "0", "aria-label": one.caption}
        drawn.append(
            node(
                "figure",
                {"class": "figure"},
                node("div", frame, picture),
                node("figcaption", None, one.caption),
            )
        )
    return drawn


def _png(illustration: Illustration, place: int) -> bytes:
    name = f"illustrations[{place}]"
    for part, said in (("caption", illustration.caption), ("text", illustration.text)):
        if not said.strip():
            raise ValueError(f"{name} must have a {part}, got {said!r}")
    content = illustration.content
    if not isinstance(content, bytes | Figure):
        raise TypeError(f"content must be a PNG file's bytes or a figure, got {type(content).__name__}")
    if isinstance(content, Figure):
        file = io.BytesIO()
        content.savefig(file, format="png", dpi=DPI)
        return file.getvalue()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.verify()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{name} must be a PNG file or a figure, got {content[:8]!r}...: {error}") from error
    return content


def _fitting(files: Sequence[bytes]) -> list[tuple[str, bytes]]:
    """Kind and content of each file: themselves if they fit, else no wider than the first of WIDTHS that does."""
    found = [("png", file) for file in files]
    for width in WIDTHS:
        if _length(found) <= MOST_TEXT:
            return found
        found = [_smaller(file, width) for file in files]
    if (length := _length(found)) > MOST_TEXT:
        raise ValueError(
            f"illustrations must fit into {MOST_TEXT} characters when they are {WIDTHS[-1]} pixels wide, "
            f"got {length} for {len(files)} of them"
        )
    return found


def _length(files: Sequence[tuple[str, bytes]]) -> int:
    return sum(4 * -(-len(content) // 3) for _, content in files)


def _smaller(file: bytes, width: int) -> tuple[str, bytes]:
    """A picture no wider than this: without loss or, where that is shorter, as JPEG."""
    with Image.open(io.BytesIO(file)) as image:
        on_white = Image.new("RGB", image.size, "white")
        on_white.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    on_white.thumbnail((width, on_white.height), Image.Resampling.LANCZOS)
    written = []
    for kind, settings in (("png", {"optimize": True}), ("jpeg", {"optimize": True, "quality": QUALITY})):
        into = io.BytesIO()
        on_white.save(into, kind, **settings)
        written.append((kind, into.getvalue()))
    return min(written, key=lambda one: len(one[1]))
