"""Guided backpropagation and deconvnet against models rewritten by hand, in every framework and spelling."""

from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from saliency_jax import class_score, deconvnet, gradient, guided_backprop, relus
from tests import small_networks
from tests.made_networks import made, made_images

EXPLAINERS = pytest.mark.parametrize("explain", [guided_backprop, deconvnet])


IMAGE = made_images(8, 8, 3).at[:3].set(0.0)
"""One with exact zeros, so that some ReLUs stand at the sign of their bias."""


@cache
def explained(explain, name):
    """The map of one class of a model, compiled: that takes less time than the many small programs of an eager one."""
    return jax.jit(partial(explain, class_score(*made(name), 1)))(IMAGE)


def close(found, expected, rtol=1e-6):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * float(jnp.abs(expected).max()))


@pytest.mark.parametrize("params_are", ["arguments", "constants"])
def test_guided_backprop_is_the_gradient_of_the_model_rewritten_by_hand_bit_for_bit(params_are):
    (apply, params), (by_hand, _) = made("plain_cnn"), made("hand_rewritten_guided_cnn")

    def found(params, image):
        return guided_backprop(class_score(apply, params, 1), image)

    def expected(params, image):
        return gradient(class_score(by_hand, params, 1), image)

    if params_are == "arguments":
        maps = [jax.jit(f)(params, IMAGE) for f in (found, expected)]
    else:
        maps = [jax.jit(partial(f, params))(IMAGE) for f in (found, expected)]
    np.testing.assert_array_equal(*maps)
    assert jnp.abs(maps[0]).max() > 0 and not np.allclose(maps[0], explained(gradient, "plain_cnn"))


@EXPLAINERS
@pytest.mark.parametrize("name", ["linen_cnn", "nnx_cnn", "equinox_cnn"])
def test_every_framework_gives_the_plain_model_s_map(explain, name):
    close(explained(explain, name), explained(explain, "plain_cnn"))
    assert len(relus(class_score(*made(name), 1), IMAGE)) == 3


@pytest.mark.slow
@EXPLAINERS
def test_the_map_is_one_eager_under_vmap_and_remat_and_from_a_score_without_parameters(explain):
    apply, params = made("plain_cnn")
    images = jnp.stack([IMAGE[::-1], IMAGE])

    def blocks(x):
        return explain(class_score(jax.checkpoint(apply), params, 1), x)

    def by_hand(x):
        return jax.jit(lambda x: apply(params, x[None]))(x)[0, 1]

    close(explain(class_score(apply, params, 1), IMAGE), explained(explain, "plain_cnn"))
    mapped = jax.jit(jax.vmap(lambda x: explain(by_hand, x)))(images)
    close(mapped[1], explained(explain, "plain_cnn"))
    close(jax.jit(jax.vmap(blocks))(images), mapped)


@EXPLAINERS
def test_a_scan_over_layers_gives_what_the_layers_one_by_one_do(explain):
    close(explained(explain, "scanned_stack"), explained(explain, "unrolled_stack"))


def test_the_relus_that_are_changed_are_named_and_one_in_a_scan_is_one():
    scanned, unrolled = (class_score(*made(name), 0) for name in ("scanned_stack", "unrolled_stack"))
    assert relus(unrolled, IMAGE) == ("stem/relu", "block0/relu", "block1/relu", "block2/relu")
    assert relus(scanned, IMAGE) == ("stem/relu", "blocks/relu")


def test_relus_in_both_branches_and_in_a_rematerialized_block_count():
    def score(x):
        x = jax.checkpoint(jax.nn.relu)(x)
        return lax.cond(x.sum() > 0, lambda x: jnp.maximum(jnp.sin(x), 0), jax.nn.relu6, x).sum()

    assert len(relus(score, IMAGE)) == 3
    assert relus(lambda x: jax.nn.gelu(x).sum(), IMAGE) == ()


# A slow oracle: loops over places, in float64.


