"""TwoNN: the dimension from the ratio of the distances to the two nearest neighbours."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_number
from saliency_jax.dimension.correlation import correlation
from saliency_jax.dimension.intervals import check_confidence, interval, variance
from saliency_jax.dimension.points import NoDimension
from saliency_jax.dimension.result import Dimension, neighbours_of

Method = Literal["linear", "ml", "censored_ml"]


def two_nn(points: Any, *, discard: float = 0.1, method: Method = "linear", confidence: float = 0.95) -> Dimension:
    """TwoNN: where points lie locally uniformly on a set of dimension d, mu = r2 / r1 has P(mu > m) = m^-d.

    linear: with the N ratios sorted and F_i = i / N, the slope through 0 of -log(1 - F_i) against log mu_i over the
    first (1 - discard) N of them. ml: (N - 1) / sum log mu, over all. censored_ml: the likelihood of the smallest
    n = (1 - discard) N, of the others that they are larger: (n - 1) / (sum_(i <= n) log mu_i + (N - n) log mu_n).

    A point with a copy (r1 = 0) and one whose two neighbours are equally far (r1 = r2) have no ratio that counts, and
    are left out, as in the paper's code.

    Args:
        points: `[point, feature, ...]`, or the `Neighbours` found among them.
        discard: the fraction of the largest ratios left out: far neighbours feel that density is not constant. "ml"
            leaves out none.
        method: "linear" (the paper's), "ml" or "censored_ml".
        confidence: of the interval.

    Returns:
        Dimension; `fit` is Pearson's correlation of log mu_i and -log(1 - F_i) over the ratios that are used.

    Raises:
        ValueError: discard is not in [0, 1), the method is unknown, or the confidence is not between 0 and 1.
        NoDimension: fewer than 3 ratios are left, or points are not finite or all equal.
        TypeError: points are not floating point.

    Source: Facco et al., Scientific Reports 7 (2017) 12140; the fit and what is left out: Ansuini et al., NeurIPS 2019.
    """
    check_options(discard, method)
    check_confidence(confidence)
    found = neighbours_of(points, 2)
    # Counted on the host: every operation outside of a program would be compiled anew for every number of points.
    distances, indices = (np.asarray(part)[:, :2] for part in (found.distances, found.indices))
    usable = (distances[:, 0] > 0) & (distances[:, 0] < distances[:, 1])
    ratios, duplicates = int(usable.sum()), int((distances[:, 0] == 0).sum())
    kept = kept_of(len(distances), discard)
    if ratios < 3 or (method != "ml" and kept[ratios] < 2):
        raise NoDimension(
            f"points must have at least 3 ratios of different distances, of which 2 are not discarded; got {ratios} "
            f"from {len(distances)} points ({duplicates} have a copy), {kept[ratios]} after discard={discard}"
        )
    value, spread, fit = (float(part) for part in estimate(distances, indices, kept, method=method))
    low, high = interval(value, spread, confidence)
    scale = float(distances[usable].sum() / (2 * ratios))
    return Dimension(value, float(low), float(high), ratios, duplicates, fit, value / ratios**0.5, scale)


def check_options(discard: float, method: str) -> None:
    """Raise ValueError unless ratios can be discarded so, and the method is known."""
    check_number(discard, "discard")
    if not 0 <= discard < 1:
        raise ValueError(f"discard must be in [0, 1), got {discard}")
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")


def kept_of(points: int, discard: float) -> np.ndarray:
    """How many of n ratios are kept, for every n up to the number of points: a product in float32 can miss by one.

    In double precision 10 * (1 - 0.8) is a little less than 2, and two are meant.
    """
    return np.floor(np.arange(points + 1) * (1 - discard) + 1e-9).astype(np.int32)


@partial(jax.jit, static_argnames="method")
def estimate(distances: Array, indices: Array, kept: Any, *, method: Method) -> tuple[Array, Array, Array]:
    """The dimension, its variance and the fit from two neighbours of each point; NaN where too few are usable.

    Args:
        distances: `[point, 2]`.
        indices: `[point, 2]`.
        kept: how many of n ratios are used, `[point + 1]`.
        method: as in `two_nn`.
    """
    near, far = distances.T
    usable = (near > 0) & (near < far)
    count = usable.sum()
    # log(r2 / r1) of two nearly equal distances: their difference is exact, their ratio is not.
    logs = jnp.where(usable, jnp.log1p((far - near) / jnp.where(usable, near, 1)), jnp.inf)
    order = jnp.argsort(logs)
    rank = jnp.arange(1, len(logs) + 1)
    kept = jnp.asarray(kept)[count]
    used = rank <= {"linear": jnp.minimum(kept, count - 2), "ml": count, "censored_ml": kept}[method]
    fitted = used & (rank <= count - 2)
    x = jnp.where(used, logs[order], 0)
    y = jnp.where(fitted, -jnp.log1p(-jnp.minimum(rank, count - 1) / count), 0)
    if method == "linear":
        value, influences = _line(x, y, used, rank / count)
    else:
        value, influences = _likelihood(x, used, count)
    psi = jnp.zeros_like(logs).at[order].set(jnp.where(usable[order], influences, 0))
    return value, variance(psi, indices), correlation(x, y, fitted)


def _line(x: Array, y: Array, used: Array, quantile: Array) -> tuple[Array, Array]:
    """The slope through 0, and the influence of each ratio on it by its rank.

    A ratio x_j moves the quantiles above it: psi_j = sum_i x_i (1{x_j <= x_i} - u_i) / (1 - u_i) / (N sum x^2).
    """
    square = jnp.square(x).sum()
    count = 1 / quantile[0]
    weight = jnp.where(used, x / jnp.where(used, 1 - quantile, 1), 0) / (count * square)
    at_or_above = jnp.cumsum(weight[::-1])[::-1]
    return (x * y).sum() / square, at_or_above - (weight * quantile).sum()


def _likelihood(x: Array, used: Array, count: Array) -> tuple[Array, Array]:
    """The maximum of the censored likelihood, (n - 1) over the sum, and the influence of each ratio by its rank."""
    kept = used.sum()
    lasting = jnp.where(used, x, x[kept - 1])
    total = x.sum() + (count - kept) * x[kept - 1]
    value = (kept - 1) / total
    return value, value * (used - value * lasting) / kept
