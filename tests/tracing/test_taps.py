"""Activations by name: which there are in every framework, and their values against what the frameworks capture."""

from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from saliency_jax import activations, taps
from tests import small_networks
from tests.made_networks import made, made_images

IMAGES = made_images(2, 8, 8, 3)
NAMES = [
    "conv1",
    "conv1/relu",
    "conv1/max_pool",
    "conv2",
    "conv2/relu",
    "conv2/average_pool",
    "dense1",
    "dense1/relu",
    "dense2",
]


@cache
def by_hand():
    """The activations of the plain CNN."""
    return dict(zip(NAMES, jax.jit(step_by_step)(made("plain_cnn")[1]), strict=True))


def step_by_step(p):
    found = {}
    found["conv1"] = small_networks.conv(p["conv1"], IMAGES)
    found["conv1/relu"] = jnp.maximum(found["conv1"], 0)
    found["conv1/max_pool"] = small_networks.max_pool(found["conv1/relu"])
    found["conv2"] = small_networks.conv(p["conv2"], found["conv1/max_pool"])
    found["conv2/relu"] = jnp.maximum(found["conv2"], 0)
    found["conv2/average_pool"] = small_networks.average_pool(found["conv2/relu"])
    found["dense1"] = small_networks.dense(p["dense1"], found["conv2/average_pool"].reshape(2, -1))
    found["dense1/relu"] = jnp.maximum(found["dense1"], 0)
    found["dense2"] = small_networks.dense(p["dense2"], found["dense1/relu"])
    return [found[name] for name in NAMES]


def compiled(apply, params, images, names=None):
    """The activations in one program, which takes less time than the many of an eager call; without their order."""
    return jax.jit(lambda params, images: activations(apply, params, images, names))(params, images)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["plain_cnn", "linen_cnn", "nnx_cnn"])
def test_every_framework_has_the_same_activations_under_the_same_names(name):
    apply, params = made(name)
    found = taps(apply, params, IMAGES)
    assert [tap.name for tap in found] == NAMES
    assert [tap.shape for tap in found] == [value.shape for value in by_hand().values()]
    assert [tap.kind for tap in found][:6] == ["convolution", "relu", "max_pool", "convolution", "relu", "average_pool"]
    values = compiled(apply, params, IMAGES)
    assert set(values) == set(NAMES)
    for address, expected in by_hand().items():
        close(values[address], expected)


def test_an_equinox_model_has_them_channels_first():
    apply, params = made("equinox_cnn")
    found = compiled(apply, params, IMAGES, ["conv1/relu", "conv2/relu", "dense1/relu"])
    for address, value in found.items():
        expected = by_hand()[address]
        close(value, jnp.moveaxis(expected, -1, 1) if expected.ndim == 4 else expected)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True, name="norm")(nn.Conv(4, (3, 3), name="conv")(x))
        return nn.relu(x)


class Whole(nn.Module):
    @nn.compact
    def __call__(self, images):
        x = Block(name="first")(images)
        x = nn.remat(Block)(name="second")(x)
        return nn.Dense(3, name="head")(x.mean((1, 2)))


@cache
def whole():
    shapes = jax.eval_shape(Whole().init, jax.random.key(0), IMAGES)
    return jax.tree.map(lambda leaf: 0.5 + jnp.abs(made_images(*leaf.shape)), shapes)


def test_linen_modules_are_addressed_by_their_paths_and_give_what_linen_captures():
    addresses = ["first/conv", "first/norm", "first", "second", "Whole/first", "head", "Whole"]
    found = compiled(Whole().apply, whole(), IMAGES, addresses)
    _, state = jax.jit(partial(Whole().apply, capture_intermediates=True))(whole(), IMAGES)
    captured = state["intermediates"]
    close(found["first/conv"], captured["first"]["conv"]["__call__"][0])
    close(found["first/norm"], captured["first"]["norm"]["__call__"][0])
    for address in ("first", "Whole/first"):
        close(found[address], captured["first"]["__call__"][0])
    close(found["second"], captured["second"]["__call__"][0])
    for address in ("head", "Whole"):
        close(found[address], captured["__call__"][0])


