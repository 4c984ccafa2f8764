"""A network of one ReLU layer, in JAX and once more in NumPy's float64, and the function max(x1, x2) as a network."""

import jax
import jax.numpy as jnp
import numpy as np

SHAPE = (3, 4, 1)
HIDDEN, CLASSES = 8, 3


def params(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "first": jnp.asarray(rng.normal(size=(12, HIDDEN)), jnp.float32),
        "bias": jnp.asarray(0.3 * rng.normal(size=HIDDEN), jnp.float32),
        "second": jnp.asarray(rng.normal(size=(HIDDEN, CLASSES)), jnp.float32),
    }


def apply(p, images):
    hidden = images.reshape(len(images), -1) @ p["first"] + p["bias"][None]
    return jax.nn.relu(hidden) @ p["second"]


def linear(p, images):
    return images.reshape(len(images), -1) @ p["weights"]


def images(count=3, seed=1):
    return jnp.asarray(np.random.default_rng(seed).uniform(0.1, 0.9, (count, *SHAPE)), jnp.float32)


def weights(seed=2):
    return {"weights": jnp.asarray(np.random.default_rng(seed).normal(size=(12, CLASSES)), jnp.float32)}


def logits(p, image):
    """The logits of one image in float64."""
    w1, b, w2 = (np.asarray(p[name], np.float64) for name in ("first", "bias", "second"))
    return np.maximum(np.asarray(image, np.float64).ravel() @ w1 + b, 0) @ w2


def before(p, image):
    """The inputs of the ReLUs."""
    return np.asarray(image, np.float64).ravel() @ np.asarray(p["first"], np.float64) + np.asarray(p["bias"])


def gradient(p, image, target):
    """The gradient of one logit in float64, shaped like the image."""
    on = before(p, image) > 0
    w1, w2 = (np.asarray(p[name], np.float64) for name in ("first", "second"))
    return (w1 @ (on * w2[:, target])).reshape(SHAPE)


MAXIMUM = {"first": [[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]], "second": [[0.5], [0.5], [0.5]]}


def maximum(p, images):
    """max(x1, x2) of images [1, 2, 1] without negative values: relu(x1 - x2)/2 + relu(x2 - x1)/2 + relu(x1 + x2)/2."""
    return jax.nn.relu(images.reshape(len(images), 2) @ p["first"]) @ p["second"]