def convolved(x, kernel, bias):
    height, width, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    result = np.zeros((height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            result[i, j] = np.tensordot(padded[i : i + 3, j : j + 3], kernel, 3) + bias
    return result


def convolved_back(g, kernel):
    height, width, _ = g.shape
    padded = np.zeros((height + 2, width + 2, kernel.shape[2]))
    for i in range(height):
        for j in range(width):
            padded[i : i + 3, j : j + 3] += kernel @ g[i, j]
    return padded[1:-1, 1:-1]


def slow_map(params, image, target, rule):
    """The plain CNN forward and back; `rule(x, g)` is what a ReLU gives for its input and what comes back to it."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, float), params)
    first = convolved(np.asarray(image, float), **p["conv1"])
    on = np.maximum(first, 0)
    height, width, channels = on.shape
    windows = on.reshape(height // 2, 2, width // 2, 2, channels).transpose(0, 2, 4, 1, 3)
    flat = windows.reshape(height // 2, width // 2, channels, 4)
    second = convolved(flat.max(-1), **p["conv2"])
    pooled = np.maximum(second, 0).reshape(height // 4, 2, width // 4, 2, -1).mean((1, 3))
    third = pooled.ravel() @ p["dense1"]["kernel"] + p["dense1"]["bias"]

    g = rule(third, p["dense2"]["kernel"][:, target])
    g = (p["dense1"]["kernel"] @ g).reshape(pooled.shape)
    g = rule(second, np.repeat(np.repeat(g, 2, 0), 2, 1) / 4)
    g = convolved_back(g, p["conv2"]["kernel"])
    chosen = np.arange(4) == flat.argmax(-1)[..., None]
    g = (chosen * g[..., None]).reshape(height // 2, width // 2, channels, 2, 2)
    g = rule(first, g.transpose(0, 3, 1, 4, 2).reshape(first.shape))
    return convolved_back(g, p["conv1"]["kernel"])


RULES = {
    gradient: lambda x, g: g * (x > 0),
    guided_backprop: lambda x, g: g * (g > 0) * (x > 0),
    deconvnet: lambda x, g: np.maximum(g, 0),
}


@pytest.mark.parametrize("explain", RULES)
def test_a_slow_loop_in_numpy_gives_the_same_map(explain):
    expected = slow_map(made("plain_cnn")[1], IMAGE, 1, RULES[explain])
    close(explained(explain, "plain_cnn"), jnp.asarray(expected), 1e-5)


SPELLINGS = {
    "nn.relu": nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum of zeros": lambda x: lax.max(jnp.zeros_like(x), x),
    "where": lambda x: jnp.where(x > 0, x, 0),
    "where not": lambda x: jnp.where(x < 0, 0, x),
    "where from zero": lambda x: jnp.where(x >= 0, x, 0),
    "mask": lambda x: x * (x > 0),
    "mean of x and abs": lambda x: (x + jnp.abs(x)) / 2,
    "clip": lambda x: jnp.clip(x, 0, None),
    "minimum": lambda x: -jnp.minimum(-x, 0),
    "custom_vjp": small_networks.guided_relu,
}


@EXPLAINERS
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_gives_one_map_at_exact_zeros_too(explain, spelling):
    x = jnp.asarray([-2.0, -1.0, -0.0, 0.0, 0.0, 0.5, 1.0, 7.0]).reshape(2, 2, 2)
    weights = jnp.asarray([1.0, -1.0, 2.0, -2.0, 1.0, -1.0, 3.0, 2.0]).reshape(2, 2, 2)

    def score(x):
        return jnp.vdot(SPELLINGS[spelling](x), weights)

    expected = jnp.maximum(weights, 0) * (x > 0 if explain is guided_backprop else 1)
    np.testing.assert_array_equal(explain(score, x), expected)


@pytest.mark.parametrize("relu6", [jax.nn.relu6, lambda x: jnp.clip(x, 0, 6), lambda x: lax.clamp(0.0, x, 6.0)])
def test_a_relu_that_is_cut_off_is_one_relu(relu6):
    x = jnp.asarray([-2.0, 0.0, 3.0, 8.0]).reshape(2, 2, 1)
    weights = jnp.asarray([1.0, 1.0, 2.0, 3.0]).reshape(2, 2, 1)

    def score(x):
        return jnp.vdot(relu6(x), weights)

    np.testing.assert_array_equal(guided_backprop(score, x).ravel(), [0, 0, 2, 0])
    np.testing.assert_array_equal(deconvnet(score, x).ravel(), [1, 1, 2, 3])


def test_a_relu_in_a_residual_sum_is_not_overlooked():
    x = jnp.asarray([-1.0, 2.0]).reshape(1, 2, 1)
    # Through the skip all of the gradient -1 goes back, through the ReLU none of it.
    np.testing.assert_array_equal(guided_backprop(lambda x: -jnp.sum(x + jax.nn.relu(x)), x), -jnp.ones((1, 2, 1)))


@EXPLAINERS
def test_a_score_without_a_relu_is_refused(explain):
    for score in (lambda x: jax.nn.gelu(x).sum(), jnp.sum, lambda x: jax.nn.relu(jnp.ones(3)).sum() + x.sum()):
        with pytest.raises(ValueError, match=r"score must hold a ReLU.*none was found"):
            explain(score, IMAGE)


def sharded(x):
    parts = {"mesh": Mesh(np.array(jax.devices()[:1]), ("rows",)), "in_specs": P("rows"), "out_specs": P("rows")}
    return jax.shard_map(jax.nn.relu, **parts)(x)


def solved(x):
    def divided(f, b):
        return b / f(jnp.ones_like(b))

    return lax.custom_linear_solve(lambda v: (1 + jax.nn.relu(x)) * v, x, divided, divided)


def folded(x):
    return lax.reduce(x, 0.0, lambda a, b: jax.nn.relu(a) + b, (0,))


@EXPLAINERS
@pytest.mark.parametrize(
    ("inside", "name"), [(sharded, "shard_map"), (solved, "custom_linear_solve"), (folded, "reduce")]
)
def test_relus_that_cannot_be_entered_are_refused_with_their_place(explain, inside, name):
    def score(x):
        with jax.named_scope("middle"):
            y = inside(jax.nn.relu(x))
        return y.sum()

    with pytest.raises(ValueError, match=f"the {name} at middle"):
        explain(score, IMAGE)


@EXPLAINERS
def test_what_a_callback_adds_from_outside_is_left_alone(explain):
    def score(x):
        outside = jax.pure_callback(lambda: np.float32(3), jax.ShapeDtypeStruct((), jnp.float32))
        return outside * jax.nn.relu(x).sum()

    np.testing.assert_array_equal(explain(score, IMAGE), 3.0 * (IMAGE > 0 if explain is guided_backprop else 1))


@pytest.mark.slow
@EXPLAINERS
def test_nothing_is_kept_of_other_parameters(explain):
    apply, params = made("plain_cnn")
    compiled = jax.jit(lambda params, x: explain(class_score(apply, params, 0), x))
    first, second, again = (compiled(p, IMAGE) for p in (params, jax.tree.map(lambda w: 0.5 - w, params), params))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, second)


@EXPLAINERS
def test_an_activation_that_is_not_finite_is_named(explain):
    with pytest.raises(ValueError, match="every activation must be finite, but the activation at"):
        explain(lambda x: jnp.log(jax.nn.relu(x) - 1e3).sum(), IMAGE)
