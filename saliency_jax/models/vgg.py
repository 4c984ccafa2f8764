"""The VGG networks, plain and with BatchNorm, as torchvision publishes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jaxtyping import Float

from saliency_jax.checks import check_images
from saliency_jax.tracing.pooling import max_pool
from saliency_jax.typing import Images

CHANNELS = (64, 128, 256, 512, 512)
"""Channels of the convolutions before each of the five max pools."""
POOLED = 7
"""Height and width of what the first dense layer sees, in places."""
SMALLEST = 2 ** len(CHANNELS)
"""Height and width of the smallest image that the five max pools leave a place of, in pixels."""


class VGG(nn.Module):
    """3x3 convolutions with ReLU in five groups, a 2x2 max pool after each, and three dense layers: VGG-16 by default.

    x <- relu(conv(x) + b), or relu(BatchNorm(conv(x) + b)). What is not 7x7 after the last max pool is averaged over
    the 7x7 bins from floor(i n / 7) to ceil((i + 1) n / 7), so that images of 32 pixels and more will do.

    Its stages are conv1_1, conv1_2, ..., conv5_3, fc6, fc7 and logits. BatchNorm takes its running averages, and there
    is no dropout. The first dense layer sees the places row by row, each with its channels.

    Args:
        depths: convolutions of each of the five groups.
        batch_norm: whether a BatchNorm stands between each convolution and its ReLU.
        units: units of each of the two hidden dense layers.
        classes: number of logits.

    Source: Simonyan and Zisserman (2015), table 1 (configurations A, B, D and E); the rest as in torchvision 0.28,
    `torchvision.models.vgg`.
    """

    depths: Sequence[int] = (2, 2, 3, 3, 3)
    batch_norm: bool = False
    units: int = 4096
    classes: int = 1000

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch class"]:
        """The logits of a batch of images; ValueError or TypeError where they are none, or smaller than 32 pixels."""
        check_images(images)
        if min(images.shape[1:3]) < SMALLEST:
            raise ValueError(f"images must be at least {SMALLEST} pixels high and wide for a VGG, got {images.shape}")
        hidden = jnp.asarray(images)
        for group, (channels, depth) in enumerate(zip(CHANNELS, self.depths, strict=True), start=1):
            for i in range(1, depth + 1):
                convolution = _Convolution(channels, self.batch_norm, name=f"conv{group}_{i}")
                hidden = jax.nn.relu(convolution(hidden))
            hidden = max_pool(hidden, (2, 2), (2, 2))
        hidden = adaptive_average_pool(hidden, POOLED).reshape(hidden.shape[0], -1)
        for name in ("fc6", "fc7"):
            hidden = jax.nn.relu(_dense(self.units, name)(hidden))
        return _dense(self.classes, "logits")(hidden)


_DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}

VGGS: dict[str, dict[str, Any]] = {
    **{name: {"depths": depths, "batch_norm": False} for name, depths in _DEPTHS.items()},
    **{f"{name}_bn": {"depths": depths, "batch_norm": True} for name, depths in _DEPTHS.items()},
}
"""Name in torchvision and timm -> the settings of VGG: `VGG(**VGGS["vgg16_bn"])`."""


def adaptive_average_pool(
    inputs: Float[Array, "batch height width channel"], size: int
) -> Float[Array, "batch {size} {size} channel"]:
    """Means over size x size bins that cover the inputs evenly, whatever their height and width.

    out_i = mean of the rows from floor(i n / size) to ceil((i + 1) n / size), the last excluded, and so for the
    columns. Bins overlap where size does not divide n; where n is under size, they repeat places.

    Args:
        inputs: activations, channels last.
        size: bins along each of the two axes.

    Returns:
        The means; the inputs themselves where they are of that size.

    Source: `torch.nn.AdaptiveAvgPool2d`.
    """
    for axis in (1, 2):
        count = inputs.shape[axis]
        if count != size:
            bins = [(i * count // size, -(-(i + 1) * count // size)) for i in range(size)]
            means = [jax.lax.slice_in_dim(inputs, *ends, axis=axis).mean(axis, keepdims=True) for ends in bins]
            inputs = jnp.concatenate(means, axis)
    return inputs


class _Convolution(nn.Module):
    """A 3x3 convolution, and its BatchNorm where there is one."""

    channels: int
    batch_norm: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel_init = initializers.variance_scaling(2.0, "fan_out", "normal")
        convolved = nn.Conv(self.channels, (3, 3), padding=((1, 1), (1, 1)), kernel_init=kernel_init, name="conv")(x)
        if not self.batch_norm:
            return convolved
        return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="bn")(convolved)


def _dense(units: int, name: str) -> nn.Dense:
    return nn.Dense(units, kernel_init=initializers.normal(0.01), name=name)
