"""A rewritten function against the same function written by hand with the other primitive in it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax.tracing import rewrite
from saliency_jax.tracing.compat import opened, trace

X = jnp.linspace(-1.5, 1.5, 6).reshape(2, 3)
W = jnp.linspace(-0.9, 0.8, 9).reshape(3, 3)

DOUBLED = {"tanh": lambda equation, x: [2 * equation.primitive.bind(x, **equation.params)]}


def doubled(x):
    return 2 * jnp.tanh(x)


# Programs that are parametrized by what they use for tanh, so that the oracle is the program itself.


def plain(tanh):
    return lambda x: tanh(x @ W) * x + tanh(jnp.sin(x))


def call(tanh):
    return jax.jit(lambda x: jax.jit(tanh)(x @ W) + jax.jit(jnp.sin)(x))


def remat(tanh):
    return jax.checkpoint(lambda x: tanh(jnp.sin(x @ W)) * x)


def scan(tanh):
    def f(x):
        def step(carry, row):
            total, last = carry
            value = tanh(last @ W + row)
            return (total + value.sum(), value), (value, total)

        carry, ys = lax.scan(step, (0.0, x[0]), jnp.stack([x[1], x[0], x[1]]), reverse=True, unroll=2)
        return carry[0] + ys[0].sum() * ys[1]

    return f


def scan_without_inputs(tanh):
    return lambda x: lax.scan(lambda carry, _: (tanh(carry @ W), None), x, None, length=4)[0]


def fixed_trips(tanh):
    return lambda x: lax.fori_loop(0, 3, lambda i, y: tanh(y @ W) + i, x)


def cond(tanh):
    return lambda x: lax.cond(x.sum() > 0.1, lambda x: tanh(x @ W), lambda x: -x, x)


def switch(tanh):
    branches = [jnp.sin, lambda x: tanh(x) * x, tanh]
    return lambda x: sum(lax.switch(jnp.int32(i) + jnp.int32(x[0, 0] > 5), branches, x) for i in range(3))


def mapped(tanh):
    return jax.vmap(lambda row: lax.cond(row.sum() > 0, tanh, jnp.cos, row))


def nested(tanh):
    inner = remat(tanh)
    return jax.jit(lambda x: lax.fori_loop(0, 2, lambda _, y: lax.cond(y.sum() > 0, inner, jnp.sin, y), x))


def random(tanh):
    return lambda x: tanh(x + jax.random.normal(jax.random.key(5), x.shape))


PROGRAMS = [
    plain,
    call,
    remat,
    scan,
    scan_without_inputs,
    fixed_trips,
    cond,
    switch,
    mapped,
    nested,
    random,
]


def while_loop(tanh):
    def f(x):
        return lax.while_loop(lambda y: jnp.abs(y).sum() < 50.0, lambda y: 1.9 * y + tanh(y @ W) + 0.1, x)

    return f


@pytest.mark.parametrize("program", [*PROGRAMS, while_loop], ids=lambda program: program.__name__)
def test_a_rule_is_in_force_at_every_depth(program):
    compiled, expected = jax.jit(rewrite(program(jnp.tanh), DOUBLED)), jax.jit(program(doubled))
    for x in (X + 0.1, 0.1 - X, jnp.zeros_like(X)):
        np.testing.assert_allclose(compiled(x), expected(x), rtol=1e-6, atol=1e-6)
    # The rule would not be seen in a program whose value it leaves alone.
    assert not np.allclose(program(jnp.tanh)(X + 0.1), expected(X + 0.1))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_first_and_second_derivatives_are_those_of_the_program_written_by_hand(program):
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(X), jnp.float64) + 0.1
        v = jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)

        def derivatives(f):
            gradient = jax.grad(lambda x: jnp.sum(f(x) ** 2))
            return jax.jit(lambda x, v: jax.jvp(gradient, (x,), (v,)))(x, v)

        found, expected = derivatives(rewrite(program(jnp.tanh), DOUBLED)), derivatives(program(doubled))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_what_is_rewritten_can_be_differentiated_forward_alone():
    found, expected = (jax.jit(jax.jacfwd(f))(X) for f in (rewrite(nested(jnp.tanh), DOUBLED), nested(doubled)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_loop_of_unknown_length_has_no_reverse_gradient_rewritten_or_not():
    for f in (while_loop(doubled), rewrite(while_loop(jnp.tanh), DOUBLED)):
        with pytest.raises(ValueError, match="Reverse-mode differentiation"):
            jax.grad(lambda x, f=f: f(x).sum())(X)


@pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint, lambda f: f], ids=["jit", "remat", "plain"])
def test_rewriting_goes_under_and_over_vmap_alike(transform):
    images = jnp.stack([X, -X, 2 * X])
    over = jax.vmap(rewrite(transform(plain(jnp.tanh)), DOUBLED))(images)
    under = rewrite(jax.vmap(transform(plain(jnp.tanh))), DOUBLED)(images)
    expected = jnp.stack([plain(doubled)(image) for image in images])
    np.testing.assert_allclose(over, expected, rtol=1e-6)
    np.testing.assert_allclose(under, expected, rtol=1e-6)


@jax.custom_jvp
def with_own_jvp(x):
    return jnp.tanh(x)


with_own_jvp.defjvp(lambda primals, tangents: (jnp.tanh(primals[0]), 7.0 * tangents[0]))


@jax.custom_vjp
def with_own_vjp(x):
    return jnp.tanh(x)


with_own_vjp.defvjp(lambda x: (jnp.tanh(x), None), lambda _, cotangent: (7.0 * cotangent,))


@pytest.mark.parametrize("own", [with_own_jvp, with_own_vjp], ids=["custom_jvp", "custom_vjp"])
@pytest.mark.parametrize("around", [lambda f: f, jax.jit, jax.checkpoint, jax.vmap])
def test_a_function_with_its_own_derivative_is_bound_whole(own, around):
    f = rewrite(around(lambda x: own(x) + jnp.tanh(x)), DOUBLED)
    # Its tanh stays as it is, the one beside it is doubled; its derivative is its own.
    np.testing.assert_allclose(f(X), 3 * jnp.tanh(X), rtol=1e-6)
    gradient = jax.grad(lambda x: f(x).sum())(X)
    np.testing.assert_allclose(gradient, 7.0 + 2 * (1 - jnp.tanh(X) ** 2), rtol=1e-5)


@pytest.mark.parametrize("relu", [jax.nn.relu, jax.jit(jax.nn.relu), jax.checkpoint(jax.nn.relu)])
def test_the_gradient_of_relu_at_zero_stays_zero(relu):
    x = jnp.array([-1.0, -0.0, 0.0, 2.0])
    f = rewrite(lambda x: relu(x) + jnp.tanh(x), {"tanh": lambda equation, x: [0 * x]})
    np.testing.assert_array_equal(jax.grad(lambda x: f(x).sum())(x), [0.0, 0.0, 0.0, 1.0])
    # By the body of relu it is 0.5: what the interpreter must not go into.
    assert jax.grad(lambda x: jnp.maximum(x, 0.0))(0.0) == 0.5


class Pair(NamedTuple):
    first: jax.Array
    rest: dict


def test_arguments_and_results_are_pytrees():
    def program(tanh):
        return lambda pair, options: Pair(
            tanh(pair.first), {"same": pair.rest["x"], "none": None, "both": (tanh(pair.rest["x"]), options[0])}
        )

    args = (Pair(X, {"x": 2 * X}), [jnp.int32(3), None])
    found, expected = rewrite(program(jnp.tanh), DOUBLED)(*args), program(doubled)(*args)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)
    assert [leaf.dtype for leaf in jax.tree.leaves(found)] == [leaf.dtype for leaf in jax.tree.leaves(expected)]


def test_constant_repeated_and_passed_through_outputs():
    def program(tanh):
        return lambda x: (t := tanh(x), t, x, jnp.float32(2.5), jnp.arange(3), t.sum() * 0 + 1)[1:]

    for found, expected in zip(rewrite(program(jnp.tanh), DOUBLED)(X), program(doubled)(X), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert jnp.result_type(found) == jnp.result_type(expected)


def test_a_function_in_which_no_rule_applies_is_called_as_it_is():
    found, three = rewrite(lambda x: (x * 2, 3), DOUBLED)(X)
    assert type(three) is int and three == 3
    np.testing.assert_array_equal(found, 2 * X)


@pytest.mark.parametrize("depth", ["scan", "cond", "custom_jvp"])
def test_what_no_rule_applies_to_is_left_as_one_equation(depth):
    untouched = {
        "scan": scan_without_inputs(jnp.sin),
        "cond": cond(jnp.sin),
        "custom_jvp": jax.nn.relu,
    }[depth]

    def f(x):
        return untouched(x) + jnp.tanh(x)

    inside, before = (
        [equation.primitive.name for equation in trace(g, X).jaxpr.eqns] for g in (rewrite(f, DOUBLED), f)
    )
    assert sorted(inside) == sorted([*before, "mul"])


@pytest.mark.parametrize(
    "policy", [None, jax.checkpoint_policies.dots_saveable, jax.checkpoint_policies.everything_saveable]
)
def test_a_rematerialized_block_keeps_its_policy(policy):
    f = jax.checkpoint(lambda x: jnp.tanh(x @ W), policy=policy, prevent_cse=False)
    [equation] = trace(rewrite(f, DOUBLED), X).jaxpr.eqns
    assert equation.params["policy"] is policy
    assert equation.params["prevent_cse"] is False
    assert "mul" in [inner.primitive.name for inner in opened(equation.params["jaxpr"])[0].eqns]


def test_a_function_that_cannot_be_traced_says_so():
    with pytest.raises(jax.errors.TracerBoolConversionError):
        rewrite(lambda x: jnp.tanh(x) if x.sum() > 0 else x, DOUBLED)(X)
