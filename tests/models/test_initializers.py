import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax import random

from saliency_jax.models import CNN, INITIALIZERS, MLP
from saliency_jax.models.initializers import fan_in_truncated_normal, truncated_normal

CUT_NORMAL = scipy.stats.truncnorm(-2, 2)


def assert_drawn_from(draws, scale):
    draws = np.asarray(draws, np.float64).ravel()
    statistic = scipy.stats.kstest(draws / scale, CUT_NORMAL.cdf).statistic
    # 2.5 / sqrt(n) is passed by chance once in 10^5 times.
    assert statistic < 2.5 / np.sqrt(draws.size)
    assert np.abs(draws).max() <= 2 * scale * (1 + 1e-6)


def test_truncated_normal_is_cut_at_two_sigma_and_not_stretched(key):
    draws = truncated_normal(0.1)(key, (300_000,), jnp.float32)
    assert_drawn_from(draws, 0.1)
    assert CUT_NORMAL.std() == pytest.approx(0.8796, abs=5e-5)
    assert np.std(draws) == pytest.approx(0.08796, rel=5e-3)
    assert np.abs(np.asarray(draws)).max() > 1.99 * 0.1


@pytest.mark.parametrize("shape, fan_in", [((784, 600), 784), ((5, 5, 32, 64), 800)])
def test_fan_in_scale_counts_every_axis_but_the_last(key, shape, fan_in):
    draws = fan_in_truncated_normal(2.0)(key, shape, jnp.float32)
    assert_drawn_from(draws, 2 / np.sqrt(fan_in))


@pytest.mark.parametrize("make", [truncated_normal, fan_in_truncated_normal])
@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_not_positive_and_finite_is_refused(make, scale):
    with pytest.raises(ValueError, match="positive and finite"):
        make(scale)


@pytest.mark.parametrize("shape", [(), (3,), (0, 3)])
def test_fan_in_needs_a_kernel_with_inputs(key, shape):
    with pytest.raises(ValueError, match="shape must be that of a kernel"):
        fan_in_truncated_normal(2.0)(key, shape, jnp.float32)


def test_the_paper_redraws_kernels_and_biases_alike(key):
    kernel_init, bias_init = INITIALIZERS["paper"]
    model = CNN(units=512, kernel_init=kernel_init, bias_init=bias_init)
    params = jax.jit(model.init)(key, jnp.zeros((1, 12, 12, 1)))
    for layer in params["params"].values():
        assert_drawn_from(layer["kernel"], 0.01)
    assert_drawn_from(params["params"]["dense"]["bias"], 0.01)


@pytest.mark.slow
def test_the_released_cnn_draws_kernels_at_a_tenth_and_sets_biases_to_a_tenth(key):
    params = jax.jit(CNN(units=256).init)(key, jnp.zeros((1, 12, 12, 1)))["params"]
    for layer in params.values():
        assert_drawn_from(layer["kernel"], 0.1)
        np.testing.assert_array_equal(layer["bias"], np.float32(0.1))


def test_the_released_mlp_draws_by_fan_in_and_sets_biases_to_zero(key):
    params = jax.jit(MLP(widths=(300, 200, 100)).init)(key, jnp.zeros((1, 28, 28, 1)))["params"]
    for name, fan_in in {"hidden1": 784, "hidden2": 300, "hidden3": 200, "logits": 100}.items():
        assert_drawn_from(params[name]["kernel"], 2 / np.sqrt(fan_in))
        assert not params[name]["bias"].any()


def test_initializers_follow_the_dtype_asked_for(key):
    with jax.enable_x64(True):
        for initializers in INITIALIZERS.values():
            assert initializers.kernel(random.key(0), (3, 4), jnp.float64).dtype == jnp.float64
            assert initializers.bias(random.key(0), (4,), jnp.float64).dtype == jnp.float64
