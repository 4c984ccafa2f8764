"""Pictures from folders, single files and archives of encoded images, decoded only when they are asked for."""

from __future__ import annotations

import io
import itertools
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from saliency_jax.data.preprocessing import Preprocessing, check_preprocessing, pillow_module, preprocess

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Of the files in a folder that are taken for pictures, in any case."""


class Pictures(NamedTuple):
    """Pictures that have not been read yet."""

    sources: tuple[Path | bytes, ...]
    """The file of each, or its encoded bytes."""
    names: tuple[str, ...]
    """What each is called in messages and results."""
    labels: Int32[np.ndarray, " n"] | None
    """Index of each one's class in `class_names`; None where nobody said."""
    class_names: tuple[str, ...]


def from_folder(folder: str | os.PathLike[str]) -> Pictures:
    """The pictures in a folder, in the order of their names: in one folder for each class, or without classes.

    Where the folder has folders, each is a class, with its pictures at any depth; pictures beside them are an error.
    Files with other endings than a picture's, and names that begin with a dot, are passed over.

    Args:
        folder: where they are.

    Returns:
        The pictures, none of them read; labels by the sorted names of the class folders, or None.

    Raises:
        NotADirectoryError: there is no such folder.
        ValueError: no picture is there, one stands beside the class folders, or a class has none.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise NotADirectoryError(f"there is no folder {root}")
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    beside = sorted(entry for entry in root.iterdir() if _is_picture(entry))
    if not classes:
        if not beside:
            raise ValueError(f"{root} must hold pictures ({', '.join(SUFFIXES)}), found none")
        return from_files(beside)
    if beside:
        raise ValueError(f"{root} must hold either pictures or a folder for each class, found both: {beside[0].name}")
    found = [sorted(path for path in each.rglob("*") if _is_picture(path)) for each in classes]
    for each, paths in zip(classes, found, strict=True):
        if not paths:
            raise ValueError(f"{each}, a class, must hold pictures ({', '.join(SUFFIXES)}), found none")
    return Pictures(
        sources=tuple(path for paths in found for path in paths),
        names=tuple(path.relative_to(root).as_posix() for paths in found for path in paths),
        labels=np.repeat(np.arange(len(classes), dtype=np.int32), [len(paths) for paths in found]),
        class_names=tuple(each.name for each in classes),
    )


def from_files(paths: Sequence[str | os.PathLike[str]]) -> Pictures:
    """Single files as pictures without classes, in the order given.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: no path was given.
    """
    files = [Path(path).expanduser() for path in paths]
    if not files:
        raise ValueError("paths must name at least one picture, got none")
    if missing := [str(file) for file in files if not file.is_file()]:
        raise FileNotFoundError(f"there is no file {missing[0]} ({len(missing)} of {len(files)} are missing)")
    return Pictures(tuple(files), tuple(file.name for file in files), None, ())


def from_archive(path: str | os.PathLike[str], *, class_names: Sequence[str]) -> Pictures:
    """Pictures from an .npz that holds encoded files one after the other.

    Its arrays: jpeg, uint8, all files; offset, where each begins, and the end; label; and path or name, one for each.

    Args:
        path: the .npz.
        class_names: the name of each class that a label may be.

    Returns:
        The pictures, none of them decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or altered, lacks an array, or they do not fit together.
    """
    arrays = read_arrays(path)
    if lacking := {"jpeg", "offset", "label"} - arrays.keys():
        raise ValueError(f"{path} must have the arrays jpeg, offset and label, lacks {sorted(lacking)}")
    content, offset, labels = arrays["jpeg"], arrays["offset"], arrays["label"]
    names = arrays.get("path", arrays.get("name", np.arange(len(labels))))
    if not len(offset) - 1 == len(labels) == len(names) > 0:
        raise ValueError(
            f"{path} must have one label and one name for each picture and one offset more, found {len(labels)}, "
            f"{len(names)} and {len(offset)}"
        )
    if content.dtype != np.uint8 or offset[0] != 0 or offset[-1] != content.size or np.any(np.diff(offset) <= 0):
        raise ValueError(f"{path}: offset must ascend from 0 to the {content.size} bytes of jpeg (uint8)")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(f"{path}: labels must be in [0, {len(class_names)}), found {labels.min()} to {labels.max()}")
    return Pictures(
        sources=tuple(content[begin:end].tobytes() for begin, end in itertools.pairwise(offset)),
        names=tuple(map(str, names)),
        labels=labels.astype(np.int32),
        class_names=tuple(class_names),
    )


def take(pictures: Pictures, places: Any) -> Pictures:
    """Some of the pictures, as NumPy takes places: indices or a mask of booleans."""
    chosen = np.arange(len(pictures.sources))[places]
    return pictures._replace(
        sources=tuple(pictures.sources[i] for i in chosen),
        names=tuple(pictures.names[i] for i in chosen),
        labels=None if pictures.labels is None else pictures.labels[chosen],
    )


def opened(pictures: Pictures, place: int) -> Any:
    """One picture decoded, as a Pillow image.

    Raises:
        ValueError: it is corrupt, truncated, no picture, or so large that decoding it could exhaust the memory; its
            name is said.
        FileNotFoundError: its file has gone.
        ModuleNotFoundError: Pillow is not installed (the extra `images`).
    """
    pillow = pillow_module()
    source, name = pictures.sources[place], pictures.names[place]
    try:
        with pillow.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, pillow.DecompressionBombError) as error:
        raise ValueError(f"{name} must be a picture that can be decoded: {error}") from error


def batches(
    pictures: Pictures, preprocessing: Preprocessing, *, batch_size: int = 32
) -> Iterator[Float32[np.ndarray, "batch size size 3"]]:
    """The pictures as inputs of a network, `batch_size` at a time, each decoded when its batch is due.

    Args:
        pictures: what to read.
        preprocessing: how the network wants them.
        batch_size: images in a batch; the last one may have fewer.

    Yields:
        `[batch, size, size, 3]` float32.

    Raises:
        ValueError, TypeError: batch_size is under 1, or a picture cannot be decoded or preprocessed; its name is said.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    check_preprocessing(preprocessing)
    count = len(pictures.sources)
    for begin in range(0, count, batch_size):
        places = range(begin, min(begin + batch_size, count))
        yield np.stack([_preprocessed(pictures, place, preprocessing) for place in places])


