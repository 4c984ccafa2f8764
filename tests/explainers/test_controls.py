"""The controls: edges against SciPy's Sobel filter, noise and constant against what they say."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from saliency_jax import constant, edges, noise


@pytest.mark.parametrize("shape", [(7, 9, 1), (5, 6, 3), (8, 8), (1, 4, 1), (3, 1, 2)])
def test_edges_are_the_magnitude_of_scipys_sobel_filters(shape):
    image = np.random.default_rng(0).normal(size=shape)
    down, across = (ndimage.sobel(image, axis=axis, mode="nearest") / 4 for axis in (0, 1))
    found = edges(jnp.sum, jnp.asarray(image, jnp.float32))
    if len(shape) == 3:
        # SciPy smooths along every other axis, channels too: filter them one by one.
        parts = [
            [ndimage.sobel(image[..., c], axis=axis, mode="nearest") / 4 for c in range(shape[2])] for axis in (0, 1)
        ]
        down, across = (np.stack(part, axis=-1) for part in parts)
    np.testing.assert_allclose(found, np.hypot(down, across), rtol=1e-5, atol=1e-6)


def test_blank_image_has_no_edges():
    assert (edges(jnp.sum, jnp.full((6, 6, 1), 0.3)) == 0).all()


def test_edges_do_not_look_at_the_score():
    def score(image):
        raise AssertionError("looked at")

    edges(score, jnp.ones((4, 4, 1)))


def test_edges_of_what_is_no_image_are_refused():
    with pytest.raises(ValueError, match="height, width"):
        edges(jnp.sum, jnp.ones(5))


def test_noise_is_standard_normal_and_needs_a_key(key):
    found = np.asarray(noise(jnp.sum, jnp.zeros((100, 100, 1)), key))
    assert abs(found.mean()) < 5 / 100 and abs(found.std() - 1) < 5 / 140
    with pytest.raises(ValueError, match="noise draws random numbers"):
        noise(jnp.sum, jnp.zeros((2, 2, 1)))


def test_constant_is_one_everywhere():
    assert (constant(jnp.sum, jnp.zeros((2, 2, 1))) == 1).all()
