import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.models import MLP


def test_the_default_is_the_paper_s_784_2500_1500_500_10(key):
    params = jax.eval_shape(MLP().init, key, jnp.zeros((1, 28, 28, 1)))["params"]
    assert {name: (layer["kernel"].shape, layer["bias"].shape) for name, layer in params.items()} == {
        "hidden1": ((784, 2500), (2500,)),
        "hidden2": ((2500, 1500), (1500,)),
        "hidden3": ((1500, 500), (500,)),
        "logits": ((500, 10), (10,)),
    }


def test_the_logits_are_those_of_matrix_products_in_numpy(key):
    model = MLP(widths=(7, 5), classes=3)
    draw = np.random.default_rng(0).standard_normal
    with jax.enable_x64(True):
        images = jnp.array(draw((4, 6, 5, 2)))
        params = jax.tree.map(
            lambda leaf: jnp.array(draw(leaf.shape)),
            jax.eval_shape(model.init, key, images),
        )
        logits = np.asarray(jax.jit(model.apply)(params, images))
    hidden = np.asarray(images).reshape(4, 60)
    layers = jax.tree.map(np.asarray, params["params"])
    for name in ("hidden1", "hidden2"):
        hidden = np.maximum(hidden @ layers[name]["kernel"] + layers[name]["bias"], 0)
    expected = hidden @ layers["logits"]["kernel"] + layers["logits"]["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-12)


def test_no_hidden_layer_is_a_linear_classifier(key):
    model, image = MLP(widths=(), classes=4), jnp.ones((1, 2, 3, 1))
    params = model.init(key, image)
    assert set(params["params"]) == {"logits"}
    np.testing.assert_allclose(
        model.apply(params, image)[0], params["params"]["logits"]["kernel"].sum(axis=0), rtol=1e-5
    )


def test_what_is_no_batch_of_floating_images_is_refused(key):
    model = MLP(widths=(3,))
    with pytest.raises(ValueError, match=r"images must be .*, got 3 axes"):
        model.init(key, jnp.zeros((28, 28, 1)))
    with pytest.raises(TypeError, match="images must be floating point"):
        model.init(key, jnp.zeros((1, 28, 28, 1), jnp.uint8))
