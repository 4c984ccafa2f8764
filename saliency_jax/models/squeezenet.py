"""SqueezeNet 1.1."""

from __future__ import annotations

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

_kernel_init = initializers.he_normal()


class SqueezeNet(nn.Module):
    """Fire modules with ReLU and three max pools, for images of any size: SqueezeNet 1.1 by default.

    A fire module squeezes to few channels by a 1x1 convolution and expands them by a 1x1 and a 3x3 one side by side.
    The logits are the mean over all places of relu(conv10), so none is negative. Its stages are conv1, fire2, ...,
    fire9 and conv10. The first convolution is not padded, and a row or column that the pools' windows leave over is
    dropped: as in Keras and, at 224 pixels, where nothing is left over, as in Caffe and torchvision too.

    Args:
        fires: channels of each fire module, squeezed and of each of the two expansions.
        pooled: the fire modules, counted from 2, that a max pool follows.
        stem: channels of the first convolution.
        classes: number of logits.

    Source: Iandola et al. (2016); version 1.1 from github.com/forresti/SqueezeNet.
    """

    fires: tuple[tuple[int, int], ...] = (
        (16, 64),
        (16, 64),
        (32, 128),
        (32, 128),
        (48, 192),
        (48, 192),
        (64, 256),
        (64, 256),
    )
    pooled: tuple[int, ...] = (3, 5)
    stem: int = 64
    classes: int = 1000

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch class"]:
        """The logits of a batch of images; ValueError or TypeError where they are no batch of images."""
        check_images(images)
        stem = _convolution(self.stem, 3, strides=(2, 2), padding="VALID", name="conv1")
        hidden = max_pool(jax.nn.relu(stem(images)), (3, 3), (2, 2))
        for i, (squeezed, expanded) in enumerate(self.fires, start=2):
            hidden = _Fire(squeezed, expanded, name=f"fire{i}")(hidden)
            if i in self.pooled:
                hidden = max_pool(hidden, (3, 3), (2, 2))
        return jax.nn.relu(_convolution(self.classes, 1, name="conv10")(hidden)).mean((1, 2))


SQUEEZENETS: dict[str, dict[str, Any]] = {"squeezenet1_1": {}}
"""Name -> the settings of SqueezeNet, those that differ from its defaults."""


class _Fire(nn.Module):
    """A squeezing convolution and two expanding ones side by side."""

    squeezed: int
    expanded: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        hidden = jax.nn.relu(_convolution(self.squeezed, 1, name="squeeze1x1")(x))
        sides = [_convolution(self.expanded, size, name=f"expand{size}x{size}")(hidden) for size in (1, 3)]
        return jnp.concatenate([jax.nn.relu(side) for side in sides], axis=-1)


def _convolution(channels: int, size: int, **options: Any) -> nn.Conv:
    return nn.Conv(channels, (size, size), kernel_init=_kernel_init, **options)
