"""A model whose gradient is its weights: what a test says of its maps can be written down."""

import jax
import jax.numpy as jnp
import numpy as np

CLASSES = 5
SIDE = 9


def init(key):
    """Fresh weights, and biases that are not 0."""
    kernel, bias = jax.random.split(key)
    return {
        "logits": {
            "kernel": jax.random.normal(kernel, (SIDE * SIDE, CLASSES)),
            "bias": jax.random.normal(bias, (CLASSES,)),
        }
    }


def apply(params, images):
    """Logits W x + b."""
    return images.reshape(len(images), -1) @ params["logits"]["kernel"] + params["logits"]["bias"][None]


def params(seed=0):
    return init(jax.random.key(seed))


def weights(params, classes):
    """The gradient of each class, `[class, height, width, channel]`, in float64."""
    kernel = np.asarray(params["logits"]["kernel"], np.float64)
    return kernel.T[np.asarray(classes)].reshape(-1, SIDE, SIDE, 1)


def images(count, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(count, SIDE, SIDE, 1)), jnp.float32)


def targets(count):
    return jnp.arange(count) % CLASSES
