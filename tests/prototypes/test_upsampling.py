"""Enlarged maps and boxes against OpenCV (tools/make_opencv_goldens.py) and NumPy's percentile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.prototypes.upsampling import high_activation_box, high_activation_boxes, upsampled


@pytest.fixture(scope="module")
def opencv():
    with np.load(tiny.HERE / "goldens" / "opencv.npz") as file:
        return dict(file)


@pytest.mark.parametrize("image", [224, 299])
@pytest.mark.parametrize("side", [7, 8])
def test_boxes_of_random_maps_are_opencvs(opencv, side, image):
    maps, boxes = opencv[f"maps_{side}_{image}"], opencv[f"boxes_{side}_{image}"]
    assert len(maps) == 50
    found = jax.jit(high_activation_boxes, static_argnums=1)(jnp.asarray(maps), (image, image))
    np.testing.assert_array_equal(found, boxes)


@pytest.mark.parametrize("i", range(4))
def test_enlarged_and_shrunk_maps_are_opencvs(opencv, i):
    expected = opencv[f"large_{i}"]
    found = upsampled(jnp.asarray(opencv[f"small_{i}"]), expected.shape)
    # Similarities are up to 9.2, and weights are sums of eight.
    np.testing.assert_allclose(found, expected, atol=4e-6)


def test_a_map_of_its_own_size_stays_and_a_constant_stays_constant():
    one = jnp.asarray(np.random.RandomState(0).rand(5, 6).astype(np.float32))
    np.testing.assert_array_equal(upsampled(one, (5, 6)), one)
    np.testing.assert_allclose(upsampled(jnp.full((3, 2), 9.21034), (40, 31)), 9.21034, rtol=1e-6)


def test_leading_axes_are_maps_of_their_own():
    maps = jnp.asarray(np.random.RandomState(1).rand(2, 3, 4, 5).astype(np.float32))
    found = upsampled(maps, (9, 8))
    assert found.shape == (2, 3, 9, 8)
    np.testing.assert_allclose(found[1, 2], upsampled(maps[1, 2], (9, 8)), atol=1e-6)


def box_by_numpy(pixels, percentile):
    rows, columns = np.nonzero(pixels >= np.percentile(pixels, percentile))
    return [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]


@pytest.mark.parametrize("percentile", [0.0, 50.0, 95.0, 97.5, 100.0])
def test_boxes_of_maps_with_ties_are_those_by_numpys_percentile(percentile):
    random = np.random.RandomState(2)
    # Few values: the threshold is one of them, and the pixels at it belong to the box.
    maps = np.round(random.rand(60, 12, 15) * 9.2 * (random.rand(60, 12, 15) < 0.15), 1).astype(np.float32)
    found = jax.jit(jax.vmap(lambda one: high_activation_box(one, percentile=percentile)))(maps)
    np.testing.assert_array_equal(found, [box_by_numpy(one, percentile) for one in maps])


def test_the_box_of_a_constant_map_is_the_image_and_of_one_pixel_that_pixel():
    np.testing.assert_array_equal(high_activation_box(jnp.full((6, 9), 0.3)), [0, 6, 0, 9])
    np.testing.assert_array_equal(high_activation_box(jnp.zeros((6, 9)).at[4, 7].set(1), percentile=99.0), [4, 5, 7, 8])


@pytest.mark.parametrize("shape", [(0, 5), (5,), (3, 4, 5)])
def test_a_shape_that_is_none_is_named(shape):
    with pytest.raises(ValueError, match="shape must be a height and a width"):
        upsampled(jnp.ones((2, 2)), shape)
