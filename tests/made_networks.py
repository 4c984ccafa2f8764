"""The small networks with weights, each made once for all the tests of a process."""

import math
from functools import cache
from unittest import mock

import jax
import numpy as np

from tests import small_networks


@cache
def made(name):
    """The (apply, params) of a small network: variants of one network have the same weights.

    NumPy draws them, and one program makes the rest: what JAX compiles to draw them takes longer than most tests.
    """
    rng, functions = np.random.default_rng(0), []

    def layer(_, *shape):
        kernel = math.sqrt(2 / math.prod(shape[:-1])) * rng.normal(size=shape)
        return {"kernel": jax.numpy.float32(kernel), "bias": jax.numpy.float32(0.1 * rng.normal(size=shape[-1:]))}

    def drawn():
        apply, params = getattr(small_networks, name)(jax.random.key(0))
        functions.append(apply)
        return params

    with mock.patch.object(small_networks, "product_layer", layer):
        params = jax.jit(drawn)()
    return functions[0], params


def made_images(*shape, seed=0):
    """Normal values."""
    return jax.numpy.float32(np.random.default_rng(seed).normal(size=shape))
