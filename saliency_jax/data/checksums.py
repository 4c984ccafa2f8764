"""Checksums that tell whether data are what their name says, and whose they are where they are not."""

from __future__ import annotations

import hashlib
import os

import numpy as np
from jaxtyping import Integer, UInt8

from saliency_jax.data.catalogue import DATASETS, IMAGE_SHAPE, split_facts


def check_sha256(content: bytes, expected: str, path: str | os.PathLike[str]) -> None:
    """Raise ValueError, naming the file, unless its bytes are the published ones."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            f"{os.fspath(path)} must be the published file, it is truncated, altered or another one "
            f"({len(content)} bytes): expected sha256 {expected}, found {found}"
        )


def content_sha256(images: UInt8[np.ndarray, "n height width"], labels: Integer[np.ndarray, " n"]) -> str:
    """SHA-256 of labelled images that does not depend on their order.

    Each record is the pixels of an image, row by row, followed by its label as a big-endian 32-bit integer.
    The records are sorted as byte strings and hashed one after the other.

    Args:
        images: grey values 0 to 255, `[n, height, width]`.
        labels: class indices, `[n]`.

    Returns:
        64 hexadecimal digits.
    """
    pixels = images.reshape(len(images), -1)
    label_bytes = labels.astype(">i4")[:, np.newaxis].view(np.uint8)
    records = np.hstack([pixels, label_bytes])
    # An unstructured void compares as a byte string, so that whole records are sorted at once.
    whole = records.view(np.dtype((np.void, records.shape[1]))).ravel()
    return hashlib.sha256(np.sort(whole).tobytes()).hexdigest()


def check_content(
    images: UInt8[np.ndarray, "n height width"],
    labels: Integer[np.ndarray, " n"],
    *,
    name: str,
    split: str,
    origin: str,
) -> None:
    """Refuse images and labels that are not exactly those of a split, in any order.

    Args:
        images: grey values 0 to 255, `[n, height, width]`.
        labels: class indices, `[n]`.
        name: the data set that they should be.
        split: the split that they should be.
        origin: where they were read, and what to do about it, for the message.

    Raises:
        ValueError: another count, another shape or other content. Where the content is that of another
            data set or split, the message says so.
    """
    expected = split_facts(name, split)
    shape = (expected.length, *IMAGE_SHAPE)
    if images.shape != shape:
        raise ValueError(f"{name} {split} must have images of shape {shape}, found {images.shape} in {origin}")
    found = content_sha256(images, labels)
    if found == expected.content_sha256:
        return
    owners = [
        f"{other_name} {other_split}"
        for other_name, dataset in DATASETS.items()
        for other_split, facts in dataset.splits.items()
        if facts.content_sha256 == found
    ]
    owner = f"is {owners[0]}" if owners else "is of no data set known here"
    raise ValueError(
        f"what is recorded as {name} {split} {owner}: expected content sha256 {expected.content_sha256}, "
        f"found {found} in {origin}"
    )