def load(
    pictures: Pictures, preprocessing: Preprocessing, *, progress: Callable[[int, int], None] | None = None
) -> Float32[np.ndarray, "n size size 3"]:
    """All pictures as inputs of a network, in memory.

    Args:
        pictures: what to read.
        preprocessing: how the network wants them.
        progress: called after each picture with how many are done and how many there are.

    Returns:
        `[n, size, size, 3]` float32.

    Raises:
        ValueError, TypeError: there are no pictures, or one cannot be decoded or preprocessed; its name is said.

    Cost: memory of 12 * size ** 2 bytes a picture, 1 MiB for 299 pixels.
    """
    count = len(pictures.sources)
    if count == 0:
        raise ValueError("pictures must hold at least one, got none")
    images = np.empty((count, preprocessing.size, preprocessing.size, 3), np.float32)
    for place in range(count):
        images[place] = _preprocessed(pictures, place, preprocessing)
        if progress is not None:
            progress(place + 1, count)
    return images


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of an .npz, without unpickling anything; ValueError where it is none or damaged."""
    content = Path(path).expanduser().read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{os.fspath(path)} must be an .npz of arrays: {error}") from error


def _preprocessed(pictures: Pictures, place: int, preprocessing: Preprocessing) -> Float32[np.ndarray, "size size 3"]:
    picture = opened(pictures, place)
    try:
        return preprocess(picture, preprocessing)
    except (ValueError, TypeError) as error:
        error.add_note(f"while preprocessing {pictures.names[place]}")
        raise


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
