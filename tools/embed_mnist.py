"""Make the subset of MNIST that is embedded in the package, from the four published IDX files.

    python tools/embed_mnist.py --data-dir FOLDER

FOLDER holds train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and
t10k-labels-idx1-ubyte.gz. Their checksums are verified first. Takes about two seconds and writes about 1 MB.

Of the m images of a class, numbers floor(i m / k) for i = 0 .. k-1 are kept, all classes in the file's order:
the subset is spread evenly over the file. The first k would not do: the two halves of the published test file
come from different writers. Labelled like their nearest neighbour among the embedded training images, 8.8 %
of the first half and 3.9 % of the second are wrong; 8.4 % of the first 100 a class, 5.3 % of those kept here.

The same input gives the same bytes: no dates, no random numbers. Only the zlib that Python uses matters
(zlib-ng compresses to other bytes, with the same arrays inside).
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from jaxtyping import Int, Integer

from saliency_jax.data import idx
from saliency_jax.data.catalogue import idx_files

EMBEDDED = Path(__file__).resolve().parents[1] / "saliency_jax" / "data" / "embedded" / "mnist.npz"


@dataclass(frozen=True)
class Options:
    """What to keep, and where."""

    data_dir: Path
    """Folder of the four published MNIST .gz files."""
    output: Path = EMBEDDED
    """The .npz to write; by default the one in the package, which is overwritten."""
    train_per_class: int = 500
    """Training images of each class."""
    test_per_class: int = 100
    """Test images of each class."""


def spread_evenly(labels: Integer[np.ndarray, " n"], per_class: int) -> Int[np.ndarray, " kept"]:
    """Positions of as many images of each class, spread evenly over the file and in its order.

    Args:
        labels: the class of each image, `[n]`.
        per_class: how many images of each class to keep.

    Returns:
        Ascending positions, `[classes * per_class]`.

    Raises:
        ValueError: per_class is below 1 or above the size of the smallest class.
    """
    positions = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    smallest = min(len(of_class) for of_class in positions)
    if not 1 <= per_class <= smallest:
        raise ValueError(f"images a class must be from 1 to {smallest}, the smallest class; found {per_class}")
    kept = [of_class[np.arange(per_class) * len(of_class) // per_class] for of_class in positions]
    return np.sort(np.concatenate(kept))


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed .npz whose bytes depend on the arrays alone.

    `numpy.savez_compressed` leaves the system that wrote the file, and its attributes, to the Python at hand.

    Args:
        path: the file to write.
        arrays: what to store, by name.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = 0o644 << 16
            npy = io.BytesIO()
            np.lib.format.write_array(npy, array, version=(1, 0), allow_pickle=False)
            archive.writestr(member, npy.getvalue(), compresslevel=9)


def main(options: Options) -> None:
    """Read the published files, keep the subset and write it."""
    idx.check_present(options.data_dir, idx_files("mnist"))
    arrays = {}
    for split, per_class in (("train", options.train_per_class), ("test", options.test_per_class)):
        images, labels = idx.read_split("mnist", split, options.data_dir)
        kept = spread_evenly(labels, per_class)
        arrays[f"{split}_images"] = images[kept]
        arrays[f"{split}_labels"] = labels[kept]
    write_npz(options.output, arrays)
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    print(f"{options.output}: {options.output.stat().st_size} bytes, {shapes}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
