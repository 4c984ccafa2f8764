"""MNIST and Fashion-MNIST through TensorFlow Datasets (TFDS), with or without TensorFlow itself.

TFDS extracts the files of both data sets under the same four names. In one data_dir, with files that were
downloaded by hand, the second data set silently becomes a copy of the first. Here each preparation extracts
into a folder of its own, and whatever is read is compared with the known content of the split.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from saliency_jax.data.catalogue import DATASETS, idx_files, split_facts
from saliency_jax.data.checksums import check_content
from saliency_jax.data.idx import check_present, checked_payload, is_as_published
from saliency_jax.data.split import Split, from_grey_bytes
from saliency_jax.data.tfds_builder import idx_builder_class

_NEEDED = {
    "tensorflow_datasets": "tensorflow-datasets",
    "importlib_resources": "importlib-resources",
    "array_record": "array-record",
    "PIL": "pillow",
}


def load(name: str, split: str, data_dir: str | os.PathLike[str] | None = None) -> Split:
    """One split from data that TFDS has prepared, in the order of its records (shuffled once, then fixed).

    Nothing is downloaded and TensorFlow is not needed. The content is verified, whoever prepared it. Takes
    about 6 seconds for 60,000 images: TFDS decodes them one by one.

    Args:
        name: "mnist" or "fashion_mnist".
        split: "train" or "test".
        data_dir: the folder below which TFDS keeps its data sets; None for its own default,
            `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Returns:
        All images of the split.

    Raises:
        ModuleNotFoundError: a package of the extra `tfds` is missing.
        FileNotFoundError: the data set is not prepared there.
        ValueError: unknown name or split, records in a format without random access, or content that is not
            the data set's, such as MNIST under the name of Fashion-MNIST.

    Source:
        TFDS, "Data sources", `tfds.data_source`.
    """
    split_facts(name, split)
    check_installed()
    import tensorflow_datasets

    where = None if data_dir is None else os.fspath(Path(data_dir).expanduser())
    prepared = tensorflow_datasets.builder(name, data_dir=where).data_path
    if not prepared.exists():
        raise FileNotFoundError(
            f"TFDS has no {name} in {prepared}; "
            f"saliency_jax.data.tfds.prepare({name!r}, idx_dir, data_dir) makes it from published IDX files"
        )
    try:
        source = tensorflow_datasets.data_source(name, split=split, data_dir=where, download=False)
    except NotImplementedError as error:  # TFDS says so of its other file formats.
        raise ValueError(
            f"{name} in {prepared} has no array_record files, which reading without TensorFlow needs; "
            "prepare it in another data_dir, or remove that folder and prepare it again"
        ) from error
    records = source.__getitems__(list(range(len(source))))
    images = np.stack([record["image"] for record in records])[..., 0]
    labels = np.array([record["label"] for record in records])
    remedy = f"{prepared}; remove that folder and prepare it again"
    check_content(images, labels, name=name, split=split, origin=remedy)
    return from_grey_bytes(images, labels, DATASETS[name].class_names)


def prepare(name: str, idx_dir: str | os.PathLike[str], data_dir: str | os.PathLike[str]) -> Path:
    """Make a TFDS data set from the four published IDX files, and verify what was made.

    With TensorFlow installed, TFDS's own builder does it. Without, or with files that were compressed anew
    (which TFDS refuses), a builder of ours writes the same records under the same name, version and features.
    Nothing is downloaded. What is already prepared is verified and kept. Takes about 20 seconds.

    Args:
        name: "mnist" or "fashion_mnist".
        idx_dir: the folder that holds the four .gz files under their published names.
        data_dir: the folder below which TFDS keeps its data sets. Several may share it.

    Returns:
        The folder of the prepared data, `data_dir/name/version`.

    Raises:
        ModuleNotFoundError: a package of the extra `tfds` is missing.
        FileNotFoundError: IDX files are missing; all of them are named.
        ValueError: unknown name, an IDX file that is not the published one, or earlier data in data_dir whose
            content is not the data set's.

    Source:
        TFDS, `tfds.core.DatasetBuilder.download_and_prepare` and `tfds.download.DownloadConfig`.
    """
    files = idx_files(name)
    check_installed()
    source, target = Path(idx_dir).expanduser().resolve(), Path(data_dir).expanduser().resolve()
    check_present(source, files)
    for file in files:
        checked_payload(source, name, file)
    target.mkdir(parents=True, exist_ok=True)
    # A fresh folder each time: TFDS takes an extracted file of the same name for the right one.
    with tempfile.TemporaryDirectory(prefix=f"{name}_extracted_", dir=target) as extracted:
        builder = _builder_class(name, source)(data_dir=os.fspath(target))
        builder.download_and_prepare(
            download_dir=extracted,
            download_config=_offline(manual_dir=source, extract_dir=extracted),
            file_format="array_record",
        )
    for split in DATASETS[name].splits:
        load(name, split, target)
    return Path(builder.data_path)


def check_installed() -> None:
    """Refuse to go on without the packages of the extra `tfds`, two of which TFDS needs and does not declare.

    Raises:
        ModuleNotFoundError: names every missing package and the command that installs them.
    """
    missing = [package for module, package in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            f"source='tfds' needs {', '.join(missing)}, not installed here: pip install 'saliency-jax[tfds]'"
        )


def _builder_class(name: str, idx_dir: Path) -> Any:
    """TFDS's own builder where it can run on these files, ours otherwise."""
    import tensorflow_datasets

    official = tensorflow_datasets.builder_cls(name)
    tensorflow_there = importlib.util.find_spec("tensorflow") is not None
    if tensorflow_there and all(is_as_published(idx_dir, file) for file in idx_files(name)):
        return official
    return idx_builder_class(official, name, idx_dir)


def _offline(*, manual_dir: Path, extract_dir: str) -> Any:
    """A configuration that takes the files at hand and asks no server for prepared data."""
    import tensorflow_datasets

    return tensorflow_datasets.download.DownloadConfig(
        manual_dir=os.fspath(manual_dir), extract_dir=extract_dir, try_download_gcs=False
    )
