"""Max pooling: values and gradients against XLA's own, Flax's and a slow re-derivation, in every bit."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax.tracing import fast_pooling, max_pool
from saliency_jax.tracing.compat import trace

SHAPE = (2, 7, 6, 3)

KINDS = {
    "distinct": lambda draw, shape: draw.permutation(np.prod(shape)).reshape(shape) - 20.0,
    "ties": lambda draw, shape: draw.integers(-1, 2, shape).astype(float),
    "exact zeros": lambda draw, shape: np.maximum(draw.normal(size=shape), 0.0),
    "constant": lambda draw, shape: np.full(shape, 0.7),
    "blank": lambda draw, shape: np.zeros(shape),
    "negative": lambda draw, shape: -1.0 - draw.random(shape),
}

# window, strides, padding (low, high), window dilation of the two spatial axes
GEOMETRIES = {
    "2x2, no overlap": ((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    "3x3, stride 1": ((3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "3x3, stride 2, same": ((3, 3), (2, 2), ((1, 1), (0, 1)), (1, 1)),
    "uneven": ((3, 2), (1, 3), ((2, 0), (1, 1)), (1, 1)),
    "dilated": ((2, 3), (2, 1), ((1, 0), (2, 2)), (3, 2)),
    "padding past the window": ((2, 2), (1, 1), ((3, 0), (0, 3)), (1, 1)),
    "one place": ((1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    "all of it": ((7, 6), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "past the unrolled size": ((9, 8), (1, 1), ((2, 2), (1, 1)), (1, 1)),
}


def pooled(geometry):
    window, strides, padding, dilation = geometry
    return lambda x: lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        (1, *window, 1),
        (1, *strides, 1),
        ((0, 0), *padding, (0, 0)),
        window_dilation=(1, *dilation, 1),
    )


def first_maximum(x, cotangent, geometry):
    """The gradient by a loop over windows and places: all of a window's cotangent to its first largest place."""
    window, strides, padding, dilation = geometry
    gradient = np.zeros_like(x)
    for index in np.ndindex(*cotangent.shape):
        image, *place, channel = index
        best, where = -np.inf, None
        for offset in itertools.product(*map(range, window)):
            at = tuple(
                p * s + o * d - low
                for p, s, o, d, (low, _) in zip(place, strides, offset, dilation, padding, strict=True)
            )
            inside = all(0 <= a < n for a, n in zip(at, x.shape[1:-1], strict=True))
            if inside and x[(image, *at, channel)] > best:
                best, where = x[(image, *at, channel)], (image, *at, channel)
        if where is not None:
            gradient[where] += cotangent[index]
    return gradient


def value_and_gradient(f):
    """Value, gradient and cotangent; cotangents are small whole numbers, so that their sums are exact in any order."""

    @jax.jit
    def both(x):
        value, transposed = jax.vjp(f, x)
        cotangent = (jnp.arange(value.size) % 7 - 3).reshape(value.shape).astype(value.dtype)
        return value, transposed(cotangent)[0], cotangent

    return both


def assert_same_bits(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_values_and_gradients_are_xlas_bit_for_bit_and_go_to_the_first_maximum(geometry):
    dilated = geometry[-1] != (1, 1)  # XLA has no gradient there; the loop over windows has.
    ours, xlas = value_and_gradient(fast_pooling(pooled(geometry))), value_and_gradient(pooled(geometry))
    for kind in KINDS.values():
        x = kind(np.random.default_rng(1), SHAPE).astype(np.float32)
        found = ours(x)
        np.testing.assert_array_equal(found[0], pooled(geometry)(x))
        np.testing.assert_array_equal(found[1], first_maximum(x, np.asarray(found[2]), geometry))
        if not dilated:
            assert_same_bits(found, xlas(x))


def test_forward_derivatives_of_both_orders_are_xlas():
    x = jnp.asarray(KINDS["distinct"](np.random.default_rng(2), SHAPE), jnp.float32)
    v = jnp.sin(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)

    def derivatives(f):
        gradient = jax.grad(lambda x: jnp.sum(f(x) ** 3))
        return jax.jit(lambda x, v: (jax.jvp(f, (x,), (v,)), jax.jvp(gradient, (x,), (v,))))(x, v)

    f = pooled(GEOMETRIES["3x3, stride 2, same"])
    found, expected = derivatives(fast_pooling(f)), derivatives(f)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-5)