def test_indices_and_names_mean_the_same_and_are_the_keys_of_what_is_found():
    apply, params = made("plain_cnn")
    found = activations(apply, params, IMAGES, [0, "conv2/relu", 8])
    assert list(found) == ["0", "conv2/relu", "8"]
    close(found["0"], by_hand()["conv1"])
    close(found["8"], by_hand()["dense2"])
    for outside in (-1, 9):
        with pytest.raises(ValueError, match=r"index must be in \[0, 9\)"):
            activations(apply, params, IMAGES, [outside])


def test_a_wrong_name_lists_the_near_ones_and_any_name_of_a_constant_says_so():
    apply, params = made("plain_cnn")
    with pytest.raises(ValueError, match=r"got 'conv2/rely'; near it are conv2/relu"):
        activations(apply, params, IMAGES, ["conv2/rely"])
    with pytest.raises(ValueError, match=r"got 'zzz'; near it are conv1, conv1/relu"):
        activations(apply, params, IMAGES, ["zzz"])

    def fixed(params, images):
        with jax.named_scope("positions"):
            shift = jnp.sin(jnp.arange(8.0)).reshape(1, 8, 1, 1)
        weight = checkpoint_name(jnp.cos(params["w"]), "weight")
        return ((images + shift) * weight).sum((1, 2))

    for name in ("positions", "weight"):
        with pytest.raises(ValueError, match=f"'{name}' must depend on the image"):
            activations(fixed, {"w": jnp.ones((1, 1, 1, 3))}, IMAGES, [name])


def named(params, images):
    with jax.named_scope("outer"):
        with jax.named_scope("inner"):
            x = jnp.sin(images)
        x = checkpoint_name(jnp.transpose(jnp.tanh(x), (0, 2, 1, 3)), "turned")
    y = jnp.cos(x)
    return checkpoint_name(y.mean((1, 2)), "pooled")


def test_scopes_and_checkpoint_names_are_addresses():
    found = activations(named, (), IMAGES, ["outer/inner", "inner", "outer", "turned", "pooled"])
    np.testing.assert_array_equal(found["outer/inner"], jnp.sin(IMAGES))
    np.testing.assert_array_equal(found["inner"], jnp.sin(IMAGES))
    # A checkpoint_name names the operation, before what only moves its values.
    for address in ("outer", "turned"):
        np.testing.assert_array_equal(found[address], jnp.tanh(jnp.sin(IMAGES)))
    close(found["pooled"], jnp.cos(jnp.tanh(jnp.sin(IMAGES))).mean((1, 2)))


def test_a_scan_gives_one_activation_a_turn():
    apply, params = made("scanned_stack")
    shapes = {tap.name: tap.shape for tap in taps(apply, params, IMAGES)}
    assert shapes["blocks/relu"] == (3, 2, 8, 8, 4)
    found = compiled(apply, params, IMAGES)
    assert {name: value.shape for name, value in found.items()} == shapes
    unrolled = compiled(*made("unrolled_stack"), IMAGES)
    for i in range(3):
        close(found["blocks"][i], unrolled[f"block{i}"])
        close(found["blocks/relu"][i], unrolled[f"block{i}/relu"])


def test_a_scan_in_a_scan_and_a_reversed_one_keep_their_turns():
    def f(params, images):
        def inner(x, scale):
            x = checkpoint_name(jnp.tanh(x * scale), "value")
            return x, None

        def outer(x, _):
            return lax.scan(inner, x, params["scales"], reverse=True)

        return lax.scan(outer, images, None, length=2)[0].mean((1, 2))

    found = compiled(f, {"scales": jnp.asarray([0.5, 1.0, 2.0])}, IMAGES, ["value"])["value"]
    x = IMAGES
    for turn in range(2):
        for place, scale in reversed([*enumerate((0.5, 1.0, 2.0))]):
            x = jnp.tanh(x * scale)
            close(found[turn, place], x)


