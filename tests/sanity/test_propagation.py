"""Relevance at the input of every layer against dense matrices in float64, and against the explainers' own maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep_relu import LAYERS, apply, images, params, relevance

import saliency_jax as sj
from saliency_jax.sanity.propagation import (
    PROPAGATIONS,
    Combination,
    layers_of,
    lrp_propagation,
    relevance_at_layers,
)

WEIGHTS = jnp.asarray(np.random.default_rng(5).normal(size=10), jnp.float32)
PASSES = {
    **PROPAGATIONS,
    "lrp_zero": lrp_propagation(sj.composites.zero),
    "z_plus": lrp_propagation([(("convolution", "dense"), sj.rules.z_plus)]),
}
EXPLAINERS = {"gradient": sj.gradient, "guided_backprop": sj.guided_backprop, "deconvnet": sj.deconvnet}


@pytest.mark.parametrize("name", PASSES)
def test_what_arrives_at_every_layer_is_what_dense_matrices_give(name):
    found = jax.jit(lambda x: relevance_at_layers(Combination(apply, params(), WEIGHTS), x, PASSES[name]))(images(1)[0])
    want = relevance(name, np.asarray(images(1)[0], np.float64).ravel(), np.asarray(WEIGHTS, np.float64))
    assert set(found) == set(LAYERS)
    for layer, expected in zip(LAYERS, want, strict=True):
        got = np.asarray(found[layer]).ravel()
        np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max(), err_msg=layer)


class Small:
    """Two convolutions, max pooling, and a sum of two paths."""

    @staticmethod
    def params():
        draw = np.random.default_rng(0)
        shapes = {"stem": (3, 3, 1, 4), "branch": (3, 3, 4, 4), "logits": (64, 10)}
        return {
            name: jnp.asarray(draw.normal(size=shape) / np.sqrt(np.prod(shape[:-1])), jnp.float32)
            for name, shape in shapes.items()
        }

    @staticmethod
    def apply(params, images):
        def conv(x, kernel):
            return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

        hidden = jax.nn.relu(conv(images, params["stem"]))
        hidden = hidden + jax.nn.relu(conv(hidden, params["branch"]))
        hidden = jax.lax.reduce_window(hidden, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return hidden.reshape(len(images), -1) @ params["logits"]


@pytest.mark.parametrize("name", [*EXPLAINERS, "z_plus"])
def test_what_arrives_at_the_first_layer_is_the_explainers_map(name):
    image = jnp.asarray(np.random.default_rng(1).normal(size=(8, 8, 1)), jnp.float32)
    weights = jnp.zeros(10).at[3].set(1.0)

    def both(image):
        score = sj.class_score(Small.apply, Small.params(), 3)
        if name in EXPLAINERS:
            explained = EXPLAINERS[name](score, image)
        else:
            # The map of LRP starts with the score, the propagation with 1 for the class; z-plus is linear in it.
            rules = [("convolution", sj.rules.z_plus), ("dense", sj.rules.z_plus)]
            explained = sj.lrp(score, image, composite=rules) / score(image)
        return explained, relevance_at_layers(Combination(Small.apply, Small.params(), weights), image, PASSES[name])

    explained, found = jax.jit(both)(image)
    np.testing.assert_allclose(found["stem"][0], explained, rtol=1e-4, atol=1e-5 * float(jnp.abs(explained).max()))
    assert found["branch"].shape == (1, 8, 8, 4) and found["logits"].shape == (1, 64)


def test_layers_have_the_names_of_the_models_layers_in_the_order_of_execution():
    image = jnp.ones((8, 8, 1))
    for name in ("gradient", "guided_backprop", "z_plus"):
        assert layers_of(Small.apply, Small.params(), image, PASSES[name]) == ["stem", "branch", "logits"]


def test_what_a_propagation_cannot_do_is_said():
    def pixels(params, images):
        return images.reshape(len(images), -1)[:, :3]

    def smooth(params, images):
        return jnp.tanh(images.reshape(len(images), -1) @ params)

    with pytest.raises(ValueError, match="must have a convolution or a dense layer"):
        layers_of(pixels, (), jnp.ones((2, 2, 1)), PROPAGATIONS["gradient"])
    with pytest.raises(ValueError, match="must hold a ReLU"):
        layers_of(smooth, jnp.ones((4, 3)), jnp.ones((2, 2, 1)), PROPAGATIONS["guided_backprop"])
