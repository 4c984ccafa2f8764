"""MobileNet v2, its normalizations folded into its convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax import Array
from jaxtyping import Float

from saliency_jax.checks import check_images
from saliency_jax.models.inverted_residual import InvertedResidual, Stage, biased_convolution, strided
from saliency_jax.typing import Images


class MobileNetV2(nn.Module):
    """Inverted residuals with ReLU6, every BatchNorm folded into its convolution: MobileNet v2 of width 1 by default.

    A 3x3 convolution of stride 2, the blocks, a 1x1 convolution, the mean over all places, the logits. Its stages are
    stem, block0, ..., block16, head and logits.

    Args:
        stages: the blocks.
        stem: channels of the first convolution.
        head: channels of the last convolution.
        classes: number of logits; TensorFlow's have the background first.

    Source: Sandler et al. (2018), table 2.
    """

    stages: Sequence[Stage] = (
        Stage(blocks=1, channels=16, kernel=3, stride=1, expansion=1),
        Stage(blocks=2, channels=24, kernel=3, stride=2, expansion=6),
        Stage(blocks=3, channels=32, kernel=3, stride=2, expansion=6),
        Stage(blocks=4, channels=64, kernel=3, stride=2, expansion=6),
        Stage(blocks=3, channels=96, kernel=3, stride=1, expansion=6),
        Stage(blocks=3, channels=160, kernel=3, stride=2, expansion=6),
        Stage(blocks=1, channels=320, kernel=3, stride=1, expansion=6),
    )
    stem: int = 32
    head: int = 1280
    classes: int = 1001

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch class"]:
        """The logits of a batch of images; ValueError or TypeError where they are no batch of images."""
        check_images(images)
        hidden = jax.nn.relu6(biased_convolution(self.stem, (3, 3), strides=(2, 2), name="stem")(images))
        for i, (stage, stride) in enumerate(strided(self.stages)):
            hidden = InvertedResidual(stage, stride, biased_convolution, name=f"block{i}")(hidden)
        hidden = jax.nn.relu6(biased_convolution(self.head, (1, 1), name="head")(hidden))
        return nn.Dense(self.classes, name="logits")(hidden.mean((1, 2)))


MOBILENETS: dict[str, dict[str, Any]] = {"mobilenet_v2": {}}
"""Name -> the settings of MobileNetV2, those that differ from its defaults."""
