"""Every estimate of one set of points, as a Dataset; what they do not have is NaN, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from saliency_jax.checks import check_integer, check_sequence
from saliency_jax.dimension.gride import gride
from saliency_jax.dimension.intervals import check_confidence
from saliency_jax.dimension.levina_bickel import levina_bickel
from saliency_jax.dimension.neighbours import nearest_neighbours
from saliency_jax.dimension.points import NoDimension
from saliency_jax.dimension.result import Dimension
from saliency_jax.dimension.spectrum import check_share, gaussian_control, pca_dimension, spectrum
from saliency_jax.dimension.two_nn import check_options, two_nn
from saliency_jax.keys import named

ESTIMATORS = ("two_nn", "levina_bickel", "pca", "gaussian_control")


def check_settings(
    ranges: Sequence[int], neighbours: int, *, discard: float, variance: float, confidence: float
) -> None:
    """Raise where an option of the estimators is out of its range, before anything is computed."""
    check_sequence(ranges, int, "ranges")
    if any(k < 1 for k in ranges):
        raise ValueError(f"ranges must be numbers of neighbours of at least 1, got {list(ranges)}")
    check_integer(neighbours, "neighbours")
    if neighbours < 3:
        raise ValueError(f"neighbours must be at least 3, got {neighbours}")
    check_options(discard, "linear")
    check_share(variance)
    check_confidence(confidence)


def estimates(
    values: Any,
    *,
    key: Any,
    ranges: Sequence[int],
    neighbours: int,
    discard: float,
    variance: float,
    confidence: float,
) -> xr.Dataset:
    """Every estimate of some points, with their neighbours found once.

    Args:
        values: `[point, ...]`.
        key, ranges, neighbours, discard, variance, confidence: as in `layer_dimensions`.

    Returns:
        The variables of `layer_dimensions` without the layer. Where `NoDimension` is raised they are NaN and `reason`
        is what it said; any other error is the caller's.
    """
    points = np.asarray(values).reshape(len(values), -1)
    reasons: dict[str, None] = {}

    def attempt(estimate: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return estimate()
        except NoDimension as error:
            reasons[str(error)] = None
            return otherwise

    found = attempt(lambda: nearest_neighbours(points, neighbours=max(neighbours, 2, *(2 * k for k in ranges))), None)
    nan = np.full(len(ranges), np.nan)
    none, no_curve = (Dimension(x, x, x, 0, 0, x, x, x) for x in (np.nan, nan))
    rows, curve = dict.fromkeys(ESTIMATORS, none), no_curve
    shares = np.full(len(points), np.nan)
    copies = 0 if found is None else np.count_nonzero(np.asarray(found.distances)[:, 0] == 0)
    if found is not None:
        # Where points have copies, the neighbours among distinct ones are others.
        distinct = points if copies else found
        by_ratio = partial(two_nn, discard=discard, confidence=confidence)
        by_likelihood = partial(levina_bickel, neighbours=neighbours, confidence=confidence)
        control = named(key, "gaussian control")
        components = spectrum(points, standardized=True)
        variances = np.asarray(components.variances, np.float64)
        shares[: len(variances)] = variances / variances.sum()
        rows = {
            "two_nn": attempt(lambda: by_ratio(found), none),
            "levina_bickel": attempt(lambda: by_likelihood(distinct), none),
            "pca": attempt(lambda: pca_dimension(components, variance=variance, confidence=confidence), none),
            "gaussian_control": attempt(lambda: by_ratio(gaussian_control(spectrum(points), control)), none),
        }
        if ranges:
            curve = attempt(lambda: gride(distinct, ranges=ranges, confidence=confidence), no_curve)
            if curve is not no_curve and np.isnan(curve.value).any():
                without = [k for k, value in zip(ranges, curve.value, strict=True) if np.isnan(value)]
                reasons[f"the likelihood of Gride has no maximum for ranges {without}"] = None
    each = {
        name: ("estimator", [float(getattr(rows[estimator], field)) for estimator in ESTIMATORS])
        for name, field in (("dimension", "value"), ("low", "low"), ("high", "high"), ("fit", "fit"))
    }
    scales = {"gride": curve.value, "gride_low": curve.low, "gride_high": curve.high, "gride_scale": curve.scale}
    return xr.Dataset(
        {
            **each,
            **{name: ("range", np.asarray(values, float)) for name, values in scales.items()},
            "spectrum": ("component", shares),
            "points": rows["two_nn"].points,
            "duplicates": copies,
            "features": points.shape[1],
            "reason": "; ".join(reasons),
        },
        coords={"estimator": list(ESTIMATORS), "range": list(ranges), "component": np.arange(1, len(points) + 1)},
    )
