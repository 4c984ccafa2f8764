"""Means of a measurement over images and seeds, with bootstrap intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

LEVEL = 0.95
RESAMPLES = 1000


def mean_interval(
    values: xr.DataArray,
    *,
    dims: tuple[str, ...] = ("seed", "image"),
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> xr.Dataset:
    """The mean over some dimensions and a percentile bootstrap interval that resamples each of them independently.

    Images are shared by all seeds and seeds by all images, so that both are drawn with replacement, crossed; a plain
    bootstrap over the pairs would take images * seeds measurements for as many independent ones. NaN values are left
    out of the means; `count` says how many were not.

    Args:
        values: a measurement, such as `dataset.similarity`.
        dims: the dimensions to average over, one or two; those that values do not have are passed over.
        level: the share of resampled means inside the interval.
        resamples: how many.

    Returns:
        `mean`, `low`, `high`, `count` over the other dimensions. A mean of nothing is NaN.

    Raises:
        ValueError: values have none of dims, level is not inside (0, 1), resamples is under 1.

    Source: the crossed ("pigeonhole") bootstrap, Owen 2007.
    """
    over = [dim for dim in dims if dim in values.dims]
    if not 1 <= len(over) <= 2:
        raise ValueError(f"values must have one or two of the dimensions {dims}, got {values.dims}")
    if not 0 < level < 1:
        raise ValueError(f"level must be inside (0, 1), got {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    rest = [dim for dim in values.dims if dim not in over]
    array = values.transpose(*rest, *over).to_numpy().astype(np.float64)
    if len(over) == 1:
        array = array[..., None, :]
    mean, means = crossed_means(array, resamples=resamples)
    low, high = interval(means, level)
    coords: dict[Any, Any] = {dim: values[dim] for dim in rest if dim in values.coords}
    return xr.Dataset(
        {
            "mean": (rest, mean),
            "low": (rest, low),
            "high": (rest, high),
            "count": (rest, np.isfinite(array).sum((-2, -1))),
        },
        coords=coords,
    )


def crossed_means(array: np.ndarray, *, resamples: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the last two axes, and bootstrap means that resample each of them, crossed.

    Arrays of as many images get the same draws of images, so that means of several arrays can be set against each
    other draw by draw; NaN values are left out.

    Args:
        array: `[..., seed, image]`.
        resamples: how many draws.

    Returns:
        The means `[...]` and the resampled means `[resamples, ...]`; a mean of nothing is NaN.
    """
    known = np.isfinite(array)
    filled = np.where(known, array, 0)
    rows, columns = (
        np.random.default_rng(axis).multinomial(n, np.full(n, 1 / n), size=resamples)
        if n > 1
        else np.ones((resamples, 1))
        for axis, n in enumerate(array.shape[-2:])
    )

    def resampled(x: np.ndarray) -> np.ndarray:
        return np.einsum("bs,...si,bi->b...", rows, x, columns, optimize=True)

    with np.errstate(invalid="ignore", divide="ignore"):
        means = resampled(filled) / resampled(known.astype(float))
        return np.asarray(filled.sum((-2, -1)) / known.sum((-2, -1))), means


def interval(means: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval of resampled means `[resamples, ...]`; NaN where every one is NaN."""
    tail = (1 - level) / 2
    empty = np.isnan(means).all(axis=0)
    low, high = np.nanquantile(np.where(empty, 0, means), [tail, 1 - tail], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)
