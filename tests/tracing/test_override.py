"""Backward rules of one's own for a kind of operation, wherever it stands: other gradients, the same values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax import override
from saliency_jax.tracing.operations import KINDS

X = jnp.linspace(-1.5, 1.7, 6).reshape(2, 3)
W = jnp.linspace(-0.9, 0.8, 9).reshape(3, 3)


def tripled(site, cotangent):
    return tuple(3 * g for g in site.gradient(cotangent))


@jax.custom_vjp
def tripled_tanh(x):
    return jnp.tanh(x)


tripled_tanh.defvjp(lambda x: (jnp.tanh(x), x), lambda x, g: (3 * g * (1 - jnp.tanh(x) ** 2),))

# Programs that are parametrized by what they use for tanh, so that the oracle is the program itself.


def plain(tanh):
    return lambda x: tanh(x @ W) + x


def call(tanh):
    return jax.jit(lambda x: jax.jit(tanh)(x @ W) @ W)


def remat(tanh):
    return jax.checkpoint(lambda x: tanh(x @ W) @ W)


def scan(tanh):
    return lambda x: lax.scan(lambda c, row: (tanh(c @ W) + row, tanh(row * c.sum())), x[0], x, reverse=True)[1]


def fixed_trips(tanh):
    return lambda x: lax.fori_loop(0, 3, lambda i, y: tanh(y @ W), x)


def cond(tanh):
    return lambda x: lax.cond(x.sum() > 0, lambda x: tanh(x @ W), lambda x: -x @ W, x)


def switch(tanh):
    branches = [jnp.negative, lambda x: tanh(x) @ W, tanh]
    return lambda x: sum(lax.switch(jnp.int32(i), branches, x) for i in range(3))


def mapped(tanh):
    return jax.vmap(lambda row: lax.cond(row.sum() > 0, tanh, jnp.negative, row))


def nested(tanh):
    inner = remat(tanh)
    return jax.jit(lambda x: lax.fori_loop(0, 2, lambda _, y: lax.cond(y.sum() > 0, inner, jnp.negative, y), x))


def behind_a_jvp(tanh):
    @jax.custom_jvp
    def f(x):
        return tanh(x @ W)

    f.defjvp(lambda primals, tangents: jax.jvp(lambda x: tanh(x @ W), primals, tangents))
    return f


def behind_a_vjp(tanh):
    @jax.custom_vjp
    def f(x):
        return tanh(x @ W)

    f.defvjp(lambda x: jax.vjp(lambda x: tanh(x @ W), x), lambda back, g: back(g))
    return f


PROGRAMS = [plain, call, remat, scan, fixed_trips, cond, switch, mapped, nested, behind_a_jvp, behind_a_vjp]


def slope(f):
    return jax.grad(lambda x: jnp.sum(f(x) ** 2))


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_rule_is_in_force_at_every_depth(program):
    def both(f):
        return jax.jit(lambda x: (f(x), slope(f)(x)))

    true = program(jnp.tanh)
    (value, found), (kept, expected) = both(override(true, {"activation": tripled}))(X), both(program(tripled_tanh))(X)
    np.testing.assert_allclose(value, kept, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(found, slope(true)(X))


def test_a_rule_is_given_the_operation_at_its_values():
    seen = []

    def rule(site, cotangent):
        seen.append((site.operation.kind, len(site.inputs), len(site.sides), cotangent.shape))
        np.testing.assert_array_equal(site.function(*site.inputs), site.output)
        return (jnp.full_like(site.inputs[0], 5.0),)

    f = override(lambda x: (x @ W).sum(), {"dense": rule})
    np.testing.assert_array_equal(jax.grad(f)(X), jnp.full((2, 3), 5.0))
    assert seen == [("dense", 1, 1, (2, 3))]


def own(derivative):
    if derivative == "jvp":
        f = jax.custom_jvp(lambda x: jnp.cumsum(jnp.maximum(x, 0), 1))
        f.defjvp(lambda primals, tangents: (f(*primals), 7.0 * tangents[0]))
    else:
        f = jax.custom_vjp(lambda x: jnp.cumsum(jnp.maximum(x, 0), 1))
        f.defvjp(lambda x: (f(x), None), lambda _, g: (7.0 * g,))
    return f


@pytest.mark.parametrize("derivative", ["jvp", "vjp"])
def test_a_derivative_of_one_s_own_stays_whole_unless_a_rule_applies_inside(derivative):
    f = own(derivative)
    other = override(lambda x: f(x) + jnp.tanh(x), {"activation": tripled})
    np.testing.assert_array_equal(other(X), f(X) + jnp.tanh(X))
    expected = 7.0 + 3 * (1 - jnp.tanh(X) ** 2)
    np.testing.assert_allclose(jax.grad(lambda x: other(x).sum())(X), expected, rtol=1e-6)
    # The rule for what it holds takes its derivative's place: that of the body.
    inside = override(f, {"relu": lambda site, g: (10 * g,)})
    np.testing.assert_array_equal(jax.grad(lambda x: inside(x).sum())(X), jnp.asarray([[30.0, 20.0, 10.0]] * 2))


def test_unknown_kinds_are_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"kinds among convolution, dense.*; got Relu, conv$"):
        override(jnp.tanh, {"relu": tripled, "conv": tripled, "Relu": tripled})
    override(jnp.tanh, dict.fromkeys(KINDS, tripled))


def test_a_loop_of_unknown_length_keeps_its_values_and_has_no_reverse_gradient():
    def f(x):
        return lax.while_loop(lambda y: jnp.abs(y).sum() < 50.0, lambda y: 1.9 * y + jax.nn.relu(y) + 0.1, x)

    other = override(f, {"relu": lambda site, g: (g,)})
    np.testing.assert_allclose(other(X), f(X), rtol=1e-6)
    with pytest.raises(ValueError, match="Reverse-mode differentiation"):
        jax.grad(lambda x: other(x).sum())(X)


def test_what_cannot_be_entered_is_refused_by_name_and_place_only_where_a_rule_applies_inside():
    def f(x):
        with jax.named_scope("middle"):
            return lax.reduce(jnp.sin(x), 0.0, lambda a, b: jax.nn.relu(a) + b, (1,)).sum()

    with pytest.raises(ValueError, match=r"the reduce at middle .* not known how to go inside it"):
        override(f, {"relu": tripled})(X)
    np.testing.assert_allclose(override(f, {"activation": tripled})(X), f(X), rtol=1e-6)


def test_what_a_function_closes_over_and_its_weights_keep_their_true_gradient():
    def loss(w, changed):
        def f(x):
            return jnp.tanh(jnp.tanh(x @ w) * w[0][None])

        return jnp.sum((override(f, {"activation": lambda site, g: (0 * g,), "dense": tripled}) if changed else f)(X))

    def last(w, changed):
        f = override(lambda x: x @ w, {"dense": lambda site, g: (jnp.zeros_like(X),)}) if changed else lambda x: x @ w
        return jnp.sum(f(X) ** 2)

    np.testing.assert_allclose(jax.grad(last)(W, True), jax.grad(last)(W, False), rtol=1e-6)
    # What lies behind an overridden operation gets what the rule gives: here nothing.
    np.testing.assert_array_equal(jax.grad(loss)(W, True), jnp.zeros_like(W))
    assert jnp.abs(jax.grad(loss)(W, False)).max() > 0


@pytest.mark.slow
def test_a_rule_goes_under_and_over_vmap_and_jit_alike():
    images = jnp.stack([X, -X, 2 * X])
    f = override(plain(jnp.tanh), {"activation": tripled})
    under = slope(override(jax.vmap(plain(jnp.tanh)), {"activation": tripled}))(images)
    np.testing.assert_allclose(jax.jit(jax.vmap(slope(f)))(images), under, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(under[1], slope(plain(tripled_tanh))(-X), rtol=1e-5, atol=1e-6)


def test_the_second_derivative_is_that_of_the_changed_gradient():
    v = jnp.cos(X)
    found, expected = (
        jax.grad(lambda x, f=f: jnp.vdot(slope(f)(x), v))(X)
        for f in (override(plain(jnp.tanh), {"activation": tripled}), plain(tripled_tanh))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_trees_and_several_arguments_come_back_as_they_went_in():
    def f(pair, z):
        return {"sum": jnp.tanh(pair[0]) + z, "none": None, "same": pair[1], "number": 2.5}

    found = override(f, {"activation": tripled})((X, 2 * X), X)
    expected = f((X, 2 * X), X)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_function_in_which_no_rule_applies_is_called_as_it_is():
    assert type(override(lambda x: (x, 3), {"relu": tripled})(X)[1]) is int