def test_forward_and_reverse_agree_on_ties():
    """XLA's own do not: there the forward derivative goes to another of the equal places."""
    geometry = GEOMETRIES["3x3, stride 2, same"]
    x = jnp.asarray(KINDS["ties"](np.random.default_rng(2), SHAPE), jnp.float32)
    v = (jnp.arange(x.size, dtype=x.dtype) % 11 - 5).reshape(x.shape)
    _, gradient, cotangent = value_and_gradient(fast_pooling(pooled(geometry)))(x)
    tangent = jax.jit(lambda x, v: jax.jvp(fast_pooling(pooled(geometry)), (x,), (v,))[1])(x, v)
    assert jnp.vdot(tangent, cotangent) == jnp.vdot(v, gradient) != 0


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float64])
def test_every_float_keeps_its_type_and_is_exact(dtype):
    with jax.enable_x64(True):
        x = jnp.asarray(KINDS["ties"](np.random.default_rng(3), SHAPE), dtype)
        f = pooled(GEOMETRIES["2x2, no overlap"])
        found = value_and_gradient(fast_pooling(f))(x)
        assert found[0].dtype == dtype
        assert_same_bits(found, value_and_gradient(f)(x))


@pytest.mark.parametrize(("pair", "largest"), [((-0.0, 0.0), 0.0), ((0.0, -0.0), 0.0), ((-0.0, -0.0), -0.0)])
def test_the_sign_of_zero_survives_differentiation(pair, largest):
    x = jnp.array(pair).reshape(1, 2, 1)
    value, tangent = jax.jvp(lambda x: max_pool(x, (2,)), (x,), (jnp.array([[[3.0], [5.0]]]),))
    assert np.signbit(value.item()) == np.signbit(largest) and value.item() == 0
    assert tangent.item() == 3.0


@pytest.mark.parametrize("place", range(4))
def test_a_nan_is_the_maximum_of_its_windows(place):
    x = jnp.arange(8.0).at[place].set(jnp.nan).reshape(1, 8, 1)
    for run in (lambda x: max_pool(x, (4,), (4,)), lambda x: jax.vjp(lambda x: max_pool(x, (4,), (4,)), x)[0]):
        value = np.asarray(run(x)).ravel()
        assert np.isnan(value[0]) and value[1] == 7


def test_whole_numbers_dilated_inputs_and_large_windows_keep_xlas_own_equation():
    def window(x, least, **options):
        return lax.reduce_window(x, least, lax.max, (1, 2, 2, 1), (1, 1, 1, 1), "VALID", **options)

    whole = jnp.arange(12).reshape(1, 4, 3, 1)
    cases = [
        (lambda x: window(x, jnp.iinfo(x.dtype).min), whole),
        (lambda x: window(x, -jnp.inf, base_dilation=(1, 2, 2, 1)), whole.astype(float)),
        (pooled(GEOMETRIES["past the unrolled size"]), jnp.zeros(SHAPE)),
    ]
    for f, x in cases:
        equations = trace(fast_pooling(f), x).jaxpr.eqns
        assert [equation.primitive.name for equation in equations] == ["reduce_window_max"]
        np.testing.assert_array_equal(fast_pooling(f)(x), f(x))


OPTIONS = {
    "2x2 by 2": {"window_shape": (2, 2), "strides": (2, 2)},
    "no strides": {"window_shape": (3, 2)},
    "same": {"window_shape": (3, 3), "strides": (2, 2), "padding": "SAME"},
    "same, no strides": {"window_shape": (2, 3), "strides": None, "padding": "SAME"},
    "explicit": {"window_shape": (2, 3), "strides": (1, 2), "padding": ((1, 0), (2, 1))},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_max_pool_is_flaxs_in_value_and_gradient(options):
    ours = value_and_gradient(lambda x: max_pool(x, **options))
    flaxs = value_and_gradient(lambda x: nn.max_pool(x, **options))
    for kind in KINDS.values():
        x = jnp.asarray(kind(np.random.default_rng(4), (2, 7, 8, 3)), jnp.float32)
        assert_same_bits(ours(x), flaxs(x))


@pytest.mark.parametrize("shape", [(2, 9, 3), (2, 5, 4, 6, 3)], ids=["one axis", "three axes"])
def test_max_pool_takes_any_number_of_spatial_axes(shape):
    x = jnp.asarray(KINDS["ties"](np.random.default_rng(5), shape), jnp.float32)
    geometry = (2, 3, 2)[: len(shape) - 2], (2, 1, 3)[: len(shape) - 2], "SAME"
    found = value_and_gradient(lambda x: max_pool(x, *geometry))(x)
    assert_same_bits(found, value_and_gradient(lambda x: nn.max_pool(x, *geometry))(x))


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("window_shape", {"window_shape": (2,)}),
        ("window_shape", {"window_shape": (1, 2, 2, 1)}),
        ("window_shape", {"window_shape": (0, 2)}),
        ("window_shape", {"window_shape": (2, -1)}),
        ("strides", {"window_shape": (2, 2), "strides": (2,)}),
        ("strides", {"window_shape": (2, 2), "strides": (0, 1)}),
        ("padding", {"window_shape": (2, 2), "padding": "CIRCULAR"}),
        ("padding", {"window_shape": (2, 2), "padding": ((0, 0),)}),
    ],
)
def test_a_window_that_does_not_fit_is_named(argument, options):
    with pytest.raises(ValueError, match=rf"{argument} (needs|must).*\(1, 4, 4, 1\)"):
        max_pool(jnp.ones((1, 4, 4, 1)), **options)
