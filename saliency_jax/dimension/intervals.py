"""Intervals for estimates whose points share their neighbours.

An estimate over N points is, to first order, its limit plus the sum of the points' influences. Were they independent,
its variance would be the sum of their squares; but a point and its neighbour see each other, and an interval from that
sum covers the truth in 83 to 87% of samples instead of 95%.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_number

SHARED = 1.6
"""How many times the independent points' variance the variance on a flat torus is: 1.5 to 1.75 for dimensions 1 to 20,
for TwoNN by line and by likelihood and for Levina-Bickel with 5 and 20 neighbours."""


def variance(influences: Array, indices: Array) -> Array:
    """The variance of an estimate from its points' influences.

    sum over points m of (sum over i that have m in their neighbourhood of psi_i)^2 / (k + 1), a neighbourhood being the
    point and its k neighbours: two points are counted as dependent in the proportion of the neighbourhoods that they
    share. In high dimensions dependence reaches beyond, so that it is no less than SHARED times sum psi_i^2.

    Args:
        influences: psi, what the estimate gains by each point, `[point]`; 0 for a point that is not used.
        indices: the neighbours that each point's part is made of, `[point, k]`.

    Returns:
        A scalar.

    Source: Conley, Journal of Econometrics 92 (1999), for sums of spatially dependent terms; the shares are those of
        Bartlett's kernel, with which the sum of all products cannot be negative.
    """
    psi = jnp.where(influences == 0, 0, influences - influences.sum() / jnp.maximum((influences != 0).sum(), 1))
    neighbourhoods = psi.at[indices].add(jnp.broadcast_to(psi[:, None], indices.shape))
    shared = jnp.square(neighbourhoods).sum() / (indices.shape[1] + 1)
    return jnp.maximum(shared, SHARED * jnp.square(psi).sum())


def check_confidence(confidence: float) -> None:
    """Raise ValueError unless a confidence is between 0 and 1."""
    check_number(confidence, "confidence")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")


def interval(value: Any, variance: Any, confidence: float) -> tuple[Any, Any]:
    """value * exp(-+ z sqrt(variance) / value): normal on the scale of the logarithm, where it cannot cross 0."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    factor = np.exp(z * np.sqrt(np.asarray(variance)) / np.asarray(value))
    return value / factor, value * factor
