"""Rules for layers with weights against the same rules in dense NumPy, on every layout of a layer."""

import dense_rules
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_rules import agree, site_of
from jax import lax

from saliency_jax import rules

NHWC, NCHW = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")

# Name: (operation of an input and weights, their shapes).
DENSE = {
    "last_axis": (lambda x, w: x @ w, (2, 3, 4), (4, 5)),
    "flattened": (lambda x, w: x.ravel() @ w, (2, 3, 2), (12, 5)),
    "weights_on_the_left": (lambda x, w: w @ x, (6,), (5, 6)),
    "middle_axis": (lambda x, w: lax.dot_general(x, w, (((1,), (0,)), ((), ()))), (2, 4, 3), (4, 5)),
    "batched_weights": (lambda x, w: lax.dot_general(x, w, (((1,), (1,)), ((0,), (0,)))), (3, 4), (3, 4, 2)),
}


def conv(numbers=NHWC, strides=(1, 1), padding="SAME", **options):
    return lambda x, w: lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=numbers, **options)


CONVOLUTIONS = {
    "channels_first": (conv(NCHW, padding="VALID"), (1, 2, 5, 4), (3, 2, 3, 2)),
    "strided": (conv(strides=(2, 1)), (1, 5, 4, 2), (3, 2, 2, 3)),
    "dilated_groups": (conv(rhs_dilation=(2, 1), feature_group_count=2), (2, 4, 3, 4), (2, 3, 2, 4)),
    "depthwise": (conv(feature_group_count=3, padding="VALID"), (1, 4, 3, 3), (3, 2, 1, 6)),
    "transposed": (conv(("NWC", "WIO", "NWC"), (1,), ((1, 1),), lhs_dilation=(2,)), (1, 5, 2), (2, 2, 3)),
    "image_as_kernel": (lambda x, w: conv(padding="VALID")(w, x), (2, 2, 2, 3), (1, 3, 3, 2)),
}
LAYERS = {**DENSE, **CONVOLUTIONS}

# Each rule with options that are not its defaults too.
RULES = [
    ("epsilon", {}),
    ("epsilon", {"epsilon": 0.25}),
    ("epsilon", {"bias": False}),
    ("zero", {}),
    ("norm", {}),
    ("gamma", {}),
    ("gamma", {"gamma": 2.0, "epsilon": 0.1}),
    ("gamma", {"bias": False}),
    ("z_plus", {}),
    ("z_plus", {"bias": False}),
    ("alpha_beta", {}),
    ("alpha_beta", {"alpha": 3.0, "beta": 2.0, "bias": False}),
    ("z_box", {"low": -3.0, "high": 2.0}),
    ("z_box", {}),
    ("w_square", {}),
    ("w_square", {"bias": False, "epsilon": 0.5}),
    ("flat", {}),
]
EXPECTED = {name: getattr(dense_rules, "epsilon" if name == "norm" else name) for name, _ in RULES}


def small_integers(random, *shape):
    """Among them zeros and both signs; sums are exact, in float32 too, so that z is often 0 with terms that are not."""
    return random.integers(-2, 3, shape).astype(float)


def normals(random, *shape):
    return random.normal(size=shape)


def along_last(b, axis, rank):
    return b.reshape([-1 if a == axis % rank else 1 for a in range(rank)])


def drawn(name, draw, dtype, *, bias=True):
    """A layer, the same with weights of one and no bias, an input, and relevance for its results."""
    operation, x_shape, w_shape = LAYERS[name]
    random = np.random.default_rng(0)
    x, w = (draw(random, *shape).astype(dtype) for shape in (x_shape, w_shape))
    relevance = normals(random, *jax.eval_shape(operation, x, w).shape)
    axis = {"channels_first": 1, "weights_on_the_left": 0}.get(name, relevance.ndim - 1)
    # Every other channel has no bias.
    b = draw(random, relevance.shape[axis]) * (np.arange(relevance.shape[axis]) % 2)
    b = np.expand_dims(b, [a for a in range(relevance.ndim) if a != axis]).astype(dtype)

    def layer(v):
        z = operation(v, jnp.asarray(w, v.dtype))
        return z + jnp.asarray(b, v.dtype) if bias else z

    return layer, lambda v: operation(v, jnp.ones(w_shape, v.dtype)), x, relevance


def check_rules(layer, ones, x, relevance, kind, bound):
    dense = dense_rules.dense_layer(layer, ones, x)
    site = site_of(layer, jnp.asarray(x), kind)
    for name, options in RULES:
        found = getattr(rules, name)(site, jnp.asarray(relevance, x.dtype), **options)
        share, taken = EXPECTED[name](dense, np.ravel(relevance), **options)
        [found_share] = found.inputs
        assert found_share.dtype == x.dtype
        # The bias's share beside those of the inputs: one scale, one bound.
        agree([*np.ravel(found_share), found.bias], [*share, taken], bound)


def kind_of(name):
    return "dense" if name in DENSE else "convolution"


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_rules_of_layers(name):
    with jax.enable_x64(True):
        check_rules(*drawn(name, small_integers, np.float64), kind_of(name), 1e-10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["last_axis", "strided"])
def test_rules_of_layers_with_any_numbers(name, bias):
    with jax.enable_x64(True):
        check_rules(*drawn(name, normals, np.float64, bias=bias), kind_of(name), 1e-10)


def test_rules_of_layers_in_single_precision():
    # Integers: z is exact, and the rule shares it as finely as the format allows.
    check_rules(*drawn("strided", small_integers, np.float32), "convolution", 1e-5)
