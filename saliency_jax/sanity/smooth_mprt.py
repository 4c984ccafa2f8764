"""The smooth model parameter randomization test: the cascade from the input up, of maps averaged over noise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import xarray as xr

from saliency_jax.explainers import smoothgrad
from saliency_jax.sanity.parameter_test import parameter_randomization
from saliency_jax.similarity import ssim
from saliency_jax.similarity.scaling import by_mean_square, scaled
from saliency_jax.typing import Apply, Explainer, Images, Init, Metric, Params

SAMPLES = 50
NOISE = 0.1
"""The standard deviation of the noise as a fraction of the image's range."""

SMOOTH_METRICS: Mapping[str, Metric] = {"ssim_mean_square": scaled(ssim, by_mean_square)}
"""SSIM of maps of mean square 1, signs kept. Its constants are those of a data range of 2, small beside a variance of
about 1; Quantus takes the range of the two maps together instead, which a single large value widens."""


def smooth_mprt(
    apply: Apply,
    params: Params,
    init: Init,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    samples: int = SAMPLES,
    noise: float = NOISE,
    at_once: int | None = None,
    **options: Any,
) -> xr.Dataset:
    """`parameter_randomization` of every explainer averaged over noisy copies of the image, from the input up.

    similarity[e, m, s, k, i] = metric_m(smooth_e(trained, x_i), smooth_e(stage s of seed k, x_i)), where smooth_e(f, x)
    is the mean of explain_e(f, x + n) over noise n ~ N(0, (noise * (max x - min x))^2), the same for all models. By
    default order="bottom_up", so that no trained layer below keeps the scale of what is passed on, and
    metrics=SMOOTH_METRICS.

    Cost: `samples` times that of `parameter_randomization`.

    Args:
        apply, params, init, images, targets, explainers, key: as in `parameter_randomization`.
        samples: N, how many noisy copies.
        noise: the standard deviation as a fraction of the image's range.
        at_once: how many copies are explained together; see `smoothgrad`.
        options: further options of `parameter_randomization`; those that are given replace the defaults above.

    Returns:
        The Dataset of `parameter_randomization`, its attributes with `samples` and `noise`.

    Raises:
        ValueError, TypeError: as `parameter_randomization` and `smoothgrad`.

    Source: Hedstrom, Weber, Lapuschkin and Hoehne 2024, "Sanity checks revisited", section 3.1 (sMPRT).
    """
    smooth = partial(smoothgrad, samples=samples, noise=noise, at_once=at_once)
    smoothed = {name: smooth(explain) for name, explain in explainers.items()}
    settings = {"order": "bottom_up", "metrics": SMOOTH_METRICS, **options}
    found = parameter_randomization(apply, params, init, images, targets, smoothed, key=key, **settings)
    return found.assign_attrs(test="smooth_mprt", samples=samples, noise=noise)