def test_of_two_branches_the_one_not_taken_gives_zeros():
    def f(params, images):
        branches = (lambda x: checkpoint_name(jnp.sin(x), "sine"), lambda x: checkpoint_name(jnp.tanh(x), "tangent"))
        return lax.cond(params["which"] > 0, *branches, images).mean((1, 2))

    found = compiled(f, {"which": jnp.ones(())}, IMAGES, ["sine", "tangent"])
    close(found["sine"], jnp.sin(IMAGES))
    np.testing.assert_array_equal(found["tangent"], jnp.zeros_like(IMAGES))


def test_a_layer_that_two_inputs_share_has_two_activations():
    def f(params, images):
        left, right = (small_networks.dense(params["shared"], x) for x in (images[:, :4], images[:, 4:]))
        return (jnp.tanh(left) * right).mean((1, 2))

    params = {"shared": small_networks.product_layer(jax.random.key(0), 3, 4)}
    found = compiled(f, params, IMAGES)
    assert {"shared", "shared_1"} <= set(found)
    halves = [small_networks.dense(params["shared"], x) for x in (IMAGES[:, :4], IMAGES[:, 4:])]
    for name, expected in zip(("shared", "shared_1"), halves, strict=True):
        close(found[name], expected)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_stays_half_precision(dtype):
    apply, params = made("plain_cnn")
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    found = compiled(apply, params, IMAGES.astype(dtype))
    assert set(found) == set(NAMES) and {value.dtype for value in found.values()} == {jnp.dtype(dtype)}
    np.testing.assert_allclose(found["conv1/relu"].astype(float), by_hand()["conv1/relu"], atol=0.1)


def test_values_under_jit_are_those_outside_and_nothing_is_kept_of_other_parameters():
    apply, params = made("plain_cnn")
    second = jax.jit(lambda params, x: activations(apply, params, x, ["conv2/relu"])["conv2/relu"])
    close(second(params, IMAGES), by_hand()["conv2/relu"])
    np.testing.assert_array_equal(second(jax.tree.map(jnp.zeros_like, params), IMAGES), jnp.zeros((2, 4, 4, 8)))
    close(second(params, IMAGES[:1]), by_hand()["conv2/relu"][:1])


def looped(images):
    def turn(x):
        return checkpoint_name(0.5 * jnp.sin(x), "turn")

    return lax.while_loop(lambda x: jnp.abs(x).sum() > 1.0, turn, images).mean((1, 2))


def folded(images):
    return lax.reduce(images, 0.0, lambda a, b: checkpoint_name(jnp.sin(a), "turn") + b, (1, 2))


@pytest.mark.parametrize("inside", [looped, folded])
def test_what_stands_in_a_while_loop_or_in_an_unknown_equation_is_no_activation(inside):
    def apply(params, images):
        return jnp.tanh(inside(images))

    assert taps(apply, (), IMAGES)[-1].kind == "activation"
    found = activations(apply, (), IMAGES)
    assert list(found) == [tap.name for tap in taps(apply, (), IMAGES)] and len(found) <= 2
    np.testing.assert_allclose([*found.values()][-1], apply((), IMAGES), rtol=1e-6)
    with pytest.raises(ValueError, match="layer must be the name of an activation, got 'turn'"):
        activations(apply, (), IMAGES, ["turn"])


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.ones((8, 8, 3), np.float32), ValueError, "must be"),
        (np.ones((1, 8, 8, 3), int), TypeError, "floating point"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(images, error, message):
    for function in (taps, activations):
        with pytest.raises(error, match=message):
            function(*made("plain_cnn"), images)
