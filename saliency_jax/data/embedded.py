"""The subset of MNIST that is part of the package: 500 training and 100 test images a class."""

from __future__ import annotations

import os
from importlib import resources

import numpy as np

from saliency_jax.data.catalogue import DATASETS, split_facts
from saliency_jax.data.split import Split, from_grey_bytes


def load(name: str, split: str, data_dir: str | os.PathLike[str] | None = None) -> Split:
    """One split of the embedded subset: 5,000 training or 1,000 test images of MNIST.

    The images of each class are spread evenly over the published file and stand in its order. They and their
    licence are in `saliency_jax/data/embedded/`; `tools/embed_mnist.py` made them.

    Args:
        name: "mnist".
        split: "train" or "test".
        data_dir: must be None, as nothing is read from outside the package.

    Returns:
        The images of the split with as many of each class.

    Raises:
        ValueError: unknown name or split, a data set that is not embedded, or a data_dir.
    """
    split_facts(name, split)
    if name != "mnist":
        raise ValueError(
            f"source='embedded' has only 'mnist', found {name!r}; "
            "source='idx' and source='tfds' read it from a data_dir"
        )
    if data_dir is not None:
        raise ValueError(f"source='embedded' reads no data_dir, found {os.fspath(data_dir)!r}")
    package = resources.files("saliency_jax.data")
    with (
        package.joinpath("embedded", "mnist.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return from_grey_bytes(arrays[f"{split}_images"], arrays[f"{split}_labels"], DATASETS[name].class_names)
