"""A tiny network with the usual trouble in it: biases, ReLU, pooling whose windows overlap, images of odd sizes."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from saliency_jax.typing import Params

_CLASSES, _FEATURES, _HIDDEN = 3, 4, 6


class Example(NamedTuple):
    """Parameters, images and their classes for `apply`."""

    params: Params
    images: Array
    targets: Array


def apply(params: Params, images: Array) -> Array:
    """Logits `[batch, 3]` of images of any size: convolution, ReLU, max pooling, mean over places, two dense layers.

    It computes in the precision of the images.
    """
    params = jax.tree.map(lambda leaf: leaf.astype(images.dtype), params)
    hidden = lax.conv_general_dilated(
        images, params["conv"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    hidden = jax.nn.relu(hidden + params["conv"]["bias"][None, None, None])
    hidden = lax.reduce_window(hidden, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
    hidden = jax.nn.relu(hidden.mean((1, 2)) @ params["hidden"]["kernel"] + params["hidden"]["bias"][None])
    return hidden @ params["logits"]["kernel"] + params["logits"]["bias"][None]


def example(height: int = 7, width: int = 6, channels: int = 3) -> Example:
    """Fixed parameters and two images of random pixels in [0, 1]."""
    random = np.random.default_rng(0)

    def layer(*shape: int) -> dict[str, Array]:
        kernel = random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
        return {
            "kernel": jnp.asarray(kernel, jnp.float32),
            "bias": jnp.asarray(random.uniform(0.1, 0.4, shape[-1]), jnp.float32),
        }

    params = {
        "conv": layer(3, 3, channels, _FEATURES),
        "hidden": layer(_FEATURES, _HIDDEN),
        "logits": layer(_HIDDEN, _CLASSES),
    }
    images = jnp.asarray(random.uniform(size=(2, height, width, channels)), jnp.float32)
    return Example(params, images, jnp.array([0, 1]))
