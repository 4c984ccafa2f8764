"""Which images go together through a loop on the device."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from saliency_jax.checks import check_integer


def batch_places(count: int, batch_size: int) -> Int[np.ndarray, "batches size"]:
    """The places 0 to count - 1 in batches as equal as can be; the last place repeated fills the last batch.

    A loop takes its images by these: to cut the images themselves into batches would copy all of them.

    Args:
        count: how many images.
        batch_size: the most in a batch.

    Raises:
        ValueError: batch_size is under 1, or there are no images.
        TypeError: batch_size is no integer.
    """
    check_integer(batch_size, "batch_size")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if count == 0:
        raise ValueError("images must hold at least one, got none")
    batches = -(-count // batch_size)
    size = -(-count // batches)
    return np.minimum(np.arange(batches * size), count - 1).reshape(batches, size)
