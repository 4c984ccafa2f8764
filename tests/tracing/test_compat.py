"""What the interpreters ask of a jaxpr, over every kind of equation that models are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax.tracing.compat import (
    evaluate_equation,
    is_literal,
    opened,
    scan_counts,
    trace,
    without_dead_code,
)

X = jnp.linspace(-1.0, 1.0, 8).reshape(2, 4)
W = jnp.linspace(-0.5, 0.7, 16).reshape(4, 4)


def names(jaxpr):
    return [equation.primitive.name for equation in jaxpr.eqns]


def only_equation(f, *args, name):
    [equation] = [equation for equation in trace(f, *args).jaxpr.eqns if equation.primitive.name == name]
    return equation


@jax.custom_vjp
def straight_through(x):
    return jnp.round(x)


straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, cotangent: (cotangent,))


def scanned(x):
    def step(carry, row):
        return jnp.tanh(carry @ W + row), carry.sum()

    carry, sums = lax.scan(step, x[0], jnp.stack([x[0], x[1], x[0]]))
    return carry, sums


KINDS = {
    "arithmetic": lambda x: (x * 2 - x.sum()) / 3,
    "product": lambda x: jnp.einsum("bi,ij->bj", x, W),
    "convolution": lambda x: lax.conv(x[None, None], W[None, None, :2, :2], (1, 1), "SAME"),
    "call": jax.jit(lambda x: jax.jit(jnp.sin)(x) + 1),
    "custom_jvp": jax.nn.relu,
    "custom_vjp": straight_through,
    "remat": jax.checkpoint(lambda x: jnp.sin(x) * x),
    "scan": scanned,
    "while": lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sin(c[1])), (0, x)),
    "cond": lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
    "switch": lambda x: lax.switch(x.argmax() % 3, [jnp.sin, jnp.cos, jnp.tan], x),
    "sort": lambda x: lax.sort((x, -x), num_keys=1),
    "random": lambda x: x + jax.random.normal(jax.random.key(3), x.shape),
    "gather": lambda x: x[jnp.array([1, 0]), jnp.array([2, 3])],
    "windowed maximum": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 2), "VALID"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_equations_evaluated_one_at_a_time_give_the_function_bit_for_bit(kind):
    f = KINDS[kind]
    traced = trace(f, X)
    values = dict(zip(traced.jaxpr.constvars, traced.consts, strict=True))
    values |= dict(zip(traced.jaxpr.invars, [X], strict=True))

    def read(atom):
        return atom.val if is_literal(atom) else values[atom]

    for equation in traced.jaxpr.eqns:
        outputs = evaluate_equation(traced.jaxpr, equation, [read(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, outputs, strict=True))
    found = [read(atom) for atom in traced.jaxpr.outvars]
    for one, other in zip(found, jax.tree.leaves(f(X)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_trace_keeps_the_tree_of_the_outputs_and_the_values_of_closed_over_arrays():
    traced = trace(lambda tree: {"out": (tree["x"] @ W, None)}, {"x": X})
    assert jax.tree.structure(traced.outputs) == jax.tree.structure({"out": (0, None)})
    assert len(traced.jaxpr.invars) == 1
    assert any(np.array_equal(constant, W) for constant in traced.consts)


def test_a_call_and_a_rematerialized_block_open_to_their_equations():
    call = only_equation(KINDS["call"], X, name="jit")
    assert "add" in names(opened(call.params["jaxpr"])[0])
    remat = only_equation(KINDS["remat"], X, name="remat2")
    assert sorted(names(opened(remat.params["jaxpr"])[0])) == ["mul", "sin"]


@pytest.mark.parametrize(("consts", "carry", "xs"), [(0, 1, 0), (0, 0, 1), (2, 1, 1), (1, 3, 2), (3, 2, 0)], ids=str)
def test_scan_counts_are_those_that_the_scan_was_built_with(consts, carry, xs):
    def f(given, carried, scanned):
        def step(state, rows):
            shift = sum([c.sum() for c in (*given, *rows)], jnp.zeros(()))
            return [value + shift for value in state], shift

        return lax.scan(step, carried, scanned, length=2)

    equation = only_equation(f, [X] * consts, [X] * carry, [X] * xs, name="scan")
    assert scan_counts(equation.params) == (consts, carry)
    assert len(equation.invars) == consts + carry + xs


@pytest.mark.parametrize("around", [lambda f: f, jax.jit, jax.checkpoint], ids=["plain", "jit", "remat"])
def test_code_that_no_output_needs_is_left_out_at_every_depth_and_inputs_stay(around):
    f = around(lambda x, unused: (jnp.sin(x), jnp.cos(x @ W) + unused))
    traced = trace(lambda x, unused: f(x, unused)[0], X, X)
    alive = without_dead_code(traced.jaxpr)
    assert len(alive.invars) == 2
    while names(alive) != ["sin"]:
        [equation] = alive.eqns
        alive = opened(equation.params["jaxpr"])[0]


def test_nothing_is_left_out_of_a_loop_whose_carry_needs_it():
    def f(x, w):
        def step(carry, _):
            first, second = carry
            return (jnp.sin(second), first @ w), None

        return lax.scan(step, (x, x), None, length=3)[0][0]

    [scan] = without_dead_code(trace(f, X, W).jaxpr).eqns
    assert set(names(opened(scan.params["jaxpr"])[0])) >= {"sin", "dot_general"}
