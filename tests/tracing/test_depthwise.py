"""Depthwise convolutions as sums of shifts are those of XLA, in every padding, stride and dilation, and fast."""

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax.models import MOBILENETS, MobileNetV2
from saliency_jax.tracing import canonical_convolutions, compiled
from saliency_jax.tracing.depthwise import depthwise_convolution, is_depthwise

CASES = list(
    itertools.product(
        [(3, 3), (1, 5), (2, 4)],
        [(1, 1), (2, 3)],
        [((0, 0), (0, 0)), ((1, 2), (0, 3)), ((-1, 2), (1, -1))],
        [(1, 1), (2, 2)],
        [(1, 1), (2, 1)],
    )
)


def options(strides=(1, 1), padding=((0, 0), (0, 0)), lhs=(1, 1), rhs=(1, 1)):
    return {
        "window_strides": strides,
        "padding": padding,
        "lhs_dilation": lhs,
        "rhs_dilation": rhs,
        "batch_group_count": 1,
    }


@pytest.mark.parametrize(("taps", "strides", "padding", "lhs_dilation", "rhs_dilation"), CASES)
def test_the_sum_of_shifts_is_the_convolution(taps, strides, padding, lhs_dilation, rhs_dilation):
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, w = jnp.asarray(random.normal(size=(2, 9, 11, 6))), jnp.asarray(random.normal(size=(*taps, 1, 6)))
        params = options(strides, padding, lhs_dilation, rhs_dilation)
        expected = lax.conv_general_dilated(
            x,
            w,
            feature_group_count=6,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            **params,
        )
        assert is_depthwise(x, w, params | {"feature_group_count": 6})
        # As one program: outside of it each of its shifts would be compiled by itself.
        found = jax.jit(lambda x, w: depthwise_convolution(x, w, params))(x, w)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_what_is_not_depthwise_is_told_apart():
    x = jnp.zeros((1, 8, 8, 6))
    assert not is_depthwise(x, jnp.zeros((3, 3, 6, 6)), options() | {"feature_group_count": 1})
    assert not is_depthwise(x, jnp.zeros((3, 3, 2, 6)), options() | {"feature_group_count": 3})
    assert not is_depthwise(x, jnp.zeros((3, 3, 1, 12)), options() | {"feature_group_count": 6})
    assert not is_depthwise(x, jnp.zeros((30, 30, 1, 6)), options() | {"feature_group_count": 6})
    assert not is_depthwise(x[..., :1], jnp.zeros((3, 3, 1, 1)), options() | {"feature_group_count": 1})


def grouped(x, w):
    y = lax.conv_general_dilated(
        x, w, (2, 2), "SAME", feature_group_count=6, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.sum(jnp.sin(y))


@pytest.mark.slow
def test_gradients_and_their_exact_zeros_stay():
    random = np.random.default_rng(1)
    x, w = random.normal(size=(2, 10, 10, 6)), random.normal(size=(3, 3, 1, 6))
    x[:, :4], w[..., 2] = 0, 0
    with jax.enable_x64(True):
        arguments = jnp.asarray(x), jnp.asarray(w)
        expected = jax.grad(grouped, (0, 1))(*arguments)
        found = canonical_convolutions(jax.grad(grouped, (0, 1)))(*arguments)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(np.asarray(one) == 0, np.asarray(other) == 0)


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="depthwise convolutions are rewritten on CPUs alone")
def test_a_network_of_depthwise_convolutions_is_several_times_faster():
    model = MobileNetV2(**MOBILENETS["mobilenet_v2"])
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 96, 96, 3)))
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01, leaf.dtype), shapes)
    images = jnp.ones((4, 96, 96, 3))

    def seconds(apply):
        run = compiled(apply)
        run(params, images).block_until_ready()
        times = []
        for _ in range(5):
            began = time.perf_counter()
            run(params, images).block_until_ready()
            times.append(time.perf_counter() - began)
        return min(times)

    assert seconds(canonical_convolutions(model.apply)) < seconds(model.apply) / 2
