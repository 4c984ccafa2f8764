"""Random variables of a Flax network, drawn by NumPy: what JAX compiles to draw them takes longer than most tests."""

import jax
import numpy as np


def drawn(model, image_shape, *, biases=True):
    """Kernels normal with variance 2 / fan-in, scales and variances near 1, shifts and means near 0 (or 0)."""
    random = np.random.default_rng(0)

    def leaf(path, wanted):
        name = path[-1].key
        if name == "kernel":
            values = random.normal(size=wanted.shape) * np.sqrt(2 / np.prod(wanted.shape[:-1]))
        elif name in ("scale", "var"):
            values = random.uniform(0.5, 1.25, size=wanted.shape)
        else:
            values = random.normal(size=wanted.shape) * (0.1 if biases else 0)
        return np.asarray(values, wanted.dtype)

    return jax.tree_util.tree_map_with_path(leaf, shapes(model, image_shape))


def shapes(model, image_shape):
    return jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *image_shape), np.float32))


def count(model, image_shape):
    """How many parameters a network has, statistics of BatchNorm apart."""
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(model, image_shape)["params"]))


def image(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)
