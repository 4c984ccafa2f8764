import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax.tracing import canonical_convolutions

FAST_LAYOUT = {1: "b0f_0io->b0f", 2: "b01f_01io->b01f", 3: "b012f_012io->b012f"}

CONVOLUTIONS = {
    "channels last": ((2, 7, 6, 4), (3, 3, 4, 5), {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}),
    "channels first": ((2, 4, 7, 6), (5, 4, 3, 2), {"dimension_numbers": ("NCHW", "OIHW", "NCHW")}),
    "mixed": ((4, 7, 6, 2), (3, 5, 3, 4), {"dimension_numbers": ("CHWN", "HOWI", "NHCW")}),
    "strided": ((2, 4, 9, 8), (5, 4, 3, 3), {"window_strides": (2, 3), "padding": ((0, 2), (1, 0))}),
    "dilated": ((2, 4, 9, 8), (5, 4, 3, 3), {"rhs_dilation": (2, 1), "lhs_dilation": (1, 2)}),
    "depthwise": ((2, 4, 7, 6), (8, 1, 3, 3), {"feature_group_count": 4}),
    "batch groups": ((4, 3, 7, 6), (6, 3, 3, 3), {"batch_group_count": 2}),
    "one axis": ((2, 4, 9), (5, 4, 3), {}),
    "into an image": ((2, 7, 6, 8), (5, 4, 8, 3), {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}),
    "of an image": ((2, 7, 6, 1), (5, 5, 1, 8), {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}),
    "of an image, uneven": ((2, 3, 7, 6), (8, 3, 2, 3), {"padding": ((0, 2), (1, 0))}),
    "three axes": ((2, 2, 5, 4, 6), (3, 2, 2, 3, 2), {}),
}


@pytest.fixture(params=CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def convolution(request):
    """A function of two operands whose every element counts with another weight, and the operands."""
    lhs_shape, rhs_shape, options = request.param
    options = {"window_strides": (1,) * (len(lhs_shape) - 2), "padding": "SAME"} | options
    if "lhs_dilation" in options:
        options["padding"] = ((1, 1),) * (len(lhs_shape) - 2)
    draw = np.random.default_rng(0).standard_normal
    operands = (jnp.array(draw(lhs_shape), jnp.float32), jnp.array(draw(rhs_shape), jnp.float32))

    def weighted(lhs, rhs):
        out = lax.conv_general_dilated(lhs, rhs, **options)
        return jnp.sum(jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape) * out**2)

    return weighted, operands


def layouts(f, *args):
    """The layouts of all convolutions in the program that `f` is lowered to."""
    text = jax.jit(f).lower(*args).as_text(dialect="hlo")
    return set(re.findall(r"convolution\(.*dim_labels=([^\s,]+)", text))


def test_values_and_gradients_stay_the_same(convolution):
    f, operands = convolution
    gradient = jax.value_and_grad(f, (0, 1))
    expected, actual = jax.jit(gradient)(*operands), jax.jit(canonical_convolutions(gradient))(*operands)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_every_convolution_of_the_gradient_is_in_the_fast_layout(convolution):
    f, operands = convolution
    gradient = jax.grad(f, (0, 1))
    fast = FAST_LAYOUT[operands[0].ndim - 2]
    assert layouts(gradient, *operands) - {fast}, "autodiff writes other layouts, or this test tests nothing"
    assert layouts(canonical_convolutions(gradient), *operands) == {fast}


def test_gradients_inside_a_scan_are_reached(convolution):
    f, operands = convolution
    gradient = jax.grad(f, (0, 1))

    def descend(lhs, rhs):
        def step(carry, _):
            grads = gradient(*carry)
            return tuple(c - 1e-3 * g for c, g in zip(carry, grads, strict=True)), None

        return lax.scan(step, (lhs, rhs), None, length=3)[0]

    fast = canonical_convolutions(descend)
    assert layouts(fast, *operands) == {FAST_LAYOUT[operands[0].ndim - 2]}
    for a, b in zip(jax.jit(fast)(*operands), jax.jit(descend)(*operands), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_what_is_canonical_can_be_differentiated_forward_again(convolution):
    f, operands = convolution
    tangents = jax.tree.map(jnp.ones_like, operands)

    def second(gradient):
        return jax.jit(lambda x, v: jax.jvp(gradient, x, v)[1])(operands, tangents)

    expected, actual = second(jax.grad(f)), second(canonical_convolutions(jax.grad(f)))
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


def test_a_function_without_convolutions_is_left_alone():
    assert canonical_convolutions(jnp.sin)(0.5) == jnp.sin(0.5)
