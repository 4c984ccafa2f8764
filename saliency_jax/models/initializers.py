"""The two ways in which the paper's networks were given random weights: the paper's text and its released code.

TensorFlow's truncated normal, which both mean, draws again past two standard deviations and does not stretch what is
left, so the weights' own standard deviation is 0.8796 of the one that is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jax import Array
from jax.nn import initializers
from jax.nn.initializers import Initializer

from saliency_jax.typing import PRNGKey


class Initializers(NamedTuple):
    """How a layer draws its weights, kernels and biases apart: functions `(key, shape, dtype) -> array`."""

    kernel: Initializer
    bias: Initializer


def truncated_normal(scale: float) -> Initializer:
    """Normal draws of mean 0, repeated past two standard deviations.

    w = scale * z, z ~ N(0, 1) given |z| <= 2, so that std(w) = 0.8796 * scale.

    Args:
        scale: standard deviation of the normal before it is cut.

    Returns:
        The initializer `(key, shape, dtype) -> array`.

    Raises:
        ValueError: scale is not positive and finite.

    Source: `tf.truncated_normal`, as in the released code of Adebayo et al. (2018).
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale}")
    return initializers.truncated_normal(scale, lower=-2.0, upper=2.0)


def fan_in_truncated_normal(gain: float) -> Initializer:
    """Normal draws cut at two standard deviations, narrower the more inputs a unit has.

    w = gain / sqrt(fan_in) * z, z ~ N(0, 1) given |z| <= 2, fan_in the product of all axes but the last.

    Args:
        gain: standard deviation of the uncut normal for a unit with one input.

    Returns:
        The initializer `(key, shape, dtype) -> array`, for kernels of two or more axes, outputs last.

    Raises:
        ValueError: gain is not positive and finite; from the initializer, a shape without an input axis.

    Source: the MLP of the released code of Adebayo et al. (2018), gain 2.
    """
    if not 0 < gain < math.inf:
        raise ValueError(f"gain must be positive and finite, got {gain}")

    def init(key: PRNGKey, shape: Sequence[int], dtype: Any = float, out_sharding: Any = None) -> Array:
        if len(shape) < 2 or 0 in shape:
            raise ValueError(f"shape must be that of a kernel, inputs before outputs, got {tuple(shape)}")
        scale = gain / math.sqrt(math.prod(shape[:-1]))
        return truncated_normal(scale)(key, shape, dtype, out_sharding)

    return init


INITIALIZERS: dict[str, Initializers] = {
    "paper": Initializers(truncated_normal(0.01), truncated_normal(0.01)),
    "released_cnn": Initializers(truncated_normal(0.1), initializers.constant(0.1)),
    "released_mlp": Initializers(fan_in_truncated_normal(2.0), initializers.zeros),
}
"""Name -> initializers. "paper" is how the text redraws every weight and bias. The released code trains from each
network's own and goes back to them; their biases are constants, so a randomization resets them and does not draw."""
