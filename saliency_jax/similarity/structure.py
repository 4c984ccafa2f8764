"""The structural similarity index (SSIM), and the two ways in which it was used to compare saliency maps."""

from __future__ import annotations

import math
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from saliency_jax.checks import check_finite_number, check_integer
from saliency_jax.similarity.pairs import as_pair, planes
from saliency_jax.similarity.scaling import by_largest_magnitude, to_unit_interval


def ssim(
    a: Float[Array, ...],
    b: Float[Array, ...],
    *,
    window: Literal["uniform", "gaussian"] = "uniform",
    size: int | None = None,
    sigma: float = 1.5,
    data_range: float = 2.0,
    k1: float = 0.01,
    k2: float = 0.03,
    sample_covariance: bool = True,
) -> Float[Array, ""]:
    """Mean structural similarity of two maps as they are, over all windows that lie inside.

    `SSIM = (2 m_a m_b + C1)(2 c_ab + C2) / ((m_a^2 + m_b^2 + C1)(v_a + v_b + C2))`, `C = (k data_range)^2`,
    m, v and c the weighted mean, variance and covariance in a window; then the mean over windows and channels.

    Args:
        a: a map, `[height, width]` or `[height, width, channel]`.
        b: the other map, in the same shape.
        window: the weights in a window: all equal, or a Gaussian.
        size: side of the window in pixels, odd. By default 7 if uniform, `2 floor(3.5 sigma + 0.5) + 1` if Gaussian.
        sigma: standard deviation of the Gaussian in pixels.
        data_range: the largest difference that the scale of the maps allows; 2 for maps in [-1, 1].
        k1: constant of the luminance term.
        k2: constant of the contrast and structure term.
        sample_covariance: multiply variances and covariance by `n / (n - 1)`, n the pixels of a window.

    Returns:
        The index, at most 1. Two equal maps score 1, also if they are constant. NaN if a map holds a NaN or an
        infinity.

    Raises:
        TypeError: if a map is not an array of floats.
        ValueError: if the shapes differ or are not those of a map, if an option is outside its range, or if the
            window is larger than the map.

    Source:
        Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
        similarity" (2004), equation 13. The defaults are those of `skimage.metrics.structural_similarity`.
    """
    a, b = as_pair(a, b)
    a, b = planes(a), planes(b)
    for argument, value in (("sigma", sigma), ("data_range", data_range), ("k1", k1), ("k2", k2)):
        check_finite_number(value, argument)
    if sigma <= 0 or data_range <= 0:
        raise ValueError(f"sigma and data_range must be positive, found {sigma} and {data_range}")
    weights = _window_weights(window, size, sigma)
    taps = len(weights)
    if min(a.shape[1:]) < taps:
        raise ValueError(
            f"the window must fit into the map, found a window of {taps} by {taps} pixels "
            f"and a map of {a.shape[1]} by {a.shape[2]}"
        )

    # Variances do not feel a shift, and they are differences of squares: small means keep their digits.
    shift_a, shift_b = a.mean((1, 2), keepdims=True), b.mean((1, 2), keepdims=True)
    x, y = a - shift_a, b - shift_b
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = _window_means(jnp.stack([x, y, x * x, y * y, x * y]), weights)
    pixels = taps * taps
    unbiased = pixels / (pixels - 1) if sample_covariance else 1.0
    variances = unbiased * (mean_xx - mean_x * mean_x + mean_yy - mean_y * mean_y)
    covariance = unbiased * (mean_xy - mean_x * mean_y)

    c1, c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2
    mean_a, mean_b = mean_x + shift_a, mean_y + shift_b
    numerator = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    denominator = (mean_a * mean_a + mean_b * mean_b + c1) * (variances + c2)
    return jnp.mean(numerator / denominator)


def ssim_paper(a: Float[Array, ...], b: Float[Array, ...]) -> Float[Array, ""]:
    """SSIM as the paper describes it: maps scaled to [-1, 1], uniform window of 5, data range 2.

    Each map is divided by its largest magnitude; a map that is zero everywhere scores NaN. A map with heavy tails
    becomes small by it, and small maps look alike beside the constants: read the score beside its null.

    Args:
        a: a map, `[height, width]` or `[height, width, channel]`.
        b: the other map, in the same shape.

    Returns:
        The index, at most 1.

    Raises:
        TypeError: if a map is not an array of floats.
        ValueError: if the shapes differ or are not those of a map, or if a side is shorter than 5 pixels.

    Source:
        Adebayo et al., "Sanity Checks for Saliency Maps" (2018), section 4 and appendix. The paper names the
        size and not the weights: that they are uniform, as by default in scikit-image, is our reading.
    """
    a, b = as_pair(a, b)
    return ssim(by_largest_magnitude(a), by_largest_magnitude(b), window="uniform", size=5, data_range=2.0)


def ssim_released_code(a: Float[Array, ...], b: Float[Array, ...]) -> Float[Array, ""]:
    """SSIM as the released code computes it: maps scaled to [0, 1], Gaussian window of 11, data range 2.

    Signs are kept. A constant map scores NaN. Independent maps with heavy tails score 0.8 and more here, because
    the data range is twice the range of the maps and most pixels sit at one value: read it beside its null.

    Args:
        a: a map, `[height, width]` or `[height, width, channel]`.
        b: the other map, in the same shape.

    Returns:
        The index, at most 1.

    Raises:
        TypeError: if a map is not an array of floats.
        ValueError: if the shapes differ or are not those of a map, or if a side is shorter than 11 pixels.

    Source:
        Notebooks published with Adebayo et al., "Sanity Checks for Saliency Maps" (2018):
        `compare_ssim(gaussian_weights=True, multichannel=True)`, whose data range for floats was 2.
    """
    a, b = as_pair(a, b)
    return ssim(to_unit_interval(a), to_unit_interval(b), window="gaussian", sigma=1.5, data_range=2.0)


def _window_weights(window: str, size: int | None, sigma: float) -> np.ndarray:
    """The weights of a window along one axis, summing to one."""
    if size is not None:
        check_integer(size, "size")
    if size is not None and (size < 3 or size % 2 == 0):
        raise ValueError(f"size must be odd and at least 3, found {size}")
    match window:
        case "uniform":
            weights = np.ones(size or 7)
        case "gaussian":
            radius = size // 2 if size is not None else math.floor(3.5 * sigma + 0.5)
            weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        case _:
            raise ValueError(f"window must be 'uniform' or 'gaussian', found {window!r}")
    if len(weights) < 3:
        raise ValueError(f"a Gaussian window must reach at least one pixel to each side, found sigma={sigma}")
    return weights / weights.sum()


def _window_means(
    fields: Float[Array, "field channel height width"], weights: np.ndarray
) -> Float[Array, "field channel rows columns"]:
    """Weighted means over every window that lies inside: one sum of shifted slices along each axis.

    Slices fuse into the arithmetic around them; on the CPU a convolution of so few channels takes ten times as long.
    """
    for axis in (-2, -1):
        count = fields.shape[axis] - len(weights) + 1
        fields = sum(
            (float(weight) * lax.slice_in_dim(fields, i, i + count, axis=axis) for i, weight in enumerate(weights)),
            start=jnp.zeros((), fields.dtype),
        )
    return fields
