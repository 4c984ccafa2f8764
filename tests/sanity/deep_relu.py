"""A deep random ReLU network without biases, and its backward passes by dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np

WIDTH, DEPTH, CLASSES, SIDE = 64, 8, 10, 6
LAYERS = [f"layer{i}" for i in range(DEPTH)]


def params():
    """He's initialization."""
    draw = np.random.default_rng(0)
    sizes = [SIDE * SIDE, *[WIDTH] * (DEPTH - 1), CLASSES]
    pairs = zip(LAYERS, sizes[:-1], sizes[1:], strict=True)
    return {name: jnp.asarray(draw.normal(size=(n, m)) * np.sqrt(2 / n), jnp.float32) for name, n, m in pairs}


def apply(params, images):
    hidden = images.reshape(len(images), -1)
    for name in LAYERS[:-1]:
        hidden = jax.nn.relu(hidden @ params[name])
    return hidden @ params[LAYERS[-1]]


def images(count, seed=1):
    """Positive pixels, as of a photograph."""
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(count, SIDE, SIDE, 1)), jnp.float32)


def relevance(name, x, v, model=None):
    """What arrives at the input of each layer from v at the logits, first layer first."""
    weights = [np.asarray((model or params())[layer], np.float64) for layer in LAYERS]
    inputs = [x]
    for w in weights[:-1]:
        inputs.append(np.maximum(inputs[-1] @ w, 0))
    found, r = [], v
    for i in range(len(weights) - 1, -1, -1):
        w, h = weights[i], inputs[i]
        if i < len(weights) - 1 and name in ("gradient", "guided_backprop", "deconvnet"):
            r = {
                "gradient": r * (h @ w > 0),
                "guided_backprop": np.maximum(r, 0) * (h @ w > 0),
                "deconvnet": np.maximum(r, 0),
            }[name]
        if name == "lrp_zero":
            z = h @ w
            # A unit that is off has no relevance.
            r = h * (w @ np.where(r == 0, 0, r / z))
        elif name == "z_plus":
            # The inputs are nowhere negative: x+ w+ is all that raises z.
            positive = np.maximum(w, 0)
            r = h * (positive @ (r / (h @ positive + 1e-6)))
        else:
            r = w @ r
        found.append(r)
    return found[::-1]
