"""The block of MobileNet v2 and EfficientNet: wide inside, narrow outside, one filter a channel between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax import Array
from jax.nn import initializers

from saliency_jax.typing import Images


class Stage(NamedTuple):
    """A row of the papers' tables: blocks of one width, of which the first may halve the image."""

    blocks: int
    channels: int
    kernel: int
    stride: int
    expansion: int


class InvertedResidual(nn.Module):
    """x <- P(relu6(D(relu6(E(x))))) + x: expand to more channels, filter each by itself, project to few.

    E and P are 1x1 convolutions, D a depthwise one. Without the first where the expansion is 1, and without `+ x` where
    the shape changes. The projection has no activation after it.

    Args:
        stage: output channels, kernel size, expansion of the input's channels.
        stride: of the depthwise convolution, in pixels.
        convolution: makes a convolution with what belongs to it, a bias or a BatchNorm: called with features,
            kernel_size, strides, feature_group_count and name.

    Source: Sandler et al. (2018), table 1 and figure 4.
    """

    stage: Stage
    stride: int
    convolution: Callable[..., Callable[[Array], Array]]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """The block's output, `[batch, height / stride, width / stride, channel]`."""
        wide, hidden = self.stage.expansion * x.shape[-1], x
        if self.stage.expansion != 1:
            hidden = jax.nn.relu6(self.convolution(wide, (1, 1), name="expand")(hidden))
        depthwise = self.convolution(
            wide,
            (self.stage.kernel, self.stage.kernel),
            strides=(self.stride, self.stride),
            feature_group_count=wide,
            name="depthwise",
        )
        hidden = jax.nn.relu6(depthwise(hidden))
        hidden = self.convolution(self.stage.channels, (1, 1), name="project")(hidden)
        return hidden + x if hidden.shape == x.shape else hidden


def strided(stages: Sequence[Stage]) -> list[tuple[Stage, int]]:
    """For every block its stage and its stride: a stage strides in its first block alone."""
    return [(stage, stage.stride if i == 0 else 1) for stage in stages for i in range(stage.blocks)]


def biased_convolution(features: int, kernel_size: tuple[int, int], **options: Any) -> nn.Conv:
    """A convolution with a bias; TensorFlow's SAME padding, which Flax has too."""
    return nn.Conv(features, kernel_size, padding="SAME", kernel_init=initializers.he_normal(), **options)


class NormalizedConvolution(nn.Module):
    """A convolution without bias and its BatchNorm, by the running averages; TensorFlow's SAME padding."""

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    feature_group_count: int = 1
    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x: Images) -> Array:
        """The normalized convolution of x, without an activation."""
        convolved = nn.Conv(
            self.features,
            self.kernel_size,
            strides=self.strides,
            feature_group_count=self.feature_group_count,
            padding="SAME",
            use_bias=False,
            kernel_init=initializers.he_normal(),
            name="conv",
        )(x)
        return nn.BatchNorm(use_running_average=True, epsilon=self.epsilon, name="bn")(convolved)
