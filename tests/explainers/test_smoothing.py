"""SmoothGrad and its relatives against NumPy over the very same draws, and against Gaussian integrals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import gradient, integrated_gradients, smoothgrad, smoothgrad_squared, vargrad

SHAPE = (4, 3, 2)
SAMPLES = 13


@pytest.fixture
def image():
    return jnp.asarray(np.random.default_rng(0).uniform(size=SHAPE), jnp.float32)


def score(x):
    return jnp.sum(jnp.sin(3 * x) + x**3)


def draws(image, key, noise):
    """The noisy copies in float64, by the documented keys: sample i draws from fold_in(key, i)."""
    scale = noise * float(image.max() - image.min())
    keys = [jax.random.fold_in(key, i) for i in range(SAMPLES)]
    return np.stack(
        [np.asarray(image, np.float64) + scale * np.asarray(jax.random.normal(k, SHAPE), np.float64) for k in keys]
    )


@pytest.mark.parametrize("at_once", [1, 4, 5, 13, 50])
def test_statistics_are_those_of_the_gradients_at_the_same_draws(image, key, at_once):
    copies = draws(image, key, 0.2)
    gradients = 3 * np.cos(3 * copies) + 3 * copies**2
    expected = {
        smoothgrad: gradients.mean(0),
        smoothgrad_squared: (gradients**2).mean(0),
        vargrad: gradients.var(0),
    }
    for wrapper, value in expected.items():
        found = wrapper(gradient, samples=SAMPLES, noise=0.2, at_once=at_once)(score, image, key)
        np.testing.assert_allclose(found, value, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("explain", [gradient, integrated_gradients])
def test_no_noise_gives_the_explainer_itself(explain, image, key):
    with jax.enable_x64(True):
        image = jnp.asarray(np.asarray(image), float)

        @jax.jit
        def smoothed(x):
            wrappers = smoothgrad, smoothgrad_squared, vargrad
            return [wrapper(explain, samples=7, noise=0.0)(score, x, key) for wrapper in wrappers]

        plain = explain(score, image)
        smooth, squared, variance = smoothed(image)
        np.testing.assert_allclose(smooth, plain, rtol=1e-12)
        np.testing.assert_allclose(squared, plain**2, rtol=1e-12)
        # Not 0 to the last bit: the copies of one chunk may be rounded otherwise than those of the next.
        assert jnp.sqrt(variance).max() < 1e-14 * jnp.abs(plain).max()


def test_constant_image_has_no_range_and_so_no_noise(key):
    blank = jnp.full(SHAPE, 0.5)
    np.testing.assert_allclose(smoothgrad(gradient)(score, blank, key), gradient(score, blank), rtol=1e-6)


@pytest.mark.parametrize("at_once", [1, 3, 7, 50])
def test_linear_model_varies_nowhere_and_its_smooth_gradient_is_its_weights(image, key, at_once):
    w = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE), jnp.float32)

    def linear(x):
        return jnp.vdot(w, x)

    assert (vargrad(gradient, at_once=at_once)(linear, image, key) == 0).all()
    assert (smoothgrad(gradient, at_once=at_once)(linear, image, key) == w).all()


def test_mean_converges_to_the_gaussian_smoothed_gradient(image, key):
    # E[cos(x + s z)] = cos(x) exp(-s^2 / 2); five standard errors.
    samples, noise = 4000, 0.3
    scale = noise * float(image.max() - image.min())
    found = smoothgrad(gradient, samples=samples, noise=noise, at_once=200)(lambda x: jnp.sum(jnp.sin(x)), image, key)
    assert np.abs(found - np.cos(image) * np.exp(-(scale**2) / 2)).max() < 5 * scale / np.sqrt(samples)


@pytest.mark.slow
def test_wrappers_nest_and_pass_a_key_of_its_own_to_what_they_wrap(image, key):
    inner_keys = []

    def explain(score, image, key=None):
        inner_keys.append(key)
        return gradient(score, image)

    smoothgrad(smoothgrad(explain, samples=2), samples=2)(score, image, key)
    assert inner_keys and all(k is not None for k in inner_keys)


def test_same_key_same_map_other_key_other_map(image, key):
    explain = smoothgrad(gradient, samples=5)
    first = explain(score, image, key)
    assert (first == explain(score, image, key)).all()
    assert (first != explain(score, image, jax.random.key(1))).any()


def test_score_that_is_not_a_number_stays_one(image, key):
    found = smoothgrad(gradient, samples=5)(lambda x: jnp.sum(jnp.log(x - 10)), image, key)
    assert jnp.isfinite(found).all()  # the gradient of log is finite where log is not
    found = smoothgrad(gradient, samples=5)(lambda x: jnp.sum(jnp.sqrt(x - 10)), image, key)
    assert jnp.isnan(found).all()


@pytest.mark.parametrize("wrapper", [smoothgrad, smoothgrad_squared, vargrad])
def test_bad_options_are_named(wrapper, image):
    for options, message in [
        ({"samples": 0}, "samples must be at least 1"),
        ({"noise": -0.1}, "not negative"),
        ({"at_once": 0}, "at_once must be at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            wrapper(gradient, **options)
    with pytest.raises(ValueError, match=f"{wrapper.__name__} draws random numbers"):
        wrapper(gradient)(score, image)
