"""Digits whose brightness is shifted at random (MNIST*), and the paper's small network that finds them again.

To all pixels of a digit one number is added. Where that is large it is nearly all of what a digit differs in from its
nearest ones, and the input's dimension falls to 2 or 3: the other dimensions are there and hidden. A network that
learns the digits has to find them again, so that its dimension rises with depth before it falls.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax import Array, lax

import saliency_jax as sj
from saliency_jax import data
from saliency_jax.keys import named
from saliency_jax.tracing import canonical_convolutions, compiled, fast_pooling, max_pool
from saliency_jax.training import evaluate

BRIGHTNESS = 1000.0
"""The largest shift, in units of the range of a digit: at 1000 the input of 2000 images has the dimension 3 that the
paper's figure shows. At its text's 100 it has 11, and at 100 of 255 the shift is not seen at all."""
LAYERS = ("conv1", "conv1/max_pool", "conv2", "conv2/max_pool", "dense/relu", "logits")
"""What the paper measures: convolutions before pooling and ReLU, poolings, the hidden layer, the output."""
NETWORKS = ("digits, untrained", "digits", "shifted, untrained", "shifted")
BATCH = 64
RATE = 1e-3
"""Adam's, until the brightness asks for less."""
TOLERATED = 20.0
"""The brightness up to which it is RATE; beyond, the rate falls as the brightness grows. A step of the same size in all
weights of a filter moves what it says of a digit in proportion to the brightness."""


class SmallCNN(nn.Module):
    """The paper's network for digits: two 3x3 convolutions without padding, each pooled, then 128 units and 10 logits.

    Source: Ansuini et al., NeurIPS 2019, the released code's network for MNIST.
    """

    @nn.compact
    def __call__(self, images: Any) -> Array:
        """The logits of a batch of images."""
        hidden = images
        for i, channels in enumerate((32, 64), start=1):
            hidden = nn.Conv(channels, (3, 3), padding="VALID", name=f"conv{i}")(hidden)
            hidden = jax.nn.relu(max_pool(hidden, (2, 2), (2, 2)))
        hidden = jax.nn.relu(nn.Dense(128, name="dense")(hidden.reshape(len(images), -1)))
        return nn.Dense(10, name="logits")(hidden)


def shifted(images: Any, key: Any, largest: Any = BRIGHTNESS) -> Array:
    """MNIST*: to all pixels of an image one number is added, uniform in [0, largest]."""
    return images + largest * jax.random.uniform(key, (len(images), 1, 1, 1))


def course(steps: int, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """The largest brightness and the rate of every step.

    A fifth of the steps see digits as they are; then the brightness grows by a constant factor from 1 to the largest
    over three fifths, and stays. Shifted by all of it from the first step, the network learns nothing in thousands of
    steps: the paper took 5,000 epochs.
    """
    done = np.arange(steps) / steps
    grown = np.clip((done - 0.2) / 0.6, 0, 1)
    brightness = np.where(done < 0.2, 0.0, largest**grown) if largest else np.zeros(steps)
    falling = 0.5 * (1 + np.cos(np.pi * np.clip((done - 0.8) / 0.2, 0, 1)))
    return brightness, RATE * falling * np.minimum(1, TOLERATED / np.maximum(brightness, 1))


@compiled
def trained(params: Any, images: Array, labels: Array, key: Any, brightness: Array, rate: Array) -> Any:
    """The network's parameters after one step of Adam for each brightness and rate."""
    apply = fast_pooling(SmallCNN().apply)
    # The gradient grows with the brightness, faster than a longer memory would follow.
    optimizer = optax.scale_by_adam(b2=0.99)

    def loss(params: Any, batch: Array, classes: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(apply(params, batch), classes).mean()

    gradient = canonical_convolutions(jax.grad(loss))

    def step(carried: tuple[Any, Any], now: tuple[Array, Array, Array]) -> tuple[tuple[Any, Any], None]:
        (params, state), (number, largest, size) = carried, now
        drawn = jax.random.fold_in(key, number)
        places = jax.random.randint(named(drawn, "places"), (BATCH,), 0, len(images))
        batch = shifted(images[places], named(drawn, "brightness"), largest)
        updates, state = optimizer.update(gradient(params, batch, labels[places]), state)
        return (jax.tree.map(lambda p, u: p - size * u, params, updates), state), None

    steps = (jnp.arange(len(brightness)), brightness, rate)
    return lax.scan(step, (params, optimizer.init(params)), steps)[0][0]


def profiles(train: data.Split, test: data.Split, *, key: Any, images: int, steps: int) -> xr.Dataset:
    """The dimension over the depth of networks on digits and on shifted digits, trained and not.

    Args:
        train: what networks are trained on; the measured images are spread evenly over it.
        test: what accuracies are of, shifted where the network's images are.
        key: draws weights, minibatches and brightness.
        images: how many are measured.
        steps: of each training.

    Returns:
        The Dataset of `layer_dimensions` with the axis network before its others, and `accuracy (network)`.
    """
    model = SmallCNN()
    chosen = train.images[np.arange(images) * len(train.images) // images]
    begun = model.init(named(key, "init"), jnp.asarray(chosen[:1]))
    found = []
    for name in NETWORKS:
        largest = BRIGHTNESS if "shifted" in name else 0.0
        params = begun
        if "untrained" not in name:
            brightness, rate = (jnp.asarray(x, jnp.float32) for x in course(steps, largest))
            data_of = (jnp.asarray(train.images), jnp.asarray(train.labels))
            params = trained(begun, *data_of, named(key, "training"), brightness, rate)
        measured, tested = (
            np.asarray(shifted(x, named(key, f"brightness of {what}"), largest))
            for what, x in (("measured", chosen), ("tested", test.images))
        )
        profile = sj.layer_dimensions(model.apply, params, measured, key=named(key, "control"), layers=LAYERS)
        found.append(profile.assign(accuracy=evaluate(model.apply, params, tested, test.labels)))
    networks = xr.DataArray(list(NETWORKS), dims="network", name="network")
    return xr.concat(found, networks, combine_attrs="override").assign_attrs(brightness=BRIGHTNESS, steps=steps)
