"""Penalties and densities against NumPy and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from saliency_jax import maximization as mx

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((9, 3, 4, 1)).astype(np.float32)
OTHERS = RANDOM.random((4, 3, 4, 1)).astype(np.float32)


@pytest.mark.slow
def test_penalties_are_the_sums_that_they_say():
    for image in (IMAGES[0], np.zeros((3, 4, 1), np.float32)):
        np.testing.assert_allclose(mx.l2(0.3)(jnp.asarray(image)), -0.3 * np.sum(image**2), rtol=1e-6)
        np.testing.assert_allclose(
            mx.l2(0.3, centre=IMAGES[1])(jnp.asarray(image)), -0.3 * np.sum((image - IMAGES[1]) ** 2), rtol=1e-6
        )
        variation = np.abs(np.diff(image, axis=0)).sum() + np.abs(np.diff(image, axis=1)).sum()
        np.testing.assert_allclose(mx.total_variation(0.2)(jnp.asarray(image)), -0.2 * variation, rtol=1e-6)
    # A constant image is where the variation is least: no gradient, not NaN.
    np.testing.assert_array_equal(jax.grad(mx.total_variation(1.0))(jnp.ones((3, 4, 1))), 0)


def differences(values):
    return np.asarray(values)[1:] - np.asarray(values)[0]


def test_the_gaussian_is_scipys_up_to_a_constant():
    flat = IMAGES.reshape(9, -1).astype(np.float64)
    covariance = np.cov(flat, rowvar=False, bias=True) + 0.2**2 * np.eye(12)
    expected = stats.multivariate_normal(flat.mean(0), covariance).logpdf(OTHERS.reshape(4, -1))
    term = mx.gaussian_expert(IMAGES, noise=0.2, weight=3.0)
    np.testing.assert_allclose(differences(jax.vmap(term)(jnp.asarray(OTHERS))), 3 * differences(expected), rtol=1e-3)


def test_the_kernel_density_is_scipys_up_to_a_constant():
    flat = IMAGES.reshape(9, -1).astype(np.float64)
    kernels = [stats.multivariate_normal(x, 0.25 * np.eye(12)).pdf(OTHERS.reshape(4, -1)) for x in flat]
    expected = np.log(np.mean(kernels, axis=0))
    term = mx.kernel_density_expert(IMAGES, bandwidth=0.5, weight=0.5)
    np.testing.assert_allclose(differences(jax.vmap(term)(jnp.asarray(OTHERS))), differences(expected) / 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: mx.l2(-1.0), ValueError, r"weight must not be negative and be finite, got -1\.0"),
        (lambda: mx.l2(np.float32(-1)), ValueError, r"weight must not be negative and be finite, got -1\.0"),
        (lambda: mx.l2(jnp.asarray(-1.0)), ValueError, r"weight must not be negative and be finite, got -1\.0"),
        (lambda: mx.total_variation(float("nan")), ValueError, "weight must not be negative"),
        (lambda: mx.total_variation(1.0)(jnp.zeros((3,))), ValueError, r"takes an image \[height, width, channel\]"),
        (lambda: mx.gaussian_expert(IMAGES, noise=0.0), ValueError, r"noise must be positive and finite, got 0\.0"),
        (lambda: mx.gaussian_expert(IMAGES[:1], noise=1.0), ValueError, "images must be at least two"),
        (lambda: mx.gaussian_expert(IMAGES * np.nan, noise=1.0), ValueError, "images must be finite"),
        (lambda: mx.kernel_density_expert(IMAGES.astype(int), bandwidth=1.0), TypeError, "must be floating point"),
        (lambda: mx.kernel_density_expert(IMAGES, bandwidth=-1.0), ValueError, "bandwidth must be positive"),
        (
            lambda: mx.kernel_density_expert(IMAGES, bandwidth=1.0)(jnp.zeros((4, 3, 1))),
            ValueError,
            r"images of shape \(3, 4, 1\), got one of shape \(4, 3, 1\)",
        ),
    ],
)
def test_bad_terms_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
