"""Smooth and redirected networks against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from saliency_jax import maximization as mx
from saliency_jax.maximization.redirection import redirected
from saliency_jax.tracing import max_pool

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.standard_normal((4, 5, 1)).astype(np.float32)
WEIGHTS = RANDOM.standard_normal((20, 6)).astype(np.float32)


def softplus(x, sharpness):
    return np.logaddexp(sharpness * x, 0) / sharpness


@pytest.mark.parametrize("sharpness", [0.5, 3.0, 1000.0])
def test_relus_become_softplus_and_those_cut_off_differences_of_two(sharpness):
    hidden = IMAGE.reshape(-1).astype(np.float64) @ WEIGHTS
    flat = jnp.asarray(WEIGHTS)
    found = mx.smoothed(lambda x: jnp.sum(jax.nn.relu(x.reshape(-1) @ flat)), sharpness)(IMAGE)
    np.testing.assert_allclose(found, softplus(hidden, sharpness).sum(), rtol=1e-5)
    found = mx.smoothed(lambda x: jnp.sum(jnp.clip(x.reshape(-1) @ flat, 0, 2)), sharpness)(IMAGE)
    expected = softplus(hidden, sharpness) - softplus(hidden - 2, sharpness)
    np.testing.assert_allclose(found, expected.sum(), rtol=1e-5)


@pytest.mark.slow
def test_maxima_become_log_sum_exps_padding_left_out():
    sharpness = 3.0
    image = IMAGE.astype(np.float64)

    def pooled(x):
        return jnp.sum(jnp.sin(max_pool(x[None], (2, 2), (2, 2), "SAME")))

    padded = np.pad(image[..., 0], ((0, 0), (0, 1)), constant_values=-np.inf)
    windows = padded.reshape(2, 2, 3, 2).transpose(0, 2, 1, 3).reshape(2, 3, 4)
    expected = np.sin(logsumexp(sharpness * windows, axis=-1) / sharpness).sum()
    smooth = mx.smoothed(pooled, sharpness)
    np.testing.assert_allclose(smooth(IMAGE), expected, rtol=1e-5)
    assert np.isfinite(jax.grad(smooth)(jnp.asarray(IMAGE))).all()
    found = mx.smoothed(lambda x: jnp.sum(jnp.sin(jnp.max(x, axis=(0, 2)))), sharpness)(IMAGE)
    np.testing.assert_allclose(found, np.sin(logsumexp(sharpness * image, axis=(0, 2)) / sharpness).sum(), rtol=1e-5)


def test_a_maximum_over_what_is_spread_apart_is_one_over_what_is_there():
    sharpness = 3.0

    def spread(x):
        return jnp.sum(
            jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (3, 3, 1), (1, 1, 1), "VALID", base_dilation=(2, 2, 1))
        )

    there = np.full((7, 9), -np.inf)
    there[::2, ::2] = IMAGE[..., 0]
    windows = np.lib.stride_tricks.sliding_window_view(there, (3, 3)).reshape(5, 7, 9)
    expected = (logsumexp(sharpness * windows, axis=-1) / sharpness).sum()
    np.testing.assert_allclose(mx.smoothed(spread, sharpness)(IMAGE), expected, rtol=1e-5)


def test_a_blank_image_has_a_smooth_gradient():
    gradient = jax.grad(mx.smoothed(lambda x: jnp.sum(jax.nn.relu(x)), 10.0))(jnp.zeros((2, 2, 1)))
    np.testing.assert_allclose(gradient, 0.5)


def test_a_maximum_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="not known how to smooth the min"):
        mx.smoothed(lambda x: jnp.sum(jnp.minimum(x, x[::-1])), 1.0)(IMAGE)
    for sharpness in (0.0, np.float32(-1), jnp.asarray(-1.0), np.inf):
        with pytest.raises(ValueError, match="sharpness must be positive"):
            mx.smoothed(jnp.sum, sharpness)


def test_where_something_comes_through_the_gradient_is_the_relus_own():
    flat, out = jnp.asarray(WEIGHTS), jnp.asarray(RANDOM.standard_normal(6), jnp.float32)

    def score(x):
        return jnp.sum(out * jax.nn.relu(x.reshape(-1) @ flat))

    np.testing.assert_array_equal(jax.grad(redirected(score))(IMAGE), jax.grad(score)(IMAGE))


def test_where_nothing_comes_through_it_is_redirected_to_raise():
    flat, out = jnp.asarray(WEIGHTS), RANDOM.standard_normal(6).astype(np.float32)
    assert (out > 0).any() and (out < 0).any()

    def score(x):
        return jnp.sum(jnp.asarray(out) * jax.nn.relu(x.reshape(-1) @ flat - 100))

    np.testing.assert_array_equal(jax.grad(score)(IMAGE), 0)
    found = jax.grad(redirected(score))(jnp.asarray(IMAGE))
    np.testing.assert_allclose(found.reshape(-1), WEIGHTS @ np.maximum(out, 0), rtol=1e-5)
