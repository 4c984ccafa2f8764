"""Maps of the kinds that break rank statistics and windows."""

import numpy as np


def map_kinds(shape, seed):
    """Name -> float64 map: light and heavy tails, exact zeros, ties, a background with few distinct values."""
    draw = np.random.default_rng(seed)
    normal = draw.normal(size=shape)
    return {
        "normal": normal,
        "heavy_tails": draw.standard_t(2, size=shape),
        "sparse": normal * (draw.random(shape) < 0.1),
        "tied": draw.integers(-3, 4, size=shape).astype(float),
        "two_values": (draw.random(shape) < 0.3).astype(float),
        "signed_zeros": np.where(draw.random(shape) < 0.5, 0.0, -0.0) + np.maximum(normal, 0) * (normal > 1),
        "tiny": normal * 1e-30,
        "offset": normal + 1000.0,
    }
