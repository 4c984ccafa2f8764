"""The report of a folder of results, finished or broken off."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from saliency_jax import results
from saliency_jax.report import finished_parts, sanity_page

RESULTS, PARTS, PAGE = "results.nc", "parts", "report.html"


def write_report(
    folder: Path,
    *,
    command: str,
    settings: Mapping[str, Any] | None = None,
    add: Mapping[str, Any] | None = None,
) -> Path:
    """Write report.html beside results: about what is finished where the run was broken off.

    Args:
        folder: of a randomization test: holds results.nc, or parts/.
        command: that makes the page again.
        settings: names and values to be shown.
        add: variables for the Dataset of a run that was broken off, whose parts hold no images.

    Returns:
        The page's path.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: what it holds cannot be read, or no explainer was finished.
    """
    if (folder / RESULTS).is_file():
        dataset, missing = results.read_dataset(folder / RESULTS), tuple[str, ...]()
    elif (folder / PARTS).is_dir():
        dataset, missing, _ = finished_parts(folder / PARTS)
        dataset = dataset.assign(add or {})
    else:
        raise FileNotFoundError(f"{folder} must hold {RESULTS} or {PARTS}/, found neither")
    return write_page(folder, dataset, command=command, settings=settings, missing=missing)


def write_page(
    folder: Path,
    dataset: xr.Dataset,
    *,
    command: str,
    settings: Mapping[str, Any] | None = None,
    missing: tuple[str, ...] = (),
) -> Path:
    """Write report.html about a Dataset; its path."""
    page = folder / PAGE
    text = sanity_page(dataset, command=command, settings=settings, missing=missing)
    results.write_bytes(page, text.encode())
    return page
