"""Points drawn in balls are uniform there, and ways back into a ball end where geometry says."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from saliency_jax.robustness.balls import Ball, ball_of, draw, inside, length, with_gap

EVERYWHERE = Ball(0.5, -math.inf, math.inf, 0.0)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_points_are_uniform_in_the_ball(norm, key):
    image = jnp.zeros((1, 3, 1))
    points = np.asarray(jax.vmap(lambda k: draw(k, image, 0.5, norm))(jax.random.split(key, 4000))).reshape(4000, 3)
    if norm == "linf":
        for pixel in points.T:
            assert stats.kstest(pixel, stats.uniform(-0.5, 1).cdf).pvalue > 1e-3
    else:
        lengths = np.linalg.norm(points, axis=1)
        # The share of the volume that lies nearer, and by Archimedes' theorem each coordinate of the direction.
        assert stats.kstest((lengths / 0.5) ** 3, stats.uniform.cdf).pvalue > 1e-3
        assert stats.kstest(points[:, 0] / lengths, stats.uniform(-1, 2).cdf).pvalue > 1e-3
        assert lengths.max() <= 0.5


def test_a_point_outside_comes_back_to_the_rim_and_into_the_range():
    image = jnp.array([[[0.1], [0.5]]])
    far = image + jnp.array([[[-3.0], [4.0]]])
    np.testing.assert_allclose(inside(image, far, EVERYWHERE, "l2") - image, [[[-0.3], [0.4]]], atol=1e-6)
    np.testing.assert_allclose(inside(image, far, EVERYWHERE, "linf") - image, [[[-0.5], [0.5]]], atol=1e-6)
    in_range = Ball(0.5, 0.0, 1.0, 0.0)
    np.testing.assert_allclose(inside(image, far, in_range, "l2"), [[[0.0], [0.9]]], atol=1e-6)
    # What lies inside stays where it is, the image itself included.
    np.testing.assert_array_equal(inside(image, image, in_range, "l2"), image)


@pytest.mark.parametrize(("norm", "order"), [("l1", 1), ("l2", 2), ("linf", np.inf)])
def test_lengths_are_numpys_and_have_the_gradient_0_at_0(norm, order):
    x = np.random.default_rng(0).normal(size=(2, 3, 1)).astype(np.float32)
    np.testing.assert_allclose(length(jnp.asarray(x), norm), np.linalg.norm(x.ravel(), order), rtol=1e-6)
    assert float(length(jnp.zeros((2, 2, 1)), norm)) == 0
    np.testing.assert_array_equal(jax.grad(lambda x: length(x, norm))(jnp.zeros((2, 2, 1))), 0)
    assert np.isnan(length(jnp.array([1.0, jnp.nan]), norm))


def test_radius_gap_and_range_are_checked():
    images = jnp.full((1, 2, 2, 1), 0.5)
    for radius in (0, 0.0, -1, math.nan, math.inf, [0.1, 0.2]):
        with pytest.raises(ValueError, match="radius must be one positive number, got"):
            ball_of(radius, None, images)
    ball = ball_of(0.1, (0.0, 1.0), images)
    with pytest.raises(ValueError, match=r"gap must be at most the radius 0\.1, got 0\.2"):
        with_gap(ball, 0.2)
    with pytest.raises(ValueError, match=r"gap must be one positive number, got 0\.0"):
        with_gap(ball, 0.0)
    with pytest.raises(ValueError, match=r"images must lie in image_range \[0, 0\.4\], found values 0\.5 to 0\.5"):
        ball_of(0.1, (0.0, 0.4), images)
    with pytest.raises(ValueError, match="image_range must be two finite numbers, the lower first"):
        ball_of(0.1, (1.0, 0.0), images)
    assert with_gap(ball, None) == Ball(0.1, 0.0, 1.0, 0.001)
