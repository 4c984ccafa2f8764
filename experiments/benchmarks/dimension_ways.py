"""Three ways to the dimension of some points: this library's, the paper's and scikit-dimension's."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist, squareform

from saliency_jax.dimension import two_nn

DISCARD = 0.1
OURS, PAPER, PEER, PEER_DOUBLE = SIDES = (
    "saliency_jax",
    "the paper's way",
    "scikit-dimension",
    "the same, float64",
)


def sampled(points: int, features: int, dimension: int, seed: int) -> np.ndarray:
    """Points of a Gaussian of some dimension in a space of more features, float32."""
    rng = np.random.default_rng(seed)
    inner = rng.standard_normal((points, dimension), np.float32)
    return inner @ rng.standard_normal((dimension, features), np.float32)


def ours(points: np.ndarray) -> float:
    """The dimension by this library."""
    return float(two_nn(points, discard=DISCARD).value)


def paper(points: np.ndarray) -> float:
    """The dimension by the procedure of the paper's code: all distances, all rows sorted, a line through 0.

    Source: Ansuini et al., NeurIPS 2019. That code leaves out the last two ratios whatever fraction is used.
    """
    distances = np.sort(squareform(pdist(points)), axis=1)
    nearest, second = distances[:, 1], distances[:, 2]
    usable = (nearest != 0) & (nearest != second)
    ratios = np.sort(second[usable] / nearest[usable])
    count = len(ratios)
    x = np.log(ratios)[:-2]
    y = -np.log(1 - np.arange(1, count + 1)[:-2] / count)
    used = int(np.floor((1 - DISCARD) * count))
    x, y = x[:used], y[:used]
    return float(x @ y / (x @ x))


def peer(points: np.ndarray) -> float:
    """The dimension by scikit-dimension."""
    from skdim.id import TwoNN

    return float(TwoNN(discard_fraction=DISCARD).fit_transform(points))
