"""Grad-CAM against its two equations on a model cut in two by hand, and what counts as the layer."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import class_score, grad_cam, guided_backprop, guided_grad_cam
from tests import small_networks
from tests.made_networks import made, made_images

IMAGE = made_images(8, 8, 3)
CLASS = 1


def explained(apply, params, **options):
    return jax.jit(partial(grad_cam, class_score(apply, params, CLASS), **options))(IMAGE)


def below(p, image):
    """The plain CNN up to its second ReLU."""
    x = small_networks.max_pool(jax.nn.relu(small_networks.conv(p["conv1"], image[None])))
    return jax.nn.relu(small_networks.conv(p["conv2"], x))


def above(p, activation):
    x = small_networks.average_pool(activation).reshape(1, -1)
    return small_networks.dense(p["dense2"], jax.nn.relu(small_networks.dense(p["dense1"], x)))[0, CLASS]


def weighted(activation, gradient):
    """The paper's equations 1 and 2, in loops."""
    activation, gradient = np.asarray(activation, float)[0], np.asarray(gradient, float)[0]
    height, width, channels = activation.shape
    cam = np.zeros((height, width))
    for k in range(channels):
        weight = sum(gradient[i, j, k] for i in range(height) for j in range(width)) / (height * width)
        cam += weight * activation[:, :, k]
    return np.maximum(cam, 0)


def bilinear(small, factor):
    """Twice the size by the mean of neighbours, pixels being areas: in one dimension, then in the other."""
    for _ in range(2):
        count = len(small)
        places = np.clip((np.arange(count * factor) + 0.5) / factor - 0.5, 0, count - 1)
        low = np.floor(places).astype(int)
        part = (places - low)[:, None]
        small = ((1 - part) * small[low] + part * small[np.minimum(low + 1, count - 1)]).T
    return small


def test_the_map_is_that_of_the_paper_s_equations():
    apply, params = made("plain_cnn")
    activation = below(params, IMAGE)
    cam = weighted(activation, jax.grad(partial(above, params))(activation))
    assert cam.max() > 0
    for options, expected in (({}, bilinear(cam, 2)), ({"interpolation": "nearest"}, cam.repeat(2, 0).repeat(2, 1))):
        found = explained(apply, params, **options)
        assert found.shape == IMAGE.shape
        for channel in range(3):
            np.testing.assert_allclose(found[..., channel], expected, rtol=1e-5, atol=1e-5 * cam.max())


