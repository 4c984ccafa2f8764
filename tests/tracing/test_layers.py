"""The layers of hand-written functions, whose order of execution is known because the test wrote it."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax import Layer, blocks, layers
from saliency_jax.tracing.layers import leaf_paths

IMAGES = jnp.zeros((2, 4, 4, 1))
SQUARE = np.zeros((16, 16), np.float32)
VECTOR = np.zeros(16, np.float32)


def flat(images):
    return images.reshape(len(images), -1)


def dense(layer, x):
    return x @ layer["kernel"] + layer["bias"].reshape(1, -1)


def dense_params(*names):
    return {name: {"kernel": SQUARE, "bias": VECTOR} for name in names}


def names(apply, params, images=IMAGES):
    return [layer.name for layer in layers(apply, params, images)]


def test_a_nested_dict_is_in_the_order_of_execution_and_not_of_the_alphabet():
    def apply(params, images):
        x = jax.nn.relu(dense(params["stem"]["z"], flat(images)))
        x = jax.nn.relu(dense(params["stem"]["a"], x))
        return dense(params["head"], x)

    params = {"head": dense_params("x")["x"], "stem": dense_params("a", "z")}
    assert layers(apply, params, IMAGES) == (
        Layer("stem/z", ("stem/z/kernel", "stem/z/bias")),
        Layer("stem/a", ("stem/a/kernel", "stem/a/bias")),
        Layer("head", ("head/kernel", "head/bias")),
    )
    assert leaf_paths(params)[0] == "head/bias", "the order of the tree's leaves is another"


def test_in_a_flat_dict_every_kernel_opens_a_layer_that_takes_in_what_follows():
    def apply(params, images):
        x = jnp.tanh(flat(images) @ params["w2"] + params["b2"].reshape(1, -1))
        x = params["gain"] * jnp.tanh(x @ params["w3"])
        return x @ params["w1"] + params["b1"].reshape(1, -1)

    params = {"b1": VECTOR, "b2": VECTOR, "gain": np.float32(1), "w1": SQUARE, "w2": SQUARE, "w3": SQUARE}
    assert layers(apply, params, IMAGES) == (
        Layer("w2", ("w2", "b2")),
        Layer("w3", ("w3", "gain")),
        Layer("w1", ("w1", "b1")),
    )


def test_a_flat_dict_that_first_normalizes_the_image_has_that_as_its_first_layers():
    def apply(params, images):
        return (flat(images) - params["mean"].reshape(1, -1)) / params["std"] @ params["a"]

    params = {"a": SQUARE, "mean": VECTOR, "std": np.float32(1)}
    assert names(apply, params) == ["mean", "std", "a"]


def test_lists_and_tuples_are_named_by_their_places():
    def apply(params, images):
        x = flat(images)
        for kernel, bias in reversed(params):
            x = jnp.tanh(x @ kernel + bias.reshape(1, -1))
        return x

    assert layers(apply, [(SQUARE, VECTOR)] * 3, IMAGES) == tuple(
        Layer(str(i), (f"{i}/0", f"{i}/1")) for i in (2, 1, 0)
    )


def three_layers(params, images, *, dtype=None):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params) if dtype else params
    x = flat(images).astype(dtype)
    for name in ("second", "third", "first"):
        x = jax.nn.relu(dense(params[name], x))
    return x


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_casting_all_parameters_at_the_top_does_not_count_as_their_use(dtype):
    params = dense_params("first", "second", "third")
    assert names(lambda p, x: three_layers(p, x, dtype=dtype), params) == ["second", "third", "first"]


def test_nor_do_reshapes_norms_and_products_of_weights_alone():
    def apply(params, images):
        weights = {name: params[name] / jnp.linalg.norm(params[name]) for name in sorted(params)}
        low_rank = weights["a"] @ weights["b"]
        return flat(images) @ weights["d"] @ low_rank @ weights["c"]

    assert layers(apply, dict.fromkeys("abcd", SQUARE), IMAGES) == (
        Layer("d", ("d",)),
        Layer("a", ("a",)),
        Layer("b", ("b",)),
        Layer("c", ("c",)),
    )


WRAPPED = {
    "jit": jax.jit,
    "remat": jax.checkpoint,
    "jit in remat in jit": lambda f: jax.jit(jax.checkpoint(jax.jit(f))),
    "vmap": lambda f: lambda p, x: jax.vmap(lambda one: f(p, one[None])[0])(x),
    "cond": lambda f: lambda p, x: lax.cond(x.sum() > 0, f, lambda p, x: f(p, -x), p, x),
    "one turn of a loop": lambda f: lambda p, x: lax.fori_loop(0, 1, lambda i, y: f(p, x), flat(x)),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_the_order_is_seen_at_every_depth(wrap):
    params = dense_params("first", "second", "third")
    assert names(wrap(three_layers), params) == ["second", "third", "first"]


@jax.custom_vjp
def with_own_vjp(layer, x):
    return jnp.tanh(dense(layer, x))


with_own_vjp.defvjp(lambda layer, x: (with_own_vjp(layer, x), layer), lambda layer, g: (layer, g))


def test_the_order_is_seen_in_functions_with_their_own_derivative():
    def apply(params, images):
        return with_own_vjp(params["a"], with_own_vjp(params["b"], flat(images)))

    assert names(apply, dense_params("a", "b")) == ["b", "a"]


@pytest.mark.parametrize("loop", ["scan", "while", "fori"])
def test_in_a_loop_a_weight_counts_where_it_first_meets_the_image_in_any_turn(loop):
    def body(params, carry):
        # "late" meets the image from the second turn on, after "early" met it in the first.
        on_image, not_yet = carry
        return jnp.tanh(on_image @ params["early"]), not_yet @ params["late"] + on_image

    def apply(params, images):
        carry = flat(images), jnp.ones((len(images), 16))
        if loop == "scan":
            carry, _ = lax.scan(lambda carry, _: (body(params, carry), None), carry, None, length=3)
        elif loop == "fori":
            carry = lax.fori_loop(0, 3, lambda i, carry: body(params, carry), carry)
        else:
            carry = lax.while_loop(lambda c: c[1].sum() < 9, lambda carry: body(params, carry), carry)
        return (carry[0] + carry[1]) @ params["after"]

    assert names(apply, dict.fromkeys(("after", "early", "late"), SQUARE)) == ["early", "late", "after"]


def test_a_stack_of_layers_in_a_scan_is_one_layer_of_stacked_leaves():
    def apply(params, images):
        x, _ = lax.scan(lambda x, layer: (jnp.tanh(dense(layer, x)), None), flat(images), params["blocks"])
        return dense(params["a_head"], x)

    blocks = {"kernel": np.zeros((3, 16, 16), np.float32), "bias": np.zeros((3, 16), np.float32)}
    assert layers(apply, {"a_head": dense_params("h")["h"], "blocks": blocks}, IMAGES) == (
        Layer("blocks", ("blocks/kernel", "blocks/bias")),
        Layer("a_head", ("a_head/kernel", "a_head/bias")),
    )


def test_a_tied_weight_stands_where_it_is_used_first():
    def apply(params, images):
        hidden = jnp.tanh(flat(images) @ params["tied"]["kernel"])
        hidden = jnp.tanh(dense(params["between"], hidden))
        return hidden @ params["tied"]["kernel"].T

    params = {"between": dense_params("b")["b"], "tied": {"kernel": SQUARE}}
    assert names(apply, params) == ["tied", "between"]


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint], ids=["plain", "jit", "remat"])
def test_an_auxiliary_head_that_the_logits_do_not_need_is_in_no_layer(wrap):
    @wrap
    def forward(params, images):
        hidden = jnp.tanh(dense(params["trunk"], flat(images)))
        auxiliary = jnp.tanh(dense(params["auxiliary"], hidden)) @ params["auxiliary_head"]["kernel"]
        return dense(params["logits"], hidden), auxiliary

    params = dense_params("auxiliary", "auxiliary_head", "logits", "never_used", "trunk")
    assert names(lambda p, x: forward(p, x)[0], params) == ["trunk", "logits"]
    assert names(lambda p, x: sum(forward(p, x)), params) == ["trunk", "auxiliary", "auxiliary_head", "logits"]


def test_leaves_without_a_gradient_are_in_no_layer():
    def apply(params, images):
        return dense(params["a"], flat(images)) * params["count"] + params["steps"]["n"]

    params = dense_params("a") | {"count": np.int32(2), "steps": {"n": np.int32(1)}}
    assert names(apply, params) == ["a"]


def test_parameters_may_be_seen_by_shape_alone():
    params = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), dense_params("first", "second", "third")
    )
    assert names(three_layers, params) == ["second", "third", "first"]


@pytest.mark.parametrize(
    ("images", "error", "match"),
    [
        (jnp.zeros((2, 4, 4, 1), int), TypeError, "images must be floating point"),
        (jnp.zeros((4, 4, 1)), ValueError, "images must be .batch, height, width, channel., got 3 axes"),
        (jnp.zeros((0, 4, 4, 1)), ValueError, "images must hold at least one image"),
        (IMAGES.at[1, 2].set(jnp.nan), ValueError, "images must be finite, found 4"),
        (IMAGES.at[0, 0, 0, 0].set(jnp.inf), ValueError, "images must be finite, found 1"),
    ],
)
def test_images_that_are_no_batch_of_images_are_named(images, error, match):
    # Without the shape check of the tests, which would speak before the library does.
    with pytest.raises(error, match=match):
        inspect.unwrap(layers)(three_layers, dense_params("first", "second", "third"), images)


def test_params_that_do_not_fit_leave_the_models_own_error_with_a_note():
    params = dense_params("first", "second", "third") | {"second": {"kernel": SQUARE[:9], "bias": VECTOR}}
    with pytest.raises(TypeError) as caught:
        layers(three_layers, params, IMAGES)
    assert "do params fit the model" in "".join(caught.value.__notes__)
    with pytest.raises(KeyError, match="second") as caught:
        layers(three_layers, dense_params("first"), IMAGES)
    assert "images (2, 4, 4, 1)" in "".join(caught.value.__notes__)


def test_a_model_that_ignores_its_params_has_no_layers_to_tell():
    with pytest.raises(ValueError, match="must use its params"):
        layers(lambda params, images: flat(images), dense_params("a"), IMAGES)
    with pytest.raises(ValueError, match="must use its params"):
        layers(lambda params, images: params["a"]["kernel"] @ params["a"]["kernel"], dense_params("a"), IMAGES)


def test_parameters_that_are_one_bare_array_are_one_layer():
    [layer] = layers(lambda kernel, x: x.reshape(len(x), -1) @ kernel, jnp.ones((12, 3)), jnp.ones((2, 2, 2, 3)))
    assert layer == ("params", ("",))


def test_blocks_join_the_layers_of_a_module_and_keep_the_order_of_execution():
    found = [Layer(name, (f"params/{name}/kernel",)) for name in ("stem/conv", "b/0/conv", "a/1", "b/1/conv", "logits")]
    assert [(block.name, len(block.paths)) for block in blocks(found)] == [
        ("stem", 1),
        ("b", 2),
        ("a", 1),
        ("logits", 1),
    ]
    assert [block.name for block in blocks(found, depth=2)] == ["stem/conv", "b/0", "a/1", "b/1", "logits"]
    assert sorted(path for block in blocks(found) for path in block.paths) == sorted(p for x in found for p in x.paths)


def test_the_depth_of_blocks_is_at_least_one():
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        blocks([Layer("conv", ("conv/kernel",))], depth=0)
