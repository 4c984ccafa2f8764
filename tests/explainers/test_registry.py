"""The registry holds the paper's settings: its explainers re-derived in NumPy over the very same draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import saliency_jax
from saliency_jax import EXPLAINERS

IMAGE = np.random.default_rng(0).uniform(size=(3, 2, 1)).astype(np.float32)
KEY = jax.random.key(9)


def score(x):
    return jnp.sum(x**4)


def slope(x):
    return 4 * x**3


def copies(samples):
    """Standard deviation 0.15 of the image's range; copy i draws from fold_in(key, i)."""
    draws = [np.asarray(jax.random.normal(jax.random.fold_in(KEY, i), IMAGE.shape), float) for i in range(samples)]
    return IMAGE + 0.15 * float(np.ptp(IMAGE)) * np.stack(draws)


def released_sum(x):
    """The released code's integrated gradients: the mean over linspace(0, 1, 50), both ends included."""
    return x * np.mean([slope(a * x) for a in np.linspace(0, 1, 50)], axis=0)


EXPECTED = {
    "gradient": lambda: slope(IMAGE),
    "gradient_times_input": lambda: slope(IMAGE) * IMAGE,
    "sensitivity": lambda: slope(IMAGE) ** 2,
    "smoothgrad": lambda: slope(copies(50)).mean(0),
    "smoothgrad_squared": lambda: (slope(copies(50)) ** 2).mean(0),
    "vargrad": lambda: slope(copies(25)).var(0),
    "integrated_gradients": lambda: released_sum(IMAGE),
    "integrated_gradients_smoothgrad": lambda: released_sum(copies(50)).mean(0),
    "constant": lambda: np.ones_like(IMAGE),
    "noise": lambda: jax.random.normal(KEY, IMAGE.shape),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_an_explainer_has_the_papers_settings(name):
    found = jax.jit(lambda x: EXPLAINERS[name](score, x, KEY))(IMAGE)
    np.testing.assert_allclose(found, EXPECTED[name](), rtol=2e-5, atol=1e-6)


AS_THEY_ARE = (
    "guided_backprop",
    "deconvnet",
    "grad_cam",
    "guided_grad_cam",
    "lrp",
    "deep_lift",
    "simple_taylor",
    "edges",
)
"""Explainers for which the paper has no settings: they stand in the registry with their own defaults."""


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_what_has_no_settings_is_the_explainer_itself(name):
    assert EXPLAINERS[name] is getattr(saliency_jax, name)


def test_controls_come_last_and_nothing_is_left_untested():
    assert list(EXPLAINERS)[-3:] == ["edges", "noise", "constant"]
    assert EXPECTED.keys() | set(AS_THEY_ARE) == EXPLAINERS.keys()
