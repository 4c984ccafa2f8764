import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep_relu import LAYERS, apply, images, params, relevance

import saliency_jax as sj
from saliency_jax.sanity.cosine_convergence import cosine_convergence, layer_cosine_convergence, random_relevance
from saliency_jax.sanity.propagation import PROPAGATIONS, lrp_propagation

COUNT, SEEDS = 6, [0, 4]
KEY = jax.random.key(7)
PASSES = {
    "gradient": PROPAGATIONS["gradient"],
    "lrp_zero": lrp_propagation(sj.composites.zero),
    "z_plus": lrp_propagation([(("convolution", "dense"), sj.rules.z_plus)]),
}


def zeros(score, image, key=None):
    return jnp.zeros_like(image)


EXPLAINERS = {"gradient": sj.gradient, "edges": sj.edges, "zeros": zeros}


def drawn(seed):
    return np.asarray(random_relevance(KEY, seed, COUNT, 10, jnp.float32), np.float64)


def absolute_cosine(a, b):
    return abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.fixture(scope="module")
def by_layer():
    return layer_cosine_convergence(apply, params(), images(COUNT), PASSES, key=KEY, seeds=SEEDS)


@pytest.fixture(scope="module")
def at_input():
    return cosine_convergence(apply, params(), images(COUNT), EXPLAINERS, key=KEY, seeds=SEEDS)


def test_the_datasets_have_the_documented_dimensions(by_layer, at_input):
    for found, layers in ((by_layer, LAYERS), (at_input, ["input"])):
        assert found.convergence.dims == ("explainer", "layer", "seed", "image")
        assert found.layer.values.tolist() == layers and found.seed.values.tolist() == SEEDS


@pytest.mark.parametrize("name", PASSES)
def test_the_cosine_at_every_layer_is_that_of_passes_by_dense_matrices(by_layer, name):
    for seed in SEEDS:
        for i, (image, (v, w)) in enumerate(zip(np.asarray(images(COUNT), np.float64), drawn(seed), strict=True)):
            pairs = zip(*(relevance(name, image.ravel(), x) for x in (v, w)), strict=True)
            want = [absolute_cosine(a, b) for a, b in pairs]
            np.testing.assert_allclose(by_layer.convergence.sel(explainer=name, seed=seed, image=i), want, atol=1e-4)


def test_products_of_matrices_that_are_not_negative_forget_the_logits_and_gradients_do_not(by_layer):
    mean = by_layer.convergence.mean(["seed", "image"])
    z_plus = mean.sel(explainer="z_plus").values
    # From the logits down each layer brings the two vectors nearer, until they are one.
    assert z_plus[0] > 0.999 and np.all(np.diff(z_plus[::-1][:4]) > 0)
    for name in ("gradient", "lrp_zero"):
        assert float(mean.sel(explainer=name).max()) < 0.6


def test_at_the_input_the_gradient_is_that_of_the_first_layer(by_layer, at_input):
    np.testing.assert_allclose(
        at_input.convergence.sel(explainer="gradient", layer="input"),
        by_layer.convergence.sel(explainer="gradient", layer=LAYERS[0]),
        atol=1e-5,
    )


def test_a_map_that_does_not_know_what_is_explained_has_converged_and_a_map_of_zeros_has_no_angle(at_input):
    np.testing.assert_allclose(at_input.convergence.sel(explainer="edges"), 1, atol=1e-6)
    assert np.isnan(at_input.convergence.sel(explainer="zeros")).all()


@pytest.mark.slow
def test_an_images_draws_depend_on_neither_the_chunks_nor_the_other_images_and_seeds(by_layer, at_input):
    few = images(COUNT)[:2]
    passes = {"gradient": PASSES["gradient"]}
    got = layer_cosine_convergence(apply, params(), few, passes, key=KEY, seeds=[4], batch_size=1)
    want = by_layer.convergence.sel(explainer=["gradient"], seed=[4]).isel(image=slice(2))
    np.testing.assert_allclose(got.convergence, want, atol=1e-5)
    got = cosine_convergence(apply, params(), few, {"gradient": sj.gradient}, key=KEY, seeds=[4], batch_size=1)
    want = at_input.convergence.sel(explainer=["gradient"], seed=[4]).isel(image=slice(2))
    np.testing.assert_allclose(got.convergence, want, atol=1e-5)


def test_random_vectors_are_as_independent_as_normal_ones_are(key):
    n = 10
    found = [absolute_cosine(v, w) for v, w in np.asarray(random_relevance(key, 0, 4000, n, jnp.float32), np.float64)]
    # The mean of |cos| of two independent directions; their cosine has the variance 1 / n.
    want = math.gamma(n / 2) / math.sqrt(math.pi) / math.gamma((n + 1) / 2)
    spread = math.sqrt(1 / n - want**2)
    assert np.mean(found) == pytest.approx(want, abs=4 * spread / math.sqrt(4000))


def test_wrong_arguments_are_named(as_a_user):
    arguments = (apply, params(), images(2))
    with pytest.raises(ValueError, match="layer_cosine_convergence draws random numbers"):
        layer_cosine_convergence(*arguments, PASSES, key=None)
    with pytest.raises(ValueError, match="cosine_convergence draws random numbers"):
        cosine_convergence(*arguments, EXPLAINERS, key=None)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        layer_cosine_convergence(*arguments, PASSES, key=KEY, batch_size=0)
    with pytest.raises(ValueError, match="explainers must name at least one function"):
        cosine_convergence(*arguments, {}, key=KEY)