def test_the_gradient_is_that_of_finite_differences():
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), made("plain_cnn")[1])
        image = jnp.asarray(IMAGE, jnp.float64)
        activation = np.asarray(below(params, image))
        score = jax.jit(partial(above, params))
        means = [
            (score(activation + shift) - score(activation - shift)) / 2e-6 / activation[..., 0].size
            for shift in 1e-6 * np.eye(activation.shape[-1])[:, None, None, None]
        ]
        cam = np.maximum(activation[0] @ np.asarray(means), 0)
        found = jax.jit(partial(grad_cam, class_score(made("plain_cnn")[0], params, CLASS), interpolation="nearest"))
        np.testing.assert_allclose(found(image)[::2, ::2, 0], cam, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("layer", ["conv2", "conv2/relu", 3, 4])
def test_a_layer_by_name_or_index_means_its_activation(layer):
    apply, params = made("plain_cnn")
    np.testing.assert_array_equal(explained(apply, params, layer=layer), explained(apply, params))


def test_an_earlier_layer_gives_another_map_and_a_linen_path_the_same_one():
    plain = explained(*made("plain_cnn"), layer="conv1")
    assert not np.allclose(plain, explained(*made("plain_cnn")))
    np.testing.assert_allclose(explained(*made("linen_cnn"), layer="LinenCNN/conv1"), plain, rtol=1e-5, atol=1e-6)


def params_of(**shapes):
    return {
        name: {"kernel": made_images(*shape, seed=1), "bias": jnp.zeros(shape[-1])} for name, shape in shapes.items()
    }


def head(x):
    return x.mean((1, 2))


def test_the_last_spatial_activation_may_be_a_concatenation():
    def parts(p, x):
        return jnp.concatenate([jnp.sin(x), jax.nn.relu(small_networks.conv(p["left"], x))], -1)

    def rest(x):
        return head(small_networks.average_pool(x)) ** 2

    params = params_of(left=(3, 3, 3, 4))
    activation = parts(params, IMAGE[None])
    cam = weighted(activation, jax.grad(lambda a: rest(a)[0, CLASS])(activation))
    assert cam.max() > 0
    for layer in (None, "left/concatenation"):
        found = explained(lambda p, x: rest(parts(p, x)), params, layer=layer)
        np.testing.assert_allclose(found[..., 0], cam, rtol=1e-5, atol=1e-6)


def test_after_a_convolution_and_its_batch_norm_the_relu_is_taken():
    def apply(p, x):
        return head(jax.nn.relu(small_networks.conv(p["conv"], x) * p["norm"]["scale"] + 0.1) ** 2)

    params = params_of(conv=(3, 3, 3, 4)) | {"norm": {"scale": jnp.asarray([1.0, -2.0, 0.5, 1.0]).reshape(1, 1, 1, 4)}}
    activation = jax.nn.relu(small_networks.conv(params["conv"], IMAGE[None]) * params["norm"]["scale"] + 0.1)
    cam = weighted(activation, jax.grad(lambda a: head(a**2)[0, CLASS])(activation))
    for layer in ("conv", "norm", "norm/relu"):
        np.testing.assert_allclose(explained(apply, params, layer=layer)[..., 0], cam, rtol=1e-5, atol=1e-6)


def test_a_convolution_that_two_read_is_taken_itself():
    def apply(p, x):
        y = small_networks.conv(p["conv"], x)
        return head(jax.nn.relu(y) + jnp.flip(y, 1) ** 2)

    params = params_of(conv=(3, 3, 3, 4))
    activation = small_networks.conv(params["conv"], IMAGE[None])
    cam = weighted(activation, jax.grad(lambda a: head(jax.nn.relu(a) + jnp.flip(a, 1) ** 2)[0, CLASS])(activation))
    np.testing.assert_allclose(explained(apply, params, layer="conv")[..., 0], cam, rtol=1e-5, atol=1e-6)


def test_guided_grad_cam_is_the_product():
    apply, params = made("plain_cnn")
    score = class_score(apply, params, CLASS)
    found = jax.jit(partial(guided_grad_cam, score))(IMAGE)
    product = explained(apply, params) * jax.jit(partial(guided_backprop, score))(IMAGE)
    np.testing.assert_allclose(found, product, rtol=1e-5, atol=1e-6 * float(jnp.abs(product).max()))
    assert jnp.abs(found).max() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "dense1"}, r"layer must be an activation \[1, height, width, channel\], got 'dense1/relu' with"),
        ({"layer": "convv2"}, "got 'convv2'; near it are conv2"),
        ({"layer": 99}, r"index must be in \[0, 9\), got 99"),
        ({"interpolation": "bicubical"}, "interpolation must be a method of jax.image.resize, got 'bicubical'"),
    ],
)
def test_what_cannot_be_a_layer_or_an_interpolation_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        explained(*made("plain_cnn"), **options)


def test_a_model_whose_maps_are_not_spatial_needs_a_layer_and_an_image_three_axes():
    dense = params_of(one=(192, 4))
    with pytest.raises(ValueError, match=r"layer must be given: the score has no activation \[1, height, width"):
        explained(lambda p, x: small_networks.dense(p["one"], x.reshape(1, -1)), dense)
    with pytest.raises(ValueError, match=r"image must be \[height, width, channel\], got shape \(8, 8\)"):
        grad_cam(jnp.sum, IMAGE[..., 0])


def test_a_vision_transformer_has_its_patches_alone():
    transformer = made("vision_transformer")
    np.testing.assert_array_equal(explained(*transformer), explained(*transformer, layer="patches"))
    with pytest.raises(ValueError, match=r"layer must be an activation \[1, height, width, channel\]"):
        explained(*transformer, layer="block1/mlp2/sum")


def test_heads_and_tokens_are_no_height_and_width():
    def apply(p, x):
        tokens = small_networks.dense(p["patches"], x.reshape(1, 4, 48))
        mixed = small_networks.self_attention(p["attention"], tokens, 2)
        return mixed.mean(1)

    names = ("query", "key", "value", "out")
    params = params_of(patches=(48, 8)) | {"attention": params_of(**dict.fromkeys(names, (8, 8)))}
    with pytest.raises(ValueError, match="layer must be given"):
        explained(apply, params)
