"""Random networks against loops in NumPy, exact symmetries of their maps, and the mean of guided backpropagation."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from saliency_jax import class_score, deconvnet, gradient, guided_backprop
from saliency_jax.sanity.random_networks_theory import (
    ARCHITECTURES,
    Architecture,
    expected_guided_backprop,
    fully_connected_recovery,
    random_network,
    random_weights,
)

SHAPE = (6, 7, 2)
IMAGE = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def made(name, key, filters=3, shape=SHAPE, classes=1):
    architecture = ARCHITECTURES[name]
    params = random_weights(key, shape, filters=filters, architecture=architecture, classes=classes)
    return partial(random_network, pool=architecture.pool), params


def looped_logits(params, image, pool):
    """The network one place, filter and window after another."""
    kernel = np.asarray(params["filters"], np.float64)
    rows, columns = kernel.shape[:2]
    places = (image.shape[0] - rows + 1, image.shape[1] - columns + 1)
    hidden = np.zeros((*places, kernel.shape[-1]))
    for i, j, f in np.ndindex(*hidden.shape):
        hidden[i, j, f] = max((image[i : i + rows, j : j + columns] * kernel[..., f]).sum(), 0)
    pooled = np.zeros((places[0] // pool, places[1] // pool, kernel.shape[-1]))
    for i, j, f in np.ndindex(*pooled.shape):
        pooled[i, j, f] = hidden[i * pool : (i + 1) * pool, j * pool : (j + 1) * pool, f].max()
    return pooled.ravel() @ np.asarray(params["output"], np.float64)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_network_is_convolution_relu_pooling_and_dense(name, key):
    apply, params = made(name, key, classes=4)
    expected = looped_logits(params, IMAGE.astype(np.float64), ARCHITECTURES[name].pool)
    np.testing.assert_allclose(apply(params, IMAGE[None])[0], expected, rtol=1e-4, atol=1e-4)


def test_weights_are_independent_standard_normal(key):
    params = random_weights(key, (12, 12, 3), filters=200)
    assert params["filters"].shape == (3, 3, 3, 200) and params["output"].shape == (10 * 10 * 200, 1)
    for values in params.values():
        assert scipy.stats.kstest(np.ravel(values), "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "filters must be at least 1, got 0"),
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"architecture": Architecture(7)}, r"architecture must fit images \(6, 7, 2\)"),
        ({"architecture": Architecture(3, pool=5)}, r"architecture must fit images \(6, 7, 2\)"),
        ({"architecture": Architecture(0)}, r"architecture must fit images \(6, 7, 2\)"),
        ({"architecture": Architecture(3, pool=0)}, r"architecture must fit images \(6, 7, 2\)"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(options, message, key):
    with pytest.raises(ValueError, match=message):
        random_weights(key, SHAPE, **({"filters": 3} | options))


# What holds exactly


def flipped(params, name):
    return params | {name: -params[name]}


def map_of(explain, apply, params):
    return np.asarray(explain(class_score(apply, params, 0), IMAGE))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_gradient_changes_its_sign_with_the_output_weights_so_that_its_mean_is_zero(name, key):
    apply, params = made(name, key)
    found = map_of(gradient, apply, params)
    assert np.abs(found).max() > 0
    np.testing.assert_array_equal(map_of(gradient, apply, flipped(params, "output")), -found)
    # The backward ReLU keeps guided backpropagation from doing so.
    assert not np.allclose(
        map_of(guided_backprop, apply, flipped(params, "output")), -map_of(guided_backprop, apply, params)
    )


def test_deconvnet_changes_its_sign_with_the_filters_unless_there_is_max_pooling(key):
    apply, params = made("convolution", key)
    found = map_of(deconvnet, apply, params)
    assert np.abs(found).max() > 0
    np.testing.assert_array_equal(map_of(deconvnet, apply, flipped(params, "filters")), -found)
    assert not np.allclose(
        map_of(guided_backprop, apply, flipped(params, "filters")), -map_of(guided_backprop, apply, params)
    )
    apply, params = made("max_pooling", key)
    assert not np.allclose(map_of(deconvnet, apply, flipped(params, "filters")), -map_of(deconvnet, apply, params))


# The mean of guided backpropagation


@pytest.mark.parametrize("size", [1, 3, None])
def test_the_closed_form_adds_up_the_normalized_patches(size):
    image = IMAGE.astype(np.float64)
    image[:4, :4] = 0
    rows, columns = (size, size) if size else image.shape[:2]
    expected = np.zeros_like(image)
    for i, j in np.ndindex(image.shape[0] - rows + 1, image.shape[1] - columns + 1):
        patch = image[i : i + rows, j : j + columns]
        if (patch != 0).any():
            expected[i : i + rows, j : j + columns] += patch / np.linalg.norm(patch)
    with jax.enable_x64(True):
        found = expected_guided_backprop(jnp.asarray(image), filters=5, kernel_size=size)
    np.testing.assert_allclose(found, 5 / (2 * math.pi) * expected, rtol=1e-12)


def test_the_limit_has_the_signs_of_the_image():
    found = expected_guided_backprop(IMAGE, filters=1)
    np.testing.assert_array_equal(np.sign(found), np.sign(IMAGE))
    np.testing.assert_array_equal(expected_guided_backprop(np.zeros_like(IMAGE), filters=1), 0.0)


@pytest.mark.parametrize("name", ["convolution", "fully_connected"])
def test_guided_backpropagation_has_its_closed_form_as_mean_over_random_networks(name, key):
    architecture, filters, networks = ARCHITECTURES[name], 32, 3000

    @jax.jit
    def maps(keys):
        def one(k):
            params = random_weights(k, SHAPE, filters=filters, architecture=architecture)
            return guided_backprop(class_score(random_network, params, 0), IMAGE)

        return jax.lax.map(one, keys, batch_size=100)

    found = np.asarray(maps(jax.random.split(key, networks)), np.float64)
    expected = np.asarray(expected_guided_backprop(IMAGE, filters=filters, kernel_size=architecture.kernel_size))
    off = (found.mean(0) - expected) / (found.std(0) / math.sqrt(networks))
    # As many standard normal numbers as pixels, which are not independent.
    assert np.abs(off).max() < 5 and np.sqrt((off**2).mean()) < 1.5
    # And the standard error is small beside what is tested.
    assert np.abs(expected).max() > 20 * (found.std(0) / math.sqrt(networks)).max()


def test_a_fully_connected_network_needs_many_times_more_units_than_pixels():
    assert fully_connected_recovery(784, 784) < 0.31 and fully_connected_recovery(784, 7740) > 0.7
    assert 0.995 < fully_connected_recovery(784, 1_000_000) < 1
