"""Explainers computed together give what each gives alone, for the price of the dearest of those that share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import EXPLAINERS, batched, gradient, sensitivity, smoothgrad, smoothgrad_squared, vargrad
from saliency_jax.explainers.together import families_of, together

IMAGE = jnp.asarray(np.random.default_rng(0).uniform(size=(4, 3, 2)), jnp.float32)


def score(x):
    return jnp.sum(jnp.sin(3 * x) + x**3)


@pytest.mark.slow
def test_each_map_is_that_of_its_explainer_alone_whatever_the_numbers_of_samples(key):
    explainers = {
        "variance of 5": vargrad(gradient, samples=5),
        "gradient": gradient,
        "mean of 13": smoothgrad(gradient, samples=13),
        "squares of 13": smoothgrad_squared(gradient, samples=13),
        "mean of 7": smoothgrad(gradient, samples=7),
        "more noise": smoothgrad(gradient, samples=7, noise=0.3),
        "of another": smoothgrad(sensitivity, samples=7),
    }
    found = jax.jit(lambda x, k: together(explainers)(score, x, k))(IMAGE, key)
    assert set(found) == set(explainers)
    for name, explain in explainers.items():
        np.testing.assert_allclose(found[name], explain(score, IMAGE, key), rtol=1e-5, atol=1e-6, err_msg=name)


def test_statistics_over_the_same_copies_cost_as_many_explanations_as_the_largest_alone(key):
    seen = []

    def counted(score, image, key=None):
        jax.debug.callback(lambda _: seen.append(1), image.sum())
        return gradient(score, image)

    explainers = {
        wrapper.__name__: wrapper(counted, samples=samples, at_once=5)
        for wrapper, samples in ((smoothgrad, 20), (smoothgrad_squared, 20), (vargrad, 10))
    }
    jax.block_until_ready(together(explainers)(score, IMAGE, key))
    jax.effects_barrier()
    assert len(seen) == 20


def test_the_papers_explainers_over_noise_are_one_family():
    assert ["smoothgrad", "smoothgrad_squared", "vargrad"] in [list(f) for f in families_of(EXPLAINERS).values()]


def test_explainers_must_be_a_mapping_from_names_to_functions(as_a_user):
    with pytest.raises(TypeError, match="explainers must be a mapping"):
        together([gradient])
    with pytest.raises(ValueError, match="explainers must name at least one"):
        together({})
    with pytest.raises(TypeError, match="explainers must be"):
        together({"gradient": 3})


def test_a_family_over_noise_needs_a_key():
    explain_all = together({"mean": smoothgrad(gradient), "variance": vargrad(gradient)})
    with pytest.raises(ValueError, match="key"):
        explain_all(score, IMAGE)


def test_a_batch_of_maps_keeps_the_order_of_its_explainers():
    """JAX sorts the names of a dictionary; who zips them with titles would put wrong ones on the maps."""
    names = ["sensitivity", "gradient", "edges"]
    maps = batched(together({name: EXPLAINERS[name] for name in names}), lambda params, x: x.sum((2, 3)))(
        {}, IMAGE[None], jnp.asarray([1])
    )
    assert list(maps) == names
