"""Residual networks as torchvision publishes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax import Array
from jax.nn import initializers
from jaxtyping import Float

from saliency_jax.checks import check_images
from saliency_jax.tracing.pooling import max_pool
from saliency_jax.typing import Images

EXPANSION = 4
"""How many times the channels of a bottleneck its output has."""

_kernel_init = initializers.variance_scaling(2.0, "fan_out", "normal")


class ResNet(nn.Module):
    """Residual blocks in stages of falling size, for images of any size: ResNet-50 by default.

    x <- relu(F(x) + S(x)), F two or three convolutions with BatchNorm, S the identity or, where the shape changes, a
    1x1 convolution with BatchNorm. Then the mean over all places and the logits.

    Its stages are conv1 (7x7, stride 2, BatchNorm, ReLU, 3x3 max pool of stride 2), layer1_0, layer1_1, ..., layer4_2
    and logits. A bottleneck that halves the image does so in its 3x3 convolution, not in its first as in the paper
    ("v1.5"). BatchNorm takes its running averages.

    Args:
        depths: residual blocks of each stage; all but the first stage halve the image and double the channels.
        bottleneck: three convolutions a block, 1x1, 3x3 and 1x1, instead of two of 3x3.
        classes: number of logits.

    Source: He et al. (2016), table 1; paddings and strides as in torchvision 0.28, `torchvision.models.resnet`.
    """

    depths: Sequence[int] = (3, 4, 6, 3)
    bottleneck: bool = True
    classes: int = 1000

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch class"]:
        """The logits of a batch of images; ValueError or TypeError where they are no batch of images."""
        check_images(images)
        hidden = jax.nn.relu(_Stem(name="conv1")(images))
        hidden = max_pool(hidden, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, depth in enumerate(self.depths):
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                block = _Block(64 * 2**stage, stride, self.bottleneck, name=f"layer{stage + 1}_{i}")
                hidden = block(hidden)
        return nn.Dense(self.classes, name="logits")(hidden.mean((1, 2)))


RESNETS: dict[str, dict[str, Any]] = {
    "resnet18": {"depths": (2, 2, 2, 2), "bottleneck": False},
    "resnet34": {"depths": (3, 4, 6, 3), "bottleneck": False},
    "resnet50": {"depths": (3, 4, 6, 3), "bottleneck": True},
}
"""Name in torchvision and timm -> the settings of ResNet: `ResNet(**RESNETS["resnet18"])`."""


class _Stem(nn.Module):
    """The first convolution and its BatchNorm."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        convolved = _convolution(64, 7, stride=2, name="conv")(images)
        return _batch_norm("bn")(convolved)


class _Block(nn.Module):
    """A residual block: convolutions with BatchNorm beside a shortcut."""

    channels: int
    stride: int
    bottleneck: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if self.bottleneck:
            plan = [(self.channels, 1, 1), (self.channels, 3, self.stride), (EXPANSION * self.channels, 1, 1)]
        else:
            plan = [(self.channels, 3, self.stride), (self.channels, 3, 1)]
        hidden = x
        for i, (channels, size, stride) in enumerate(plan, start=1):
            hidden = _convolution(channels, size, stride=stride, name=f"conv{i}")(hidden)
            hidden = _batch_norm(f"bn{i}")(hidden)
            if i < len(plan):
                hidden = jax.nn.relu(hidden)
        if self.stride != 1 or x.shape[-1] != hidden.shape[-1]:
            x = _convolution(hidden.shape[-1], 1, stride=self.stride, name="downsample_conv")(x)
            x = _batch_norm("downsample_bn")(x)
        return jax.nn.relu(hidden + x)


def _convolution(channels: int, size: int, *, stride: int, name: str) -> nn.Conv:
    """A convolution with (size - 1) / 2 zeros on every side; "SAME" has fewer on the left where the stride is 2."""
    pad = ((size - 1) // 2, (size - 1) // 2)
    return nn.Conv(
        channels,
        (size, size),
        strides=(stride, stride),
        padding=(pad, pad),
        use_bias=False,
        kernel_init=_kernel_init,
        name=name,
    )


def _batch_norm(name: str) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=name)
