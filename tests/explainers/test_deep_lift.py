"""DeepLIFT's rescale rule: the sum to the change of the score, closed forms; and simple Taylor."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax import class_score, deep_lift, gradient_times_input, simple_taylor
from tests import small_networks
from tests.made_networks import made, made_images

IMAGE, BASELINE = made_images(8, 8, 3), 0.5 * made_images(8, 8, 3, seed=1)


def compiled(score, x, baseline=0.0):
    """The map, and what it has to sum to."""
    return jax.jit(lambda x, b: (deep_lift(score, x, baseline=b), score(x) - score(b)))(
        x, jnp.broadcast_to(baseline, x.shape)
    )


def sums_up(score, x=IMAGE, baseline=BASELINE):
    found, change = compiled(score, x, baseline)
    assert found.shape == x.shape and jnp.isfinite(found).all() and abs(change) > 1e-3
    np.testing.assert_allclose(found.sum(), change, atol=1e-5 * float(jnp.abs(found).sum()))


@pytest.mark.parametrize("name", ["plain_cnn", "residual_network", "scanned_stack", "vision_transformer"])
def test_the_map_of_a_network_sums_to_the_change_of_its_score(name):
    sums_up(class_score(*made(name), 1))


def gated(x):
    return jax.nn.glu(x[..., :2]) * jnp.tanh(x[..., 2:])


def normalized(x):
    return nn.GroupNorm(1, use_bias=False, use_scale=False).apply({}, x) ** 3


FUNCTIONS = {
    "maxima of windows": lambda x: small_networks.max_pool(x[None]) ** 2,
    "overlapping windows": lambda x: nn.max_pool(jnp.sin(x[None]), (3, 3), (2, 2), "SAME"),
    "a global maximum": lambda x: x.max((0, 1)) ** 2,
    "the greater of two": lambda x: jnp.maximum(jnp.sin(x), x[::-1]),
    "gates": gated,
    "products of three": lambda x: x[::-1] * x[:, ::-1] * jnp.roll(x, 1, 0),
    "matrix product": lambda x: jnp.einsum("hwc,hvc->hwv", x, jnp.tanh(x)),
    "softmax": jax.nn.softmax,
    "quotient": lambda x: x / (2 + jnp.sin(x[::-1])),
    "normalization": normalized,
    "gelu": jax.nn.gelu,
    "relu6 in a branch": lambda x: lax.cond(jnp.ones(()) > 0, lambda x: jax.nn.relu6(4 * x), jnp.negative, x),
    "a rematerialized block": jax.checkpoint(lambda x: jax.nn.elu(jnp.sin(x))),
    "a residual sum": lambda x: x + jax.nn.relu(2 * x + 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_rule_is_complete(name):
    f = FUNCTIONS[name]
    weights = made_images(*jax.eval_shape(f, IMAGE).shape, seed=2)
    sums_up(lambda x: jnp.vdot(f(x), weights))


def test_a_relu_network_without_biases_gives_gradient_times_input_from_zero():
    apply, params = made("plain_cnn")
    params = {name: layer | {"bias": 0 * layer["bias"]} for name, layer in params.items()}
    score = class_score(apply, params, 1)
    found, expected = (jax.jit(partial(explain, score))(IMAGE) for explain in (deep_lift, gradient_times_input))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * float(jnp.abs(expected).max()))
    assert jnp.abs(expected).max() > 0


@pytest.mark.parametrize("f", [jax.nn.relu, jnp.tanh, jax.nn.gelu, jnp.square, jnp.abs, jax.nn.silu, jnp.exp])
def test_an_activation_by_itself_gives_its_own_change(f):
    found, _ = compiled(lambda x: f(x).sum(), IMAGE, BASELINE)
    np.testing.assert_allclose(found, f(IMAGE) - f(BASELINE), rtol=1e-4, atol=2e-6)


def test_rescale_of_a_neuron_shares_its_change_by_the_weighted_changes_of_its_inputs():
    w, b = jnp.asarray([1.0, -2.0, 3.0]), -1.0
    x, x0 = jnp.asarray([2.0, 0.5, 1.0]), jnp.asarray([0.5, 1.0, 0.0])
    found, _ = compiled(lambda x: jax.nn.relu(x @ w + b), x, x0)
    # a = 3 and a' = -2.5: the secant of the ReLU is 3 / 5.5, where its gradient is 1.
    np.testing.assert_allclose(found, w * (x - x0) * 3 / 5.5, rtol=1e-6)


def test_a_product_shares_its_change_by_the_mean_of_the_other_factor():
    x, x0 = jnp.asarray([3.0, 5.0]), jnp.asarray([1.0, 2.0])
    found, _ = compiled(lambda x: x[0] * x[1], x, x0)
    np.testing.assert_allclose(found, [2 * 3.5, 3 * 2.0], rtol=1e-6)


def test_a_maximum_is_shared_among_its_two_winners():
    x, x0 = jnp.asarray([4.0, 1.0]), jnp.asarray([0.0, 3.0])
    found, _ = compiled(lambda x: x.max(), x, x0)
    # max = b + relu(a - b): a - b goes from -3 to 3, of which half counts; so half of a's +4 and half of b's -2.
    np.testing.assert_allclose(found, [2.0, -1.0], rtol=1e-6)


@pytest.mark.parametrize("f", [jax.nn.softmax, FUNCTIONS["normalization"], FUNCTIONS["quotient"], jax.nn.gelu, gated])
def test_an_image_that_is_its_baseline_gives_zeros(f):
    found, _ = compiled(lambda x: jnp.sin(f(x)).sum(), IMAGE, IMAGE)
    np.testing.assert_array_equal(found, jnp.zeros_like(IMAGE))


def test_pixels_that_are_those_of_the_baseline_get_nothing_and_the_rest_stays_finite():
    found, change = compiled(class_score(*made("plain_cnn"), 1), IMAGE, BASELINE.at[:4].set(IMAGE[:4]))
    np.testing.assert_array_equal(found[:4], jnp.zeros((4, 8, 3)))
    np.testing.assert_allclose(found.sum(), change, atol=1e-5 * float(jnp.abs(found).sum()))


def test_an_equation_without_a_rule_is_named():
    def score(x):
        with jax.named_scope("middle"):
            return jnp.prod(x)

    with pytest.raises(ValueError, match="DeepLIFT has no rule for the reduce_prod at middle"):
        deep_lift(score, IMAGE)


def test_what_is_no_baseline_is_refused():
    with pytest.raises(ValueError, match="baseline"):
        deep_lift(jnp.sum, IMAGE, baseline=jnp.zeros((2, 2)))


def test_simple_taylor_of_a_quadratic():
    def score(x):
        return jnp.sum(x**2)

    root = BASELINE
    np.testing.assert_allclose(simple_taylor(score, IMAGE, root=root), 2 * root * (IMAGE - root), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(simple_taylor(score, IMAGE, root=0.5), IMAGE - 0.5, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(simple_taylor(score, IMAGE), 2 * IMAGE**2, rtol=1e-5)
    with pytest.raises(ValueError, match="root"):
        simple_taylor(score, IMAGE, root=jnp.zeros((2, 2)))


def test_simple_taylor_near_zero_and_gradient_times_input_agree_without_biases():
    kernel = made_images(192, 6, seed=3)

    def score(x):
        return jax.nn.relu(x.ravel() @ kernel).sum()

    near = simple_taylor(score, IMAGE, root=1e-6 * IMAGE)
    np.testing.assert_allclose(simple_taylor(score, IMAGE), near, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(simple_taylor(score, IMAGE).sum(), score(IMAGE), rtol=1e-5)
