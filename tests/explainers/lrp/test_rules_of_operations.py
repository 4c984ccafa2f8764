"""Rules for what has no weights: activations, maxima, products, attention, norms; each from its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_rules import agree, site_of

from saliency_jax import composites, conservation, lrp, rules

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def two(shape_a, shape_b):
    """A function's two inputs as one vector, and how to take them apart."""
    a, b = (RANDOM.normal(size=shape) for shape in (shape_a, shape_b))

    def apart(v):
        return v[: a.size].reshape(shape_a), v[a.size :].reshape(shape_b)

    return a, b, jnp.asarray(np.concatenate([a.ravel(), b.ravel()])), apart


def test_activations_pass_relevance_and_give_back_what_was_broadcast():
    x = jnp.asarray(RANDOM.normal(size=(3, 4)))
    relevance = jnp.asarray(RANDOM.normal(size=(3, 4)))
    for kind, f in (("relu", jax.nn.relu), ("activation", jnp.tanh), ("affine", lambda x: 3 * x - 1)):
        np.testing.assert_array_equal(rules.pass_through(site_of(f, x, kind), relevance).inputs[0], relevance)


def test_maximum_of_a_window_takes_all_and_the_first_of_equals():
    x = jnp.asarray([[1.0, 3.0, 2.0, 2.0], [3.0, 0.0, 2.0, -1.0]])[None, :, :, None]

    def pool(x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    found = rules.winner(site_of(pool, x, "max_pool"), jnp.asarray([5.0, -7.0]).reshape(1, 1, 2, 1))
    np.testing.assert_array_equal(found.inputs[0][0, :, :, 0], [[0, 5, -7, 0], [0, 0, 0, 0]])


def test_maximum_of_two_values_takes_all():
    a, b, x, apart = two(6, 6)
    relevance = RANDOM.normal(size=6)
    found = rules.winner(site_of(lambda v: jnp.maximum(*apart(v)), x, "max_pool"), jnp.asarray(relevance))
    for share, wins in zip(found.inputs, (a > b, b > a), strict=True):
        np.testing.assert_array_equal(share, np.where(wins, relevance, 0))


def test_gate_gets_half_of_the_relevance_of_its_product():
    _, _, x, apart = two((4, 3), (4, 3))
    relevance = jnp.asarray(RANDOM.normal(size=(4, 3)))
    site = site_of(lambda v: jnp.multiply(*apart(v)), x, "product")
    for share in rules.halves(site, relevance).inputs:
        np.testing.assert_array_equal(share, relevance / 2)


def test_matrix_product_shares_in_both_factors_by_their_terms():
    a, v, x, apart = two((2, 3, 4), (2, 4, 2))
    relevance = RANDOM.normal(size=(2, 3, 2))
    site = site_of(lambda x: jnp.matmul(*apart(x)), x, "matrix_product")
    terms = a[:, :, :, None] * v[:, None, :, :]
    z = terms.sum(2, keepdims=True)
    for epsilon in (1e-6, 0.3):
        shares = terms * relevance[:, :, None, :] / (2 * z + epsilon * np.where(z >= 0, 1, -1))
        found = rules.bilinear(site, jnp.asarray(relevance), epsilon=epsilon)
        agree(found.inputs[0], shares.sum(3), 1e-10)
        agree(found.inputs[1], shares.sum(1), 1e-10)


def test_matrix_product_of_a_value_with_itself_gives_it_both_halves():
    x = RANDOM.normal(size=(3, 4))
    relevance = RANDOM.normal(size=(3, 3))

    def gram(x):
        return jax.lax.dot_general(x, x, (((1,), (1,)), ((), ())))

    [found] = rules.bilinear(site_of(gram, jnp.asarray(x), "matrix_product"), jnp.asarray(relevance)).inputs
    terms = x[:, None] * x[None]
    z = terms.sum(2)
    stable = (2 * z + 1e-6 * np.where(z >= 0, 1, -1))[:, :, None]
    shares = terms * relevance[:, :, None] / stable
    agree(found, shares.sum(0) + shares.sum(1), 1e-10)


@pytest.mark.parametrize("axis", [-1, 0])
def test_softmax_follows_its_taylor_expansion(axis):
    x, relevance = RANDOM.normal(size=(2, 3, 4))
    s = np.exp(x) / np.exp(x).sum(axis, keepdims=True)
    expected = x * (relevance - s * relevance.sum(axis, keepdims=True))
    site = site_of(lambda x: jax.nn.softmax(x, axis), jnp.asarray(x), "softmax")
    found = rules.softmax(site, jnp.asarray(relevance))
    agree(found.inputs[0], expected, 1e-10)
    agree(found.bias, relevance.sum() - expected.sum(), 1e-10)


def test_quotient_gives_all_to_its_numerator():
    _, _, x, apart = two(5, 5)
    relevance = jnp.asarray(RANDOM.normal(size=5))

    def f(v):
        a, b = apart(v)
        return a / jnp.exp(b)

    site = site_of(f, x, "quotient")
    shares = rules.numerator(site, relevance).inputs
    assert {tuple(np.asarray(share)) for share in shares} == {tuple(np.asarray(relevance)), (0.0,) * 5}
    top = lrp(lambda v: f(v).sum(), x, composite=composites.zero)
    # Of a sum, each term gets its own value.
    agree(top, np.concatenate([f(x), np.zeros(5)]), 1e-10)


def test_gradient_is_the_operations_own():
    x = jnp.asarray(RANDOM.normal(size=6))
    relevance = jnp.asarray(RANDOM.normal(size=6))
    found = rules.gradient(site_of(jnp.tanh, x, "activation"), relevance).inputs[0]
    agree(found, relevance / np.cosh(x) ** 2, 1e-10)


def test_sum_is_shared_by_value():
    a, b, x, apart = two(4, 4)
    relevance = RANDOM.normal(size=4)
    for sign, f in ((1, jnp.add), (-1, jnp.subtract)):
        z = a + sign * b
        stable = z + 1e-6 * np.where(z >= 0, 1, -1)
        found = rules.norm(site_of(lambda v, f=f: f(*apart(v)), x, "sum"), jnp.asarray(relevance)).inputs
        agree(found[0], a * relevance / stable, 1e-10)
        agree(found[1], sign * b * relevance / stable, 1e-10)


def test_normalization_is_linear_once_its_statistics_are_held():
    x, scale, shift, relevance = RANDOM.normal(size=(4, 5))

    def f(x):
        centred = x - x.mean()
        return centred * jax.lax.rsqrt((centred**2).mean() + 1e-5) * jnp.asarray(scale) + jnp.asarray(shift)

    w = scale[:, None] * (np.eye(5) - 0.2) / np.sqrt(x.var() + 1e-5)
    quotient = relevance / (w @ x + shift)
    # With no stabilizers, which the centring has too: they are operations of their own.
    given = ("activation", lambda site, _: rules.Shares((jnp.asarray(relevance),)))
    report = conservation(lambda x: jnp.tanh(f(x)).sum(), jnp.asarray(x), composite=[given, *composites.zero()])
    agree(report.map, x * (w.T @ quotient), 1e-10)
    agree(sum(report.biases.values()), shift @ quotient, 1e-10)
