"""One-gradient explainers against closed forms, and the refusals that all explainers share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import gradient, gradient_times_input, sensitivity


@pytest.fixture
def image():
    return jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 2)), jnp.float32)


def test_closed_forms_of_a_cubic(image):
    def score(x):
        return jnp.sum(x**3)

    np.testing.assert_allclose(gradient(score, image), 3 * image**2, rtol=1e-6)
    np.testing.assert_allclose(gradient_times_input(score, image), 3 * image**3, rtol=1e-6)
    np.testing.assert_allclose(sensitivity(score, image), 9 * image**4, rtol=1e-6)


def test_sensitivity_sums_to_the_squared_norm_of_the_gradient(image):
    def score(x):
        return jnp.sum(jnp.sin(x)) ** 2

    np.testing.assert_allclose(sensitivity(score, image).sum(), jnp.sum(jax.grad(score)(image) ** 2), rtol=1e-6)


def test_gradient_of_relu_at_zero_is_zero_and_of_a_maximum_goes_to_the_first():
    blank = jnp.zeros((4, 4, 1))

    def pooled(x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (2, 2, 1), (2, 2, 1), "VALID").sum()

    assert (gradient(lambda x: jax.nn.relu(x).sum(), blank) == 0).all()
    expected = np.zeros((4, 4, 1))
    expected[::2, ::2] = 1
    np.testing.assert_array_equal(gradient(pooled, blank), expected)


@pytest.mark.parametrize("explain", [gradient, gradient_times_input, sensitivity])
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.ones((2, 2, 1), int), TypeError, "image must be floating point"),
        (np.ones((0, 2, 1)), ValueError, "image must not be empty"),
        (np.array([[[1.0]], [[np.nan]]]), ValueError, "image must be finite, found 1"),
        (np.array([[[1.0]], [[-np.inf]]]), ValueError, "image must be finite, found 1"),
    ],
)
def test_what_is_no_image_is_refused(explain, bad, error, message):
    with pytest.raises(error, match=message):
        explain(jnp.sum, bad)


def test_score_that_is_no_scalar_is_refused(image):
    with pytest.raises(TypeError, match="score must give one real floating-point number"):
        gradient(jnp.sin, image)
