"""The multilayer perceptron of the paper."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
from jax import Array
from jax.nn.initializers import Initializer
from jaxtyping import Float

from saliency_jax.checks import check_images
from saliency_jax.models.initializers import INITIALIZERS
from saliency_jax.typing import Images


class MLP(nn.Module):
    """Dense layers with ReLU over the pixels: 784-2500-1500-500-10 by default.

    h_0 = the image's pixels in row-major order, h_i = relu(h_{i-1} W_i + b_i), logits = h_n W + b.
    Layers are named hidden1, hidden2, ..., logits.

    Args:
        widths: units of each hidden layer.
        classes: number of logits.
        kernel_init: how kernels are drawn, the released code's by default.
        bias_init: how biases are drawn, the released code's by default.

    Source: Adebayo et al. (2018), appendix B; initializers from its released code.
    """

    widths: Sequence[int] = (2500, 1500, 500)
    classes: int = 10
    kernel_init: Initializer = INITIALIZERS["released_mlp"].kernel
    bias_init: Initializer = INITIALIZERS["released_mlp"].bias

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch class"]:
        """The logits of a batch of images; ValueError or TypeError where they are no batch of images."""
        check_images(images)
        hidden = images.reshape(images.shape[0], -1)
        for i, width in enumerate(self.widths, start=1):
            hidden = jax.nn.relu(self._dense(width, f"hidden{i}")(hidden))
        return self._dense(self.classes, "logits")(hidden)

    def _dense(self, units: int, name: str) -> nn.Dense:
        return nn.Dense(units, kernel_init=self.kernel_init, bias_init=self.bias_init, name=name)
