import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from saliency_jax.models import CNN


def test_the_default_is_the_paper_s_conv32_conv64_dense1024_10(key):
    params = jax.eval_shape(CNN().init, key, jnp.zeros((1, 28, 28, 1)))["params"]
    assert {name: (layer["kernel"].shape, layer["bias"].shape) for name, layer in params.items()} == {
        "conv1": ((5, 5, 1, 32), (32,)),
        "conv2": ((5, 5, 32, 64), (64,)),
        "dense": ((7 * 7 * 64, 1024), (1024,)),
        "logits": ((1024, 10), (10,)),
    }


def convolve_in_scipy(images, kernel, bias):
    out = np.empty((*images.shape[:3], kernel.shape[-1]))
    for n, image in enumerate(images):
        for o in range(kernel.shape[-1]):
            out[n, ..., o] = bias[o] + sum(
                scipy.signal.correlate2d(image[..., c], kernel[..., c, o], mode="same") for c in range(kernel.shape[2])
            )
    return out


def pool_in_numpy(x):
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


@pytest.mark.parametrize("size", [(8, 12), (9, 7)], ids=["even", "odd"])
def test_the_logits_are_those_of_scipy_s_correlation_and_numpy(key, size):
    model = CNN(channels=(3, 4), units=6, classes=5, kernel_size=(5, 3))
    draw = np.random.default_rng(0).standard_normal
    with jax.enable_x64(True):
        images = jnp.array(draw((2, *size, 2)))
        params = jax.tree.map(
            lambda leaf: jnp.array(draw(leaf.shape)),
            jax.eval_shape(model.init, key, images),
        )
        logits = np.asarray(jax.jit(model.apply)(params, images))
    layers = jax.tree.map(np.asarray, params["params"])
    hidden = np.asarray(images)
    for name in ("conv1", "conv2"):
        hidden = pool_in_numpy(np.maximum(convolve_in_scipy(hidden, **layers[name]), 0))
    hidden = np.maximum(hidden.reshape(2, -1) @ layers["dense"]["kernel"] + layers["dense"]["bias"], 0)
    expected = hidden @ layers["logits"]["kernel"] + layers["logits"]["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-11)


def test_what_is_no_batch_of_floating_images_is_refused(key):
    model = CNN(channels=(2,), units=3)
    with pytest.raises(ValueError, match=r"images must be .*, got 3 axes"):
        model.init(key, jnp.zeros((28, 28, 1)))
    with pytest.raises(TypeError, match="images must be floating point"):
        model.init(key, jnp.zeros((1, 28, 28, 1), jnp.uint8))
