"""What rules see beside a layer's own weights: scalings folded into them, the windows of pools, inputs >= 0."""

from functools import partial

import dense_rules
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_rules import agree, dense_layer, site_of
from jax import lax

from saliency_jax import lrp, rules
from saliency_jax.explainers.lrp.shares import Shares

WEIGHTED = ("epsilon", "gamma", "z_plus", "alpha_beta", "z_box", "w_square", "flat")


def maps(f, x, relevance, chosen, *others):
    """Rule -> the image's relevance, where every result of `f` is given its own before the rule."""

    def score(x):
        return jnp.sum(jnp.tanh(f(x)))

    given = ("activation", lambda site, _: Shares((jnp.asarray(relevance, site.output.dtype),)))

    @jax.jit
    def all_maps(x):
        return {
            name: lrp(score, x, composite=[given, *others, (("convolution", "dense", "average_pool"), rule)])
            for name, rule in chosen.items()
        }

    return all_maps(jnp.asarray(x))


def convolution(x, w):
    return lax.conv_general_dilated(x, w, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def drawn(x_shape, *shapes):
    random = np.random.default_rng(1)
    return [random.normal(size=shape) for shape in (x_shape, *shapes)]


def channels(v):
    return jnp.asarray(v)[None, None, None]


def test_rules_of_a_convolution_and_its_batch_norm_are_those_of_one_kernel():
    x, w, b, mean, scale, shift, relevance = drawn((1, 4, 4, 2), (3, 3, 2, 4), 4, 4, 4, 4, (1, 2, 4, 4))
    variance = 0.5 + np.arange(4)
    scale = np.array([-1.5, 0.7, -0.2, 0.0]) * np.abs(scale)

    def normed(x):
        y = convolution(x, jnp.asarray(w)) + channels(b)
        return (y - channels(mean)) / jnp.sqrt(channels(variance) + 1e-3) * channels(scale) + channels(shift)

    factor = scale / np.sqrt(variance + 1e-3)

    def by_hand(x):
        return convolution(x, jnp.asarray(w * factor)) + channels((b - mean) * factor + shift)

    with jax.enable_x64(True):
        layer = dense_layer(by_hand, lambda x: convolution(x, jnp.ones_like(w)), x)
        found = maps(normed, x, relevance, {name: getattr(rules, name) for name in WEIGHTED})
        for name in WEIGHTED:
            agree(found[name], getattr(dense_rules, name)(layer, np.ravel(relevance))[0], 1e-10)


def test_scalings_in_every_spelling_are_folded_into_a_dense_layer():
    x, w, a, b, relevance = drawn((3, 4), (5, 4), 5, 5, (5, 3))

    def spelled(x):
        y = jnp.asarray(w) @ x.T
        return jnp.asarray(b)[:, None] - (-(y + 0.5) * 2.0) / jnp.asarray(a)[:, None]

    def by_hand(x):
        return jnp.asarray(w * 2 / a[:, None]) @ x.T + jnp.asarray(b + 1.0 / a)[:, None]

    with jax.enable_x64(True):
        layer = dense_layer(by_hand, lambda x: jnp.ones_like(w) @ x.T, x)
        found = maps(spelled, x, relevance, {"z_plus": rules.z_plus, "w_square": rules.w_square})
        for name in found:
            agree(found[name], getattr(dense_rules, name)(layer, np.ravel(relevance))[0], 1e-10)


def test_scaling_that_differs_between_places_is_no_part_of_a_kernel():
    x, w, places, relevance = drawn((1, 4, 4, 2), (3, 3, 2, 3), (1, 2, 4, 3), (1, 2, 4, 3))
    with jax.enable_x64(True):
        layer = dense_layer(lambda x: convolution(x, jnp.asarray(w)), lambda x: convolution(x, jnp.ones_like(w)), x)
        found = maps(lambda x: convolution(x, jnp.asarray(w)) * places, x, relevance, {"z_plus": rules.z_plus})
        # The scaling stays an operation, which relevance passes.
        agree(found["z_plus"], dense_rules.z_plus(layer, np.ravel(relevance))[0], 1e-10)


def test_unfolded_scaling_keeps_a_rule_of_its_own():
    x, w, b, relevance = drawn((3,), (3, 4), 4, 4)

    def f(x):
        return (x @ jnp.asarray(w)) * -2.0 + jnp.asarray(b)

    with jax.enable_x64(True):
        alone = dense_layer(lambda x: x @ jnp.asarray(w), lambda x: x @ jnp.ones_like(w), x)
        for rule, arriving in ((rules.pass_through, relevance), (rules.gradient, -2.0 * relevance)):
            found = maps(f, x, relevance, {"z_plus": rules.z_plus}, ("affine", rules.unfolded(rule)))
            agree(found["z_plus"], dense_rules.z_plus(alone, arriving)[0], 1e-10)


def padded_pool(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (0, 1), (0, 0))) / 6


def pool_of_what_is_there(x):
    count = lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, (1, 2, 2, 1), (1, 2, 1, 1), "SAME")
    return lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 1, 1), "SAME") / count


@pytest.mark.parametrize("pool", [padded_pool, pool_of_what_is_there, lambda x: x.mean((1, 2)), lambda x: x.sum(2)])
def test_rules_of_average_pools(pool):
    with jax.enable_x64(True):
        x = np.random.default_rng(2).integers(-2, 3, (1, 5, 4, 2)).astype(float)
        layer = dense_layer(pool, pool, x)
        site = site_of(pool, jnp.asarray(x), "average_pool")
        relevance = np.random.default_rng(3).normal(size=site.output.shape)
        for name in (*WEIGHTED, "norm"):
            found = getattr(rules, name)(site, jnp.asarray(relevance))
            expected = dense_rules.epsilon if name == "norm" else getattr(dense_rules, name)
            agree(found.inputs[0], expected(layer, np.ravel(relevance))[0], 1e-10)


def test_inputs_known_to_be_nowhere_negative_are_shared_to_as_all_others():
    x, w, b, relevance = drawn((1, 4, 4, 2), (3, 3, 2, 3), 3, (1, 2, 4, 3))
    signs = {}

    def noting(name, site, relevance):
        signs[name] = site.operation.positive
        return getattr(rules, name)(site, relevance)

    def layer_of(x):
        return convolution(x, jnp.asarray(w)) + channels(b)

    with jax.enable_x64(True):
        layer = dense_layer(layer_of, lambda x: convolution(x, jnp.ones_like(w)), np.maximum(x, 0))
        chosen = {name: partial(noting, name) for name in ("z_plus", "gamma", "alpha_beta")}
        found = maps(lambda x: layer_of(jax.nn.relu(x)), x, relevance, chosen)
        assert signs == dict.fromkeys(chosen, True)
        for name in found:
            agree(found[name], getattr(dense_rules, name)(layer, np.ravel(relevance))[0], 1e-10)
