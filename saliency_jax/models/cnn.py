"""The convolutional network of the paper."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
from jax import Array
from jax.nn.initializers import Initializer
from jaxtyping import Float

from saliency_jax.checks import check_images
from saliency_jax.models.initializers import INITIALIZERS
from saliency_jax.tracing.pooling import max_pool
from saliency_jax.typing import Images


class CNN(nn.Module):
    """Convolutions with ReLU, each followed by max pooling, and a dense layer: 32, 64, 1024 and 10 by default.

    a_i = maxpool2x2(relu(conv(a_{i-1}) + b_i)), then a dense layer with ReLU and the logits. Convolutions pad with
    zeros to keep the size; an odd row or column left over by the pooling is dropped.
    Layers are named conv1, conv2, ..., dense, logits.

    Args:
        channels: output channels of each convolution.
        units: units of the dense layer.
        classes: number of logits.
        kernel_size: height and width of the convolution kernels, in pixels.
        kernel_init: how kernels are drawn, the released code's by default.
        bias_init: how biases are drawn, the released code's by default.

    Source: Adebayo et al. (2018), appendix B; padding and initializers from its released code.
    """

    channels: Sequence[int] = (32, 64)
    units: int = 1024
    classes: int = 10
    kernel_size: tuple[int, int] = (5, 5)
    kernel_init: Initializer = INITIALIZERS["released_cnn"].kernel
    bias_init: Initializer = INITIALIZERS["released_cnn"].bias

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch class"]:
        """The logits of a batch of images; ValueError or TypeError where they are no batch of images."""
        check_images(images)
        hidden = images
        for i, channels in enumerate(self.channels, start=1):
            convolved = nn.Conv(
                channels,
                self.kernel_size,
                padding="SAME",
                kernel_init=self.kernel_init,
                bias_init=self.bias_init,
                name=f"conv{i}",
            )(hidden)
            hidden = max_pool(jax.nn.relu(convolved), (2, 2), (2, 2))
        hidden = hidden.reshape(hidden.shape[0], -1)
        hidden = jax.nn.relu(self._dense(self.units, "dense")(hidden))
        return self._dense(self.classes, "logits")(hidden)

    def _dense(self, units: int, name: str) -> nn.Dense:
        return nn.Dense(units, kernel_init=self.kernel_init, bias_init=self.bias_init, name=name)
