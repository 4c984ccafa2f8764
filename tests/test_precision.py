"""A model in another precision: rounded by NumPy's own bfloat16, and refused where that is no precision."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import saliency_jax as sj

RNG = np.random.default_rng(0)
WEIGHTS = RNG.standard_normal((12, 3)).astype(np.float32)
IMAGES = RNG.standard_normal((2, 2, 2, 3)).astype(np.float32)


def apply(params, x):
    assert x.dtype == params["w"].dtype == jnp.bfloat16 and params["steps"].dtype == jnp.int32
    return x.reshape(len(x), -1) @ params["w"]


def test_parameters_and_images_are_rounded_and_logits_and_gradients_come_back_in_the_images_dtype():
    params = {"w": jnp.asarray(WEIGHTS), "steps": jnp.asarray(3, jnp.int32)}
    logits = sj.in_precision(apply, jnp.bfloat16)(params, jnp.asarray(IMAGES))
    rounded = [x.astype(ml_dtypes.bfloat16).astype(np.float64) for x in (IMAGES.reshape(2, -1), WEIGHTS)]
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(logits), rounded[0] @ rounded[1], rtol=2**-8, atol=2**-8)
    score = sj.class_score(sj.in_precision(apply, jnp.bfloat16), params, 1)
    found = sj.gradient(score, jnp.asarray(IMAGES[0]))
    assert found.dtype == jnp.float32
    # The gradient of a linear model is its weights, rounded.
    np.testing.assert_array_equal(np.asarray(found).ravel(), rounded[1][:, 1])


def test_an_average_over_samples_is_summed_in_the_images_dtype():
    """The weights' own gradient, rounded or not, is the same for every sample: so is the mean, to the last bit."""
    params = {"w": jnp.asarray(WEIGHTS), "steps": jnp.asarray(3, jnp.int32)}
    score = sj.class_score(sj.in_precision(apply, jnp.bfloat16), params, 1)
    image = jnp.asarray(IMAGES[0])
    smooth = sj.smoothgrad(sj.gradient, samples=7)(score, image, jax.random.key(0))
    np.testing.assert_array_equal(np.asarray(smooth), np.asarray(sj.gradient(score, image)))


@pytest.mark.parametrize("dtype", [jnp.int32, "no dtype", bool])
def test_what_is_no_floating_point_precision_is_refused(dtype):
    with pytest.raises(TypeError, match="dtype must be a floating point dtype"):
        sj.in_precision(apply, dtype)


def test_a_model_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="apply"):
        sj.in_precision(3, jnp.bfloat16)
