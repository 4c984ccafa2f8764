"""Networks of three layers with independent normal weights, and what guided backpropagation shows of an image there.

Image, one convolution with ReLU, one dense layer. Guided backpropagation gives back the image, whatever the logit; the
gradient and deconvnet give noise, for their means over the networks are 0; max pooling makes deconvnet give back the
image's edges; without local connections nobody sees the image before there are far more units than pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from saliency_jax.checks import check_image
from saliency_jax.keys import named
from saliency_jax.tracing.pooling import max_pool
from saliency_jax.typing import Image, Images, Map, Params


class Architecture(NamedTuple):
    """The shape of a random network.

    Attributes:
        kernel_size: height and width of the filters in pixels; None for filters as large as the image, which is a
            fully connected layer.
        pool: height, width and stride of the max pooling; 1 for none.
    """

    kernel_size: int | None
    pool: int = 1


ARCHITECTURES: Mapping[str, Architecture] = {
    "convolution": Architecture(3),
    "max_pooling": Architecture(3, pool=2),
    "fully_connected": Architecture(None),
}
"""Local connections, local connections with max pooling, no local connections."""


def random_weights(
    key: Any,
    image_shape: Sequence[int],
    *,
    filters: int,
    architecture: Architecture = ARCHITECTURES["convolution"],
    classes: int = 1,
    dtype: Any = jnp.float32,
) -> dict[str, Array]:
    """Independent standard normal weights of a three-layer network, without biases.

    Args:
        key: a JAX key.
        image_shape: `[height, width, channel]` of the images.
        filters: how many filters the convolution has.
        architecture: the size of the filters and of the pooling.
        classes: how many logits; all are alike in distribution.
        dtype: that of the images.

    Returns:
        "filters" `[height, width, channel, filter]` and "output" `[place * filter, class]`.

    Raises:
        ValueError: filters or classes is under 1, a filter or the pooling does not fit the image.

    Source: Nie, Zhang and Patel 2018, section 3.
    """
    for argument, count in (("filters", filters), ("classes", classes)):
        if count < 1:
            raise ValueError(f"{argument} must be at least 1, got {count}")
    height, width, channels = image_shape
    window = _window(architecture, image_shape)
    # Without a pooling window nothing is divided; it is refused below.
    places = [(n - k + 1) // max(architecture.pool, 1) for n, k in zip((height, width), window, strict=True)]
    if min(window) < 1 or architecture.pool < 1 or min(places) < 1:
        raise ValueError(f"architecture must fit images {tuple(image_shape)}, got {architecture}")
    return {
        "filters": jax.random.normal(named(key, "filters"), (*window, channels, filters), dtype),
        "output": jax.random.normal(named(key, "output"), (math.prod(places) * filters, classes), dtype),
    }


def random_network(params: Params, images: Images, *, pool: int = 1) -> Array:
    """The network of `random_weights`: convolution without padding, ReLU, max pooling if asked for, dense layer.

    Args:
        params: "filters" and "output".
        images: `[batch, height, width, channel]`.
        pool: height, width and stride of the max pooling; 1 for none. Rows and columns left over are dropped.

    Returns:
        Logits `[batch, class]`.
    """
    images, filters = jnp.asarray(images), params["filters"]
    if filters.shape[:2] == images.shape[1:3]:
        # One window: the same product, without a gradient that slides over the whole image.
        convolved = jnp.tensordot(images, filters, 3)[:, None, None, :]
    else:
        layout = ("NHWC", "HWIO", "NHWC")
        convolved = lax.conv_general_dilated(images, filters, (1, 1), "VALID", dimension_numbers=layout)
    hidden = jax.nn.relu(convolved)
    if pool > 1:
        hidden = max_pool(hidden, (pool, pool), (pool, pool))
    return hidden.reshape(len(hidden), -1) @ params["output"]


def expected_guided_backprop(image: Image, *, filters: int, kernel_size: int | None = 3) -> Map:
    """The mean of guided backpropagation's maps over all random networks without pooling, in closed form.

    R_q = filters / (2 pi) * x_q * sum_{i: q in y_i} 1 / ||y_i||, over the patches y_i that hold the pixel q.

    A filter w passes back w 1[w . y > 0], of mean y / (||y|| sqrt(2 pi)), and the positive part of an output weight
    has mean 1 / sqrt(2 pi). What comes back is the image, each pixel divided by the contrast around it: it has the
    sign of the image everywhere, and says nothing of the network. Blank patches pass nothing.

    Args:
        image: `[height, width, channel]`.
        filters: the number of filters.
        kernel_size: height and width of the filters; None for filters as large as the image, where the mean is the
            image itself up to its scale.

    Returns:
        A map shaped like the image.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the image is empty or not finite, or has not three axes.

    Source: Nie, Zhang and Patel 2018, theorem 1, with the sum over patches written out.
    """
    check_image(image)
    image = jnp.asarray(image)
    if image.ndim != 3:
        raise ValueError(f"image must be [height, width, channel], got shape {image.shape}")
    height, width = _window(Architecture(kernel_size), image.shape)
    energy = jnp.sum(jnp.square(image), axis=-1)
    patches = lax.reduce_window(energy, 0.0, lax.add, (height, width), (1, 1), "VALID")
    weights = jnp.where(patches > 0, 1 / jnp.sqrt(jnp.where(patches > 0, patches, 1)), 0)
    everywhere = [(height - 1, height - 1), (width - 1, width - 1)]
    total = lax.reduce_window(weights, 0.0, lax.add, (height, width), (1, 1), everywhere)
    return filters / (2 * math.pi) * image * total[..., None]


def fully_connected_recovery(pixels: int, units: int) -> float:
    """The cosine of the image and guided backpropagation's map in a random fully connected network.

    cos = 1 / sqrt(1 + (pi^2 d - 1) / N) for d pixels and N units: the squared mean N / (2 pi) along the image over
    the mean squared length N^2 / (4 pi^2) + N (d / 4 - 1 / (4 pi^2)) of the map. It passes 0.7 where there are ten
    times as many units as pixels: for a patch of nine pixels ninety filters do.

    Args:
        pixels: the number of values of an image.
        units: the number of hidden units.

    Source: the weights of Nie, Zhang and Patel 2018, section 3; the ratio of means is exact for many units.
    """
    return 1 / math.sqrt(1 + (math.pi**2 * pixels - 1) / units)


def _window(architecture: Architecture, image_shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of the filters, in pixels."""
    size = architecture.kernel_size
    return (image_shape[0], image_shape[1]) if size is None else (size, size)
