"""Depthwise convolutions as sums of shifted products: on a CPU XLA computes them ten times more slowly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

MOST_TAPS = 128
"""Larger kernels stay convolutions: a program with a term for each of their weights takes long to compile."""


def is_depthwise(lhs: Array, rhs: Array, params: Mapping[str, Any]) -> bool:
    """Whether a convolution of `[batch, *spatial, channel]` takes every channel by itself, with few weights each."""
    channels = lhs.shape[-1]
    groups = params["feature_group_count"], params["batch_group_count"]
    *taps, inputs, outputs = rhs.shape
    return (
        groups == (channels, 1) and channels > 1 and (inputs, outputs) == (1, channels) and math.prod(taps) <= MOST_TAPS
    )


def depthwise_convolution(lhs: Array, rhs: Array, params: Mapping[str, Any]) -> Array:
    """y[b, p, c] = sum over taps t of x[b, p * stride + t * dilation, c] * w[t, 0, c], the taps one after the other.

    Args:
        lhs: `[batch, *spatial, channel]`.
        rhs: `[*spatial, 1, channel]`.
        params: of `conv_general_dilated`: window_strides, padding, lhs_dilation, rhs_dilation.

    Returns:
        `[batch, *spatial, channel]`, what `conv_general_dilated` gives up to rounding.
    """
    strides, dilation = params["window_strides"], params["rhs_dilation"]
    spread = [
        (low, high, apart - 1) for (low, high), apart in zip(params["padding"], params["lhs_dilation"], strict=True)
    ]
    padded = lax.pad(lhs, jnp.zeros((), lhs.dtype), [(0, 0, 0), *spread, (0, 0, 0)])
    batch, *sizes, channels = padded.shape
    taps = rhs.shape[:-2]
    # One past the last place at which the first weight stands.
    ends = [size - (tap - 1) * apart for size, tap, apart in zip(sizes, taps, dilation, strict=True)]
    total = None
    for place in itertools.product(*map(range, taps)):
        begin = [index * apart for index, apart in zip(place, dilation, strict=True)]
        stop = [first + end for first, end in zip(begin, ends, strict=True)]
        seen = lax.slice(padded, (0, *begin, 0), (batch, *stop, channels), (1, *strides, 1))
        term = seen * jnp.broadcast_to(rhs[*place, 0], seen.shape)
        total = term if total is None else total + term
    assert total is not None
    return total
