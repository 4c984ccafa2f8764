"""A TFDS builder that reads checked IDX files with numpy, where TFDS's own asks for TensorFlow."""

from __future__ import annotations

import io
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from saliency_jax.data.catalogue import DATASETS
from saliency_jax.data.idx import read_split


def idx_builder_class(official: Any, name: str, idx_dir: Path) -> Any:
    """A builder with the name, version and features of TFDS's own, fed from IDX files without TensorFlow.

    The examples have the keys that TFDS's builder gives them, so that TFDS shuffles them into the same order.

    Args:
        official: TFDS's builder class for the data set.
        name: "mnist" or "fashion_mnist".
        idx_dir: the folder of the four .gz files.

    Returns:
        The builder class. It is not registered with TFDS.
    """

    def split_generators(self: Any, download_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {split: _examples(name, split, idx_dir) for split in DATASETS[name].splits}

    body = {"name": name, "__module__": __name__, "_split_generators": split_generators}
    return types.new_class("IdxBuilder", (official,), {"skip_registration": True}, lambda names: names.update(body))


def _examples(name: str, split: str, idx_dir: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each image with its label, under its position in the file."""
    images, labels = read_split(name, split, idx_dir)
    for position, (image, label) in enumerate(zip(images, labels, strict=True)):
        # Bytes are stored as they are; to encode an array, TFDS would call TensorFlow.
        yield position, {"image": _png(image), "label": int(label)}


def _png(image: UInt8[np.ndarray, "height width"]) -> bytes:
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG")
    return encoded.getvalue()
