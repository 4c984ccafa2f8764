"""Labelled images behind one signature: `load(name, split, source=...) -> Split`."""

from __future__ import annotations

import os

from saliency_jax.data import embedded, idx, tfds
from saliency_jax.data.catalogue import check_choice
from saliency_jax.data.split import Split

__all__ = ["Split", "embedded", "idx", "load", "tfds"]

_SOURCES = {"embedded": embedded.load, "idx": idx.load, "tfds": tfds.load}


def load(
    name: str,
    split: str,
    *,
    source: str = "embedded",
    data_dir: str | os.PathLike[str] | None = None,
) -> Split:
    """One split of a data set, as numpy arrays in memory.

    The sources have the same pixels and labels: "idx" all of them in the published order, "tfds" all of them
    in the order of TFDS's records, "embedded" a part of MNIST in the published order.

    Args:
        name: "mnist" or "fashion_mnist".
        split: "train" or "test".
        source: "embedded", the part of MNIST in the package, 500 training and 100 test images a class;
            "idx", a folder of the published IDX .gz files, verified;
            "tfds", data prepared by TensorFlow Datasets, verified (needs the extra `tfds`, not TensorFlow).
        data_dir: None for "embedded"; the folder of the .gz files for "idx"; the folder below which TFDS
            keeps its data sets for "tfds", where None means its own default.

    Returns:
        Images float32 `[n, height, width, channel]` in [0, 1], labels int32 `[n]`, the name of each class.

    Raises:
        ValueError: unknown name, split or source, a data set that the source does not have, a data_dir that
            is missing or not wanted, or data that are not those published under the name.
        FileNotFoundError: files are missing; they are named.
        ModuleNotFoundError: source is "tfds" and a package of the extra `tfds` is missing.
    """
    check_choice("source", source, _SOURCES)
    return _SOURCES[source](name, split, data_dir)
