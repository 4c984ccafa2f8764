"""Similarity of two maps of one image: correlations, structure, oriented gradients.

Every metric is a pure function `metric(a, b) -> scalar`; batches go through `jax.vmap`. A map on which a metric is not
defined scores NaN, never a number in its place. The table `METRICS` names the ones that a sweep runs: those whose
value depends on the scale of the maps stand there with the scaling that was published with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from saliency_jax.similarity.correlation import cosine, pearson, spearman
from saliency_jax.similarity.orientation import hog, hog_correlation, hog_paper, hog_released_code
from saliency_jax.similarity.ranks import ranks
from saliency_jax.similarity.structure import ssim, ssim_paper, ssim_released_code
from saliency_jax.typing import Metric

METRICS: Mapping[str, Metric] = {
    "spearman": spearman,
    "spearman_abs": partial(spearman, absolute=True),
    "pearson": pearson,
    "cosine": cosine,
    "ssim": ssim_paper,
    "ssim_released_code": ssim_released_code,
    "hog": hog_paper,
    "hog_released_code": hog_released_code,
}
"""Name of a metric -> the metric. Every one takes two maps of one image and returns a scalar."""

__all__ = [
    "METRICS",
    "cosine",
    "hog",
    "hog_correlation",
    "hog_paper",
    "hog_released_code",
    "pearson",
    "ranks",
    "spearman",
    "ssim",
    "ssim_paper",
    "ssim_released_code",
]
