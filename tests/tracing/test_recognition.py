"""What a program is read as: one ReLU for every spelling of it, and operations that together are the function."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax import override
from saliency_jax.tracing.naming import plan_of, plan_with_params
from saliency_jax.tracing.operations import KINDS
from tests import small_networks

# Exact zeros of both signs, ties, and values beyond 6.
X = jnp.asarray([-7.0, -1.5, -0.25, -0.0, 0.0, 0.0, 1e-4, 0.25, 1.5, 1.5, 6.0, 8.0]).reshape(1, 3, 4)
PLAIN_NORM = partial(nn.LayerNorm(use_scale=False, use_bias=False).apply, {})
ZERO = jnp.zeros(())
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 4)), jnp.float32)


def kinds(f, *xs):
    return [operation.kind for operation in plan_of(f, *xs).plan.everything() if operation.kind != "constant"]


def kinds_of(f, params, x):
    return [operation.kind for operation in plan_with_params(f, params, x).plan.everything() if operation.inputs]


RELUS = {
    "jax.nn.relu": jax.nn.relu,
    "maximum(x, 0)": lambda x: jnp.maximum(x, 0),
    "maximum(0., x)": lambda x: jnp.maximum(0.0, x),
    "maximum with a closed-over scalar": lambda x: jnp.maximum(x, ZERO),
    "lax.max with zeros": lambda x: lax.max(x, jnp.zeros_like(x)),
    "lax.max with NumPy's zeros": lambda x: lax.max(x, np.zeros(x.shape, np.float32)),
    "relu6": jax.nn.relu6,
    "clip(x, 0, None)": lambda x: jnp.clip(x, 0, None),
    "clip(x, 0, 6)": lambda x: jnp.clip(x, 0, 6),
    "lax.clamp": lambda x: lax.clamp(0.0, x, 6.0),
    "maximum of a minimum": lambda x: jnp.maximum(jnp.minimum(x, 6), 0),
    "minus a minimum": lambda x: -jnp.minimum(-x, 0),
    "where(x > 0, x, 0)": lambda x: jnp.where(x > 0, x, 0),
    "where(x >= 0, x, 0)": lambda x: jnp.where(x >= 0, x, 0),
    "where(x < 0, 0, x)": lambda x: jnp.where(x < 0, 0, x),
    "where(0 < x, x, 0)": lambda x: jnp.where(x > 0, x, jnp.zeros_like(x)),
    "lax.select": lambda x: lax.select(x > 0, x, jnp.zeros_like(x)),
    "x * (x > 0)": lambda x: x * (x > 0),
    "(x + abs(x)) / 2": lambda x: (x + jnp.abs(x)) / 2,
    "half of x + abs(x)": lambda x: 0.5 * (jnp.abs(x) + x),
    "a custom_vjp": small_networks.guided_relu,
}


@pytest.mark.parametrize("spelling", RELUS)
def test_every_spelling_of_relu_is_one_relu(spelling):
    assert kinds(RELUS[spelling], X) == ["relu"]
    # And one between others, whose outputs it does not take in.
    assert kinds(lambda x: 3.0 * RELUS[spelling](jnp.sin(x)) + 1, X) == ["activation", "relu", "affine"]


@pytest.mark.parametrize("spelling", RELUS)
def test_every_spelling_keeps_its_own_gradient_at_zero_under_the_rule_that_changes_nothing(spelling):
    relu = RELUS[spelling]
    changed = override(relu, {"relu": identity})
    np.testing.assert_array_equal(changed(X), relu(X))
    slope = jax.grad(lambda x: jnp.vdot(relu(x), jnp.cos(x)))
    found = jax.grad(lambda x: jnp.vdot(changed(x), jnp.cos(x)))
    # No absolute tolerance: zeros are zeros. A spelling that reads x twice may add up in another order.
    np.testing.assert_allclose(found(X), slope(X), rtol=2e-7)


NO_RELUS = {
    "leaky_relu": jax.nn.leaky_relu,
    "gelu": jax.nn.gelu,
    "exact gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "celu": jax.nn.celu,
    "softplus": jax.nn.softplus,
    "softplus by hand": lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
    "tanh": jnp.tanh,
    "hard_tanh": jax.nn.hard_tanh,
    "hard_swish": jax.nn.hard_swish,
    "maximum(x, 0.1)": lambda x: jnp.maximum(x, 0.1),
    "maximum(x, -inf)": lambda x: jnp.maximum(x, -jnp.inf),
    "minimum(x, 0)": lambda x: jnp.minimum(x, 0),
    "a hard threshold": lambda x: jnp.where(x > 0.1, x, 0),
    "a threshold near zero": lambda x: jnp.where(x > 1e-4, x, 0),
    "abs": jnp.abs,
    "maximum with a parameter": lambda x: jnp.maximum(x, np.float32([[[0, 0, 0, 0.1]]])),
    "LayerNorm, whose variance is a maximum with 0": lambda x: PLAIN_NORM(x),
}


@pytest.mark.parametrize("name", NO_RELUS)
def test_what_is_no_relu_is_none(name):
    found = kinds(NO_RELUS[name], X)
    assert found and "relu" not in found


def test_relus_that_follow_one_another_are_counted_one_by_one():
    assert kinds(lambda x: jax.nn.relu(jnp.maximum(x, 0)), X) == ["relu", "relu"]
    assert kinds(lambda x: jnp.clip(jax.nn.relu(x), 0, 6), X) == ["relu", "relu"]
    assert kinds(lambda x: jnp.square(jax.nn.relu(2 * x)), X) == ["affine", "relu", "activation"]


def test_a_relu_between_two_casts_is_one_and_the_casts_are_none():
    half = kinds(lambda x: jax.nn.relu(x.astype(jnp.float16)).astype(jnp.float32), X)
    assert half == ["movement", "relu", "movement"]


def shapes(module, x):
    return jax.eval_shape(module.init, jax.random.key(0), x)


class ConvNorm(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=True)(nn.Conv(3, (3, 3))(x))


class Residual(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3))(x)
        return x + nn.BatchNorm(use_running_average=True)(nn.relu(x))


class SqueezeExcite(nn.Module):
    @nn.compact
    def __call__(self, x):
        gate = nn.sigmoid(nn.Dense(4)(nn.relu(nn.Dense(2)(x.mean((1, 2), keepdims=True)))))
        return x * gate


MODULES = {
    "convolution and bias": (nn.Conv(3, (3, 3)), ["convolution"]),
    "convolution without bias": (nn.Conv(3, (3, 3), strides=2, padding="VALID", use_bias=False), ["convolution"]),
    "grouped convolution": (nn.Conv(4, (3, 3), feature_group_count=4), ["convolution"]),
    "transposed convolution": (nn.ConvTranspose(3, (2, 2), strides=(2, 2)), ["convolution"]),
    "dense and bias": (nn.Dense(3), ["dense"]),
    "dense over two axes": (nn.DenseGeneral((2, 3), axis=(-2, -1)), ["dense"]),
    "einsum": (nn.Einsum((4, 3), "bhwc,cd->bhwd"), ["dense"]),
    "BatchNorm": (nn.Sequential([nn.BatchNorm(use_running_average=True)]), ["affine"]),
    "BatchNorm after a convolution": (ConvNorm(), ["convolution", "affine"]),
    "LayerNorm": (nn.LayerNorm(), ["normalization", "affine"]),
    "LayerNorm without its fast variance": (nn.LayerNorm(use_fast_variance=False), ["normalization", "affine"]),
    "RMSNorm": (nn.RMSNorm(), ["normalization"]),
    "GroupNorm": (nn.GroupNorm(2), ["normalization", "affine"]),
    "a residual sum of one value": (Residual(), ["convolution", "relu", "affine", "sum"]),
    "squeeze and excite": (
        SqueezeExcite(),
        ["average_pool", "affine", "dense", "relu", "dense", "activation", "product"],
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_flax_are_read_as_what_they_are(name):
    module, expected = MODULES[name]
    found = kinds_of(module.apply, shapes(module, IMAGES), IMAGES)
    assert [kind for kind in found if kind != "movement"] == expected


FUNCTIONS = {
    "softmax": (jax.nn.softmax, ["softmax"]),
    "softmax by hand": (lambda x: (e := jnp.exp(x - 1)) / e.sum(-1, keepdims=True), ["affine", "softmax"]),
    "log_softmax": (jax.nn.log_softmax, ["affine", "activation", "average_pool", "activation", "sum"]),
    "a norm of one": (lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True), ["normalization"]),
    "GLU": (jax.nn.glu, ["activation", "product"]),
    "GLU of SiLU": (lambda x: jax.nn.silu(x[..., :2]) * x[..., 2:], ["activation", "product"]),
    "average pool that counts padding": (lambda x: nn.avg_pool(x, (3, 3), (1, 1), "SAME"), ["average_pool"]),
    "average pool that does not": (
        lambda x: nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False),
        ["average_pool"],
    ),
    "max pool": (lambda x: nn.max_pool(x, (2, 2), (2, 2)), ["max_pool"]),
    "global maximum": (lambda x: x.max((1, 2)), ["max_pool"]),
    "global mean": (lambda x: x.mean((1, 2)), ["average_pool"]),
    "residual sum": (lambda x: x + jnp.tanh(x), ["activation", "sum"]),
    "residual sum around a ReLU": (lambda x: x + jax.nn.relu(2 * x + 1), ["affine", "relu", "sum"]),
    "difference of a branch": (lambda x: 2 * x - jnp.tanh(x), ["activation", "affine", "sum"]),
    "concatenation": (lambda x: jnp.concatenate([x, jnp.sin(x)], -1), ["activation", "concatenation"]),
    "concatenation with a constant": (lambda x: jnp.concatenate([x, jnp.ones(x.shape)], -1), []),
    "quotient of two": (lambda x: x / (1 + jnp.square(x[..., :1])), ["activation", "affine", "quotient"]),
    "square": (lambda x: x * x, ["activation"]),
    "cumulative sum": (lambda x: jnp.cumsum(x, 1), ["linear"]),
    "product along an axis": (lambda x: jnp.prod(x, -1), ["unknown"]),
    "scaling and shift": (lambda x: (x / 255 - 0.5) * 2, ["affine"]),
    "stopped factor": (lambda x: x * lax.stop_gradient(x[..., :1]), ["affine"]),
    "attention": (
        lambda x: jnp.einsum("bhqk,bhkc->bhqc", jax.nn.softmax(jnp.einsum("bhqc,bhkc->bhqk", x, x)), jnp.sin(x)),
        ["activation", "matrix_product", "softmax", "matrix_product"],
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_read_as_what_they_are(name):
    f, expected = FUNCTIONS[name]
    # In any order in which one follows from the other: what is independent may be read in another.
    assert sorted(kind for kind in kinds(f, IMAGES) if kind != "movement") == sorted(expected)


def test_a_bias_is_part_of_its_own_layer_alone():
    params = {"a": {"kernel": jnp.ones((4, 4))}, "b": {"scale": jnp.ones((1, 1, 1, 4))}}
    assert kinds_of(lambda p, x: x @ p["a"]["kernel"] + p["b"]["scale"], params, IMAGES) == ["dense", "affine"]


def test_a_number_is_no_bias():
    assert kinds_of(lambda p, x: x @ p["kernel"] + 0.3, {"kernel": jnp.ones((4, 4))}, IMAGES) == ["dense", "affine"]


def test_what_a_layer_gives_to_two_readers_is_not_hidden_in_a_longer_operation():
    params = {"kernel": jnp.ones((4, 4)), "bias": jnp.ones((1, 1, 1, 4))}

    def f(p, x):
        y = x @ p["kernel"]
        return (y + p["bias"]) * jnp.flip(y, 1)

    assert sorted(kinds_of(f, params, IMAGES)) == ["affine", "dense", "movement", "product"]


def identity(site, cotangent):
    return site.gradient(cotangent)


@jax.custom_jvp
def own_rule(x):
    return jnp.cumsum(x, -1)


own_rule.defjvp(lambda primals, tangents: (own_rule(*primals), 3.0 * tangents[0]))

EVERY_KIND = {
    "convolution": lambda p, x: small_networks.conv(p["conv"], x),
    "dense": lambda p, x: small_networks.dense(p["dense"], x),
    "average_pool": lambda p, x: small_networks.average_pool(x),
    "affine": lambda p, x: x * p["dense"]["bias"][None, None, None] + 0.3,
    "normalization": lambda p, x: PLAIN_NORM(x),
    "relu": lambda p, x: jax.nn.relu(x) + jnp.maximum(x[:, ::-1], 0),
    "activation": lambda p, x: jax.nn.gelu(x),
    "max_pool": lambda p, x: small_networks.max_pool(x),
    "sum": lambda p, x: x + jnp.flip(x, 1),
    "product": lambda p, x: x * jnp.flip(x, 1),
    "quotient": lambda p, x: x / (2 + jnp.cos(jnp.flip(x, 1))),
    "matrix_product": lambda p, x: jnp.einsum("bhwc,bhvc->bhwv", x, x),
    "softmax": lambda p, x: jax.nn.softmax(x),
    "linear": lambda p, x: jnp.cumsum(x, 1),
    "concatenation": lambda p, x: jnp.concatenate([x, jnp.sin(x)], -1),
    "movement": lambda p, x: jnp.flip(x, 1).transpose(0, 3, 1, 2)[:, :, 1:],
    "custom": lambda p, x: own_rule(x),
    "scan": lambda p, x: lax.scan(lambda c, _: (jnp.tanh(small_networks.dense(p["dense"], c)), c), x, None, length=3)[
        1
    ],
    "branch": lambda p, x: lax.cond(x.sum() > 0, jnp.tanh, lambda x: jnp.sin(x) * 2, x),
    "remat": lambda p, x: jax.checkpoint(lambda x: jnp.tanh(small_networks.dense(p["dense"], x)))(x),
    "unknown": lambda p, x: jnp.cumprod(x, -1),
}


def test_every_kind_but_the_loop_is_tried():
    assert {*EVERY_KIND, "loop"} == set(KINDS)


def value(f, x):
    return f(x)


def gradient(f, x):
    result, back = jax.vjp(f, x)
    return back(jnp.cos(jnp.arange(result.size, dtype=result.dtype)).reshape(result.shape))[0]


@pytest.mark.slow
@pytest.mark.parametrize(("take", "bound"), [(value, 0.0), (gradient, 1e-6)])
def test_a_rule_that_changes_nothing_changes_no_bit_of_any_value_and_no_gradient(take, bound, key):
    def found(params, x, changed):
        made = {kind: partial(f, params) for kind, f in EVERY_KIND.items()}
        return {kind: take(override(f, {kind: identity}) if changed else f, x) for kind, f in made.items()}

    compiled = jax.jit(found, static_argnames="changed")
    layer = small_networks.product_layer
    params, x = {"conv": layer(key, 3, 3, 4, 4), "dense": layer(key, 4, 4)}, IMAGES.at[:, :3].set(0.0)
    other, true = (compiled(params, x, changed=changed) for changed in (True, False))
    for kind, f in EVERY_KIND.items():
        assert kind in kinds(partial(f, params), x)
        near = bound * float(jnp.abs(true[kind]).max())
        np.testing.assert_allclose(other[kind], true[kind], rtol=bound, atol=near, err_msg=kind)


def test_a_loop_of_unknown_length_keeps_its_values():
    def f(x):
        return lax.while_loop(lambda y: jnp.abs(y).sum() < 50.0, lambda y: 1.9 * y + jnp.tanh(y), x)

    assert "loop" in kinds(f, X)
    np.testing.assert_array_equal(jax.jit(override(f, {"loop": identity}))(0.1 * X), jax.jit(f)(0.1 * X))
