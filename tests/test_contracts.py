"""Every explainer through one table of checks: shape, purity, jit, vmap, keys, blanks; and the house rules."""

import inspect
from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import saliency_jax as sj
from saliency_jax.explainers import controls

CONTROLS = {"edges", "noise", "constant"}
NEED_KEY = {"smoothgrad", "smoothgrad_squared", "vargrad", "integrated_gradients_smoothgrad", "noise"}


class Small(nn.Module):
    """A CNN with every kind of trouble in miniature: biases, ReLU, overlapping max pooling."""

    @nn.compact
    def __call__(self, images):
        hidden = nn.relu(nn.Conv(4, (3, 3), bias_init=nn.initializers.normal(0.3))(images))
        hidden = nn.max_pool(hidden, (3, 3), (2, 2), padding="SAME")
        return nn.Dense(3)(hidden.reshape(len(hidden), -1))


MODEL = Small()
IMAGES = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 6, 7, 3)), jnp.float32)
TARGETS = jnp.array([0, 1, 2, 0, 1])
EXPLAINERS = pytest.mark.parametrize("name", sorted(sj.EXPLAINERS))


@cache
def params(seed):
    return MODEL.init(jax.random.key(seed), IMAGES)


@cache
def in_chunks(name):
    """One compiled function an explainer, shared by the tests: what one test leaves in it, another would see."""
    return sj.batched(sj.EXPLAINERS[name], MODEL.apply, batch_size=2)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5 * float(jnp.abs(expected).max()))


@EXPLAINERS
def test_batched_gives_what_the_explainer_gives_uncompiled_of_one_image(name, key):
    maps = in_chunks(name)(params(0), IMAGES, TARGETS, key)
    assert maps.shape == IMAGES.shape and maps.dtype == IMAGES.dtype

    # Not compiled: what jit, vmap and the chunks make of an explainer is what it gives by itself.
    last = len(IMAGES) - 1
    score = sj.class_score(MODEL.apply, params(0), TARGETS[last])
    close(maps[last], sj.EXPLAINERS[name](score, IMAGES[last], jax.random.fold_in(key, last)))


def score_of_any_image(x):
    """With a ReLU and a spatial activation, which some explainers look for."""
    return nn.relu(jnp.tanh(x[None]) - 0.1).sum() ** 2


@EXPLAINERS
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_map_is_shaped_and_typed_like_its_image(name, channels, dtype, key):
    image = jax.ShapeDtypeStruct((6, 7, channels), dtype)
    explained = jax.eval_shape(lambda x: sj.EXPLAINERS[name](score_of_any_image, x, key), image)
    assert (explained.shape, explained.dtype) == (image.shape, image.dtype)


@EXPLAINERS
def test_chunks_do_not_change_the_maps(name, key):
    whole = sj.batched(sj.EXPLAINERS[name], MODEL.apply, batch_size=5)(params(0), IMAGES, TARGETS, key)
    close(in_chunks(name)(params(0), IMAGES, TARGETS, key), whole)


@EXPLAINERS
def test_other_parameters_give_other_maps_and_the_first_ones_the_first_maps_again(name, key):
    # One compiled function for both: nothing of an earlier call's weights may be kept.
    first, second, again = (in_chunks(name)(params(seed), IMAGES, TARGETS, key) for seed in (0, 1, 0))
    assert (first == again).all()
    assert (first == second).all() == (name in CONTROLS)


@EXPLAINERS
def test_blank_image_has_a_finite_map(name, key):
    assert jnp.isfinite(in_chunks(name)(params(0), 0 * IMAGES, TARGETS, key)).all()


@pytest.mark.parametrize("name", sorted(NEED_KEY))
def test_explainer_that_draws_refuses_to_go_without_a_key(name):
    with pytest.raises(ValueError, match=r"pass key=jax.random.key\(seed\)"):
        sj.EXPLAINERS[name](sj.class_score(MODEL.apply, params(0), 0), IMAGES[0])


@pytest.mark.parametrize("name", sorted(set(sj.EXPLAINERS) - NEED_KEY))
def test_explainer_that_does_not_draw_goes_without_a_key(name, key):
    with_key, without = (in_chunks(name)(params(0), IMAGES, TARGETS, k) for k in (key, None))
    assert (with_key == without).all()


@EXPLAINERS
def test_no_tracer_leaks(name, key):
    with jax.checking_leaks():
        jax.jit(lambda p, x, k: sj.EXPLAINERS[name](sj.class_score(MODEL.apply, p, 0), x, k)).trace(
            params(0), IMAGES[0], key
        )


PUBLIC_FUNCTIONS = {name: getattr(sj, name) for name in sj.__all__ if inspect.isfunction(getattr(sj, name))}


@pytest.mark.parametrize("name", sorted(PUBLIC_FUNCTIONS))
def test_public_functions_follow_the_house_rules(name):
    function = PUBLIC_FUNCTIONS[name]
    assert inspect.getdoc(function), "a public function has a docstring"
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.name not in ("rng", "seed", "prng"), "a random key is called key"
        if parameter.default is not inspect.Parameter.empty and parameter.name not in ("key", "names"):
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, f"{parameter.name} has a default: keyword only"


@pytest.mark.parametrize("name", sorted(PUBLIC_FUNCTIONS))
def test_every_argument_is_explained(name):
    function = PUBLIC_FUNCTIONS[name]
    text = inspect.getdoc(function)
    refers = "Args, Returns, Raises: as" in text or function in (controls.noise, controls.constant)
    for parameter in inspect.signature(function).parameters:
        assert refers or f"{parameter}:" in text or f"{parameter}, " in text, f"{parameter} is not explained"
