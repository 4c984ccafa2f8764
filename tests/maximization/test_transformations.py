"""Transformations against NumPy's shifts, scipy's interpolation, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from saliency_jax import maximization as mx

IMAGE = np.random.default_rng(0).random((9, 7, 2)).astype(np.float32)


@pytest.mark.slow
def test_jitter_shifts_by_whole_pixels_every_way(key):
    padded = np.pad(IMAGE, ((2, 2), (2, 2), (0, 0)), mode="edge")
    shifted = {(i, j): padded[i : i + 9, j : j + 7] for i in range(5) for j in range(5)}
    drawn = jax.vmap(lambda k: mx.jitter(2)(k, jnp.asarray(IMAGE)))(jax.random.split(key, 200))
    met = [[place for place, image in shifted.items() if np.allclose(image, one, atol=1e-6)] for one in drawn]
    assert all(len(places) == 1 for places in met)
    assert {places[0] for places in met} == set(shifted)


def interpolated(rows, columns):
    places = np.meshgrid(np.clip(rows, 0, 8), np.clip(columns, 0, 6), indexing="ij")
    return np.stack([ndimage.map_coordinates(IMAGE[..., c], places, order=1) for c in range(2)], -1)


def test_scale_is_scipys_linear_interpolation_about_the_middle(key):
    for factor in (0.5, 1.0, 1.7):
        found = mx.scale(factor, factor)(key, jnp.asarray(IMAGE))
        expected = interpolated(4 + (np.arange(9) - 4) / factor, 3 + (np.arange(7) - 3) / factor)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_crop_lies_inside_and_the_whole_is_the_image(key):
    np.testing.assert_allclose(mx.crop(1.0, 1.0)(key, jnp.asarray(IMAGE)), IMAGE, atol=1e-6)
    ramp = jnp.stack(jnp.meshgrid(jnp.arange(9.0), jnp.arange(7.0), indexing="ij"), -1)
    for seed in range(5):
        rows, columns = np.moveaxis(np.asarray(mx.crop(0.25, 0.5)(jax.random.key(seed), ramp)), -1, 0)
        fraction = np.ptp(rows) / 8
        assert 0.25 <= fraction <= 0.5 and abs(np.ptp(columns) / 6 - fraction) < 1e-5
        assert rows.min() >= 0 and rows.max() <= 8 and columns.min() >= 0 and columns.max() <= 6
        np.testing.assert_allclose(np.diff(rows, axis=0), np.ptp(rows) / 8, atol=1e-5)


def test_a_turn_is_a_rotation_of_coordinates_by_no_more_than_asked():
    # Coordinates from the middle of a large image: inside of it linear interpolation turns them exactly.
    y, x = np.mgrid[:21, :21] - 10.0
    ramp = jnp.asarray(np.stack([y, x], -1), jnp.float32)
    angles = []
    for seed in range(20):
        turned = np.asarray(mx.rotate(20.0)(jax.random.key(seed), ramp))[5:16, 5:16]
        inside = np.stack([y, x], -1)[5:16, 5:16]
        matrix = np.linalg.lstsq(inside.reshape(-1, 2), turned.reshape(-1, 2), rcond=None)[0].T
        np.testing.assert_allclose(turned, inside @ matrix.T, atol=1e-4)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-5)
        angles.append(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))
    assert 10 < np.max(np.abs(angles)) <= 20 and min(angles) < 0 < max(angles)


def test_noise_has_the_deviation_asked_for(key):
    found = mx.noise(0.3)(key, jnp.zeros((100, 100, 1)))
    np.testing.assert_allclose(found.std(), 0.3, rtol=0.03)


def test_composed_transformations_draw_from_keys_of_their_own(key):
    twice = mx.compose(mx.noise(1.0), mx.noise(1.0))(key, jnp.zeros((100, 100, 1)))
    np.testing.assert_allclose(twice.std(), np.sqrt(2), rtol=0.03)
    np.testing.assert_array_equal(mx.compose()(key, jnp.asarray(IMAGE)), IMAGE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: mx.jitter(0),
        lambda: mx.scale(0.0, 1.0),
        lambda: mx.scale(1.1, 0.9),
        lambda: mx.crop(0.5, 1.1),
        lambda: mx.rotate(0.0),
        lambda: mx.noise(-1.0),
    ],
)
def test_amounts_that_cannot_be_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()
