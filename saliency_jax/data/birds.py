"""Fifty kinds of birds from Caltech-UCSD Birds-200-2011, cropped to the bird: 1,449 pictures to train, 1,500 to test.

The pictures may be used for research and education and not be handed on, so they are no part of the package.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from saliency_jax.data.checksums import check_sha256
from saliency_jax.data.images import Pictures, from_archive, read_arrays, take

PUBLISHED_SHA256 = "fbccafb1d250dd3d6f47e907adb103d4e78bc847284326e9959537f23376e82d"
"""Of cub200_2011_cropped_50classes_227px.npz."""


def load(
    path: str | os.PathLike[str], split: Literal["train", "test"], *, sha256: str | None = PUBLISHED_SHA256
) -> Pictures:
    """The pictures of one split, JPEG of 227 x 227 pixels, in the order of the file.

    Args:
        path: the .npz: the arrays of `images.from_archive`, and is_train and class_name.
        split: "train" or "test".
        sha256: what the file's checksum must be; None to read another one of the same arrays on purpose.

    Returns:
        The pictures with their labels, none of them decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: unknown split, another checksum, or arrays that are missing or do not fit.

    Source: Wah et al. (2011), "The Caltech-UCSD Birds-200-2011 Dataset".
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    if sha256 is not None:
        check_sha256(Path(path).expanduser().read_bytes(), sha256, path)
    arrays = read_arrays(path)
    if lacking := {"is_train", "class_name"} - arrays.keys():
        raise ValueError(f"{os.fspath(path)} must have the arrays is_train and class_name, lacks {sorted(lacking)}")
    pictures = from_archive(path, class_names=tuple(map(str, arrays["class_name"])))
    is_train = arrays["is_train"]
    if is_train.dtype != bool or is_train.shape != (len(pictures.sources),):
        raise ValueError(
            f"{os.fspath(path)}: is_train must be one boolean for each of {len(pictures.sources)} pictures, found "
            f"{is_train.dtype} {is_train.shape}"
        )
    return take(pictures, np.flatnonzero(is_train if split == "train" else ~is_train))
