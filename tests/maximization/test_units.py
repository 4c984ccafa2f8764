"""Scores of units against the model's own activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import maximization as mx
from saliency_jax.models import CNN


@pytest.fixture(scope="module")
def network():
    model = CNN(channels=(3, 4), units=5, classes=2)
    images = jax.random.normal(jax.random.key(1), (1, 8, 8, 1))
    params = model.init(jax.random.key(0), images)
    # Under scale some units are off: before the ReLU they are negative, after it 0.
    params = jax.tree.map(lambda leaf: 3 * leaf, params)
    return model.apply, params, images[0]


def convolved(params, image):
    kernel = params["params"]["conv1"]
    features = jax.lax.conv_general_dilated(
        image[None], kernel["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return np.asarray(features[0] + kernel["bias"].reshape(1, 1, 1, -1)[0])


def test_units_are_read_before_and_after_the_relu(network):
    apply, params, image = network
    before = convolved(params, image)
    assert (before < 0).any()
    for tap, features in (("conv1", before), ("conv1/relu", np.maximum(before, 0))):
        close = {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(mx.channel_score(apply, params, tap, 1)(image), features[..., 1].mean(), **close)
        np.testing.assert_allclose(mx.neuron_score(apply, params, tap, 2)(image), features[4, 4, 2], **close)
        score = mx.neuron_score(apply, params, tap, 0, place=(1, 6))
        np.testing.assert_allclose(score(image), features[1, 6, 0], **close)
        direction = np.array([1.0, -2.0, 0.5], np.float32)
        score = mx.direction_score(apply, params, tap, direction)
        np.testing.assert_allclose(score(image), (features @ direction).mean(), **close)


def test_a_dense_layer_has_units_without_a_place(network):
    apply, params, image = network
    logits = apply(params, image[None])[0]
    for make in (mx.neuron_score, mx.channel_score):
        np.testing.assert_allclose(make(apply, params, "logits", 1)(image), logits[1], rtol=1e-5)


def test_channels_are_told_apart_under_vmap(network):
    apply, params, image = network
    scores = jax.vmap(lambda channel: mx.channel_score(apply, params, "conv1", channel)(image))(jnp.arange(3))
    np.testing.assert_allclose(scores, convolved(params, image).mean((0, 1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda a, p: mx.channel_score(a, p, "conv1", 3), ValueError, r"channel must be in \[0, 3\), got 3"),
        (lambda a, p: mx.channel_score(a, p, "conv1", 1.5), TypeError, "channel must be one integer, got 1.5"),
        (lambda a, p: mx.channel_score(a, p, "conv9", 0), ValueError, "layer must be the name of an activation"),
        (
            lambda a, p: mx.neuron_score(a, p, "conv1", 0, place=(8, 0)),
            ValueError,
            r"inside of .*\(8, 8\), got \(8, 0\)",
        ),
        (lambda a, p: mx.neuron_score(a, p, "logits", 0, place=(1,)), ValueError, r"places \(\), got \(1,\)"),
        (
            lambda a, p: mx.direction_score(a, p, "conv1", np.ones(4)),
            ValueError,
            r"each of the 3 channels, got shape \(4,\)",
        ),
        (lambda a, p: mx.direction_score(a, p, "conv1", np.ones(3, int)), TypeError, "direction must be floating"),
    ],
)
def test_bad_units_are_named(network, make, error, message):
    apply, params, image = network
    with pytest.raises(error, match=message):
        make(apply, params)(image)


def test_a_tap_inside_a_scan_is_refused():
    params = jnp.stack([jnp.eye(4)] * 3)

    def apply(params, images):
        def layer(x, kernel):
            return jax.nn.relu(x @ kernel), None

        return jax.lax.scan(layer, images.reshape(len(images), -1), params)[0]

    image = jnp.ones((2, 2, 1))
    with pytest.raises(ValueError, match="outside of any scan"):
        mx.channel_score(apply, params, 0, 0)(image)
