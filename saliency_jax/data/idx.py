"""The four IDX files in which MNIST and Fashion-MNIST are published, checked and read with numpy."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from saliency_jax.data.catalogue import DATASETS, IMAGE_SHAPE, IdxFile, idx_files, split_facts
from saliency_jax.data.split import Split, from_grey_bytes

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"


def load(name: str, split: str, data_dir: str | os.PathLike[str] | None) -> Split:
    """One split from a folder of IDX files, in the files' order.

    Only the two files of the split are needed. A file is accepted if its sha256 is that of the published .gz,
    or if it is a .gz whose decompressed data have the published sha256 (some distributors compress anew).

    Args:
        name: "mnist" or "fashion_mnist".
        split: "train" or "test".
        data_dir: the folder that holds the .gz files under their published names.

    Returns:
        All images of the split.

    Raises:
        FileNotFoundError: files are missing; all of them are named.
        ValueError: unknown name or split, no data_dir, or a file that is not the published one.

    Source:
        LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats".
    """
    facts = split_facts(name, split)
    if data_dir is None:
        raise ValueError("source='idx' needs data_dir, the folder that holds the IDX .gz files; found None")
    images, labels = read_split(name, split, data_dir)
    if images.shape != (facts.length, *IMAGE_SHAPE) or labels.shape != (facts.length,):
        raise ValueError(
            f"{name} {split} must have {facts.length} images of {IMAGE_SHAPE} and as many labels; "
            f"found {images.shape} and {labels.shape} in {data_dir}"
        )
    return from_grey_bytes(images, labels, DATASETS[name].class_names)


def read_split(
    name: str, split: str, data_dir: str | os.PathLike[str]
) -> tuple[UInt8[np.ndarray, "n height width"], UInt8[np.ndarray, " n"]]:
    """The grey values and labels of one split as they are published, from checked files.

    Args:
        name: "mnist" or "fashion_mnist".
        split: "train" or "test".
        data_dir: the folder that holds the .gz files.

    Returns:
        Images `[n, height, width]`, 0 to 255, and labels `[n]`.

    Raises:
        FileNotFoundError: files are missing; all of them are named.
        ValueError: unknown name or split, or a file that is not the published one.
    """
    facts = split_facts(name, split)
    folder = Path(data_dir).expanduser()
    check_present(folder, (facts.images, facts.labels))
    images = parse(checked_payload(folder, name, facts.images), origin=str(folder / facts.images.name))
    labels = parse(checked_payload(folder, name, facts.labels), origin=str(folder / facts.labels.name))
    return images, labels


def check_present(folder: Path, files: Iterable[IdxFile]) -> None:
    """Refuse a folder that lacks files.

    Args:
        folder: where the files should be.
        files: the files that are needed.

    Raises:
        FileNotFoundError: names every missing file.
    """
    missing = ", ".join(file.name for file in files if not (folder / file.name).is_file())
    if missing and folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} lacks {missing}")
    if missing:
        raise FileNotFoundError(f"there is no folder {folder}, which should hold {missing}")


def checked_payload(folder: Path, name: str, file: IdxFile) -> bytes:
    """The decompressed data of one file, which is known to be the published one.

    Args:
        folder: where the file is.
        name: the data set to which the file should belong.
        file: the file as published.

    Returns:
        The IDX data.

    Raises:
        ValueError: the file is another one, truncated or altered; names the file and both sha256.
    """
    compressed = (folder / file.name).read_bytes()
    found = hashlib.sha256(compressed).hexdigest()
    if found == file.sha256:
        return gzip.decompress(compressed)

    payload, damage = _decompress(compressed)
    payload_sha256 = None if payload is None else hashlib.sha256(payload).hexdigest()
    if payload is not None and payload_sha256 == file.payload_sha256:
        return payload
    owner = _owner(found, payload_sha256)
    if owner is not None:
        complaint = f"this is {owner}, not {name}'s {file.name}"
    else:
        complaint = f"{damage} ({len(compressed)} bytes, published {file.size})"
    raise ValueError(
        f"{folder / file.name} is not {name}'s published file: {complaint}; "
        f"expected sha256 {file.sha256}, found {found}"
    )


def is_as_published(folder: Path, file: IdxFile) -> bool:
    """Whether a file is the published .gz byte for byte, its compression included.

    Args:
        folder: where the file is.
        file: the file as published.

    Returns:
        True if its sha256 is the published one.
    """
    return hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256


def parse(data: bytes, *, origin: str) -> UInt8[np.ndarray, "*shape"]:
    """An array of unsigned bytes from IDX data.

    The format: two zero bytes, the type (0x08, unsigned byte), the number of axes, the length of each axis as
    a big-endian 32-bit integer, then the values in row-major order.

    Args:
        data: the whole of the data, decompressed.
        origin: where they come from, for messages.

    Returns:
        The array, a view of `data` that cannot be written to.

    Raises:
        ValueError: another magic number or another length than the header says.

    Source:
        LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats".
    """
    magic = data[:4]
    if len(magic) < 4 or magic[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise ValueError(f"{origin}: IDX data of unsigned bytes must begin with 00 00 08, found {magic.hex(' ')!r}")
    axes = magic[3]
    header = 4 + 4 * axes
    if len(data) < header:
        raise ValueError(f"{origin}: an IDX header of {axes} axes takes {header} bytes, found {len(data)}")
    shape = tuple(int(length) for length in np.frombuffer(data, ">u4", count=axes, offset=4))
    values = np.frombuffer(data, np.uint8, offset=header)
    # Not numpy's product: the lengths in a damaged header may multiply beyond 64 bits.
    expected = math.prod(shape)
    if values.size != expected:
        raise ValueError(f"{origin}: the header says {shape}, {expected} values; found {values.size}")
    return values.reshape(shape)


def _decompress(compressed: bytes) -> tuple[bytes | None, str]:
    """The data inside, or None where they cannot be had, and what is wrong with the file."""
    if not compressed:
        return None, "it is truncated, nothing is left"
    if compressed[:2] != _GZIP_MAGIC:
        return None, f"it is no gzip file, it begins with the bytes {compressed[:4].hex(' ')}"
    try:
        return gzip.decompress(compressed), "it was altered"
    except EOFError:
        return None, "it is truncated, its gzip stream ends too early"
    except (gzip.BadGzipFile, zlib.error) as error:
        return None, f"it was altered, {error}"


def _owner(sha256: str, payload_sha256: str | None) -> str | None:
    """The published file that has one of these checksums, if there is one."""
    for name in DATASETS:
        for file in idx_files(name):
            if sha256 == file.sha256 or payload_sha256 == file.payload_sha256:
                return f"{name}'s file {file.name}"
    return None
