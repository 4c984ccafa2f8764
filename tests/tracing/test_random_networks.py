"""Random networks: an overridden function has the same values and gradients, and LRP-0 is gradient times input.

A hundred of them each time; `RANDOM_NETWORKS=300 python -m pytest tests/tracing/test_random_networks.py` tests more.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_networks import random_network

from saliency_jax import class_score, composites, lrp, override, relus
from saliency_jax.tracing.operations import KINDS

SEEDS = int(os.environ.get("RANDOM_NETWORKS", "100"))
ENTERED = ("custom", "scan", "branch", "remat", "loop", "unknown")
OWN_GRADIENTS = {kind: lambda site, cotangent: site.gradient(cotangent) for kind in KINDS if kind not in ENTERED}
QUICKLY = {"xla_backend_optimization_level": 1}
"""XLA's compiler is most of the time, and how well it optimizes no matter here; at level 0 it gives wrong gradients."""


def compiled(f):
    return jax.jit(f, compiler_options=QUICKLY)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_network_keeps_its_values_and_gradients_and_lrp_0_is_gradient_times_input(seed):
    network = random_network(seed)
    told = "\n".join(network.description)

    def score(params, image):
        return class_score(network.apply, params, network.target)(image)

    def overridden(params, image):
        return override(class_score(network.apply, params, network.target), OWN_GRADIENTS)(image)

    # Parameters are arguments: constants are folded by XLA, and not in the same way in two programs.
    arguments = (network.params, network.image)
    np.testing.assert_array_equal(compiled(overridden)(*arguments), compiled(score)(*arguments), err_msg=told)
    gradient, found_gradient = (compiled(jax.grad(f, 1))(*arguments) for f in (score, overridden))
    # A norm of exact zeros, and float16, have NaN and infinite gradients: here and there in the same places.
    scale = jnp.abs(gradient).max(initial=0, where=jnp.isfinite(gradient))
    half = "float16" in network.description[0]
    rounding = 2e-2 if half else 1e-5
    np.testing.assert_allclose(found_gradient, gradient, rtol=0, atol=float(rounding * scale), err_msg=told)
    np.testing.assert_array_equal(found_gradient == 0, gradient == 0, err_msg=told)
    assert len(relus(class_score(network.apply, network.params, network.target), network.image)) == network.relus, told
    if network.piecewise_linear:

        def relevance(params, image):
            return lrp(class_score(network.apply, params, network.target), image, composite=composites.zero)

        expected = gradient * network.image
        bound = 1e-5 * float(jnp.abs(expected).max())
        np.testing.assert_allclose(compiled(relevance)(*arguments), expected, rtol=0, atol=bound, err_msg=told)


def test_the_generator_draws_every_seed_anew():
    first, again, other = (random_network(seed) for seed in (3, 3, 4))
    assert first.description == again.description != other.description
