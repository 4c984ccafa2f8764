"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax import Array
from jaxtyping import Float

from saliency_jax.checks import check_images
from saliency_jax.models.inverted_residual import InvertedResidual, NormalizedConvolution, Stage, strided
from saliency_jax.typing import Images


class EfficientNetLite(nn.Module):
    """Inverted residuals with BatchNorm and ReLU6, without squeeze-and-excitation: EfficientNet-Lite0 by default.

    A 3x3 convolution of stride 2, the blocks, a 1x1 convolution, the mean over all places, the logits. Its stages are
    stem, block0, ..., block15, head and logits. BatchNorm takes its running averages; there is no dropout.

    Args:
        stages: the blocks.
        stem: channels of the first convolution.
        head: channels of the last convolution.
        classes: number of logits.

    Source: Tan and Le (2019), table 1, for the blocks; github.com/tensorflow/tpu, efficientnet/lite, for what Lite
        leaves out.
    """

    stages: Sequence[Stage] = (
        Stage(blocks=1, channels=16, kernel=3, stride=1, expansion=1),
        Stage(blocks=2, channels=24, kernel=3, stride=2, expansion=6),
        Stage(blocks=2, channels=40, kernel=5, stride=2, expansion=6),
        Stage(blocks=3, channels=80, kernel=3, stride=2, expansion=6),
        Stage(blocks=3, channels=112, kernel=5, stride=1, expansion=6),
        Stage(blocks=4, channels=192, kernel=5, stride=2, expansion=6),
        Stage(blocks=1, channels=320, kernel=3, stride=1, expansion=6),
    )
    stem: int = 32
    head: int = 1280
    classes: int = 1000

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch class"]:
        """The logits of a batch of images; ValueError or TypeError where they are no batch of images."""
        check_images(images)
        hidden = jax.nn.relu6(NormalizedConvolution(self.stem, (3, 3), strides=(2, 2), name="stem")(images))
        for i, (stage, stride) in enumerate(strided(self.stages)):
            hidden = InvertedResidual(stage, stride, NormalizedConvolution, name=f"block{i}")(hidden)
        hidden = jax.nn.relu6(NormalizedConvolution(self.head, (1, 1), name="head")(hidden))
        return nn.Dense(self.classes, name="logits")(hidden.mean((1, 2)))


EFFICIENTNETS: dict[str, dict[str, Any]] = {"efficientnet_lite0": {}}
"""Name -> the settings of EfficientNetLite, those that differ from its defaults."""
