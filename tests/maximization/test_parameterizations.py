"""Spectra against NumPy's, MACO's magnitudes whatever the phase, ranges, masks, colours and codes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import maximization as mx

SHAPES = [(7, 6, 1), (6, 5, 3), (8, 8, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_one_fourier_coefficient_is_a_cosine(shape):
    height, width, channels = shape
    row, column, decay = 2, 1, 1.0
    real = np.zeros((height, width // 2 + 1, channels), np.float32)
    real[row, column, 0] = 1
    image = mx.fourier(decay=decay).image((jnp.asarray(real), jnp.zeros_like(real)), shape)
    y, x = np.mgrid[:height, :width]
    wave = np.cos(2 * np.pi * (row * y / height + column * x / width))
    frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    gains = 1 / np.maximum(frequencies, 1 / max(height, width))
    gain = gains[row, column] / np.sqrt(2 * np.mean(gains**2))
    expected = np.zeros(shape)
    expected[..., 0] = 2 * gain * wave / math.sqrt(height * width)
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_fourier_images_begin_with_the_deviation_asked_for_and_the_spectrum_falls_by_its_power(key):
    shape = (64, 64, 8)
    parameterization = mx.fourier(noise=0.3, decay=1.0)
    image = np.asarray(parameterization.image(parameterization.init(key, shape), shape))
    assert 0.25 < image.std() < 0.35
    magnitudes = np.abs(np.fft.rfft2(image, axes=(0, 1))).mean(-1)
    frequencies = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None])
    # The columns that are their own mirror image have one real number fewer.
    inner = (frequencies > 0) & (np.arange(33)[None] > 0) & (np.arange(33)[None] < 32)
    slope = np.polyfit(np.log(frequencies[inner]), np.log(magnitudes[inner]), 1)[0]
    assert abs(slope + 1) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_comes_back_from_its_code(shape, key):
    image = jax.random.uniform(key, shape, minval=0.1, maxval=0.9)
    colours = np.linalg.qr(np.random.default_rng(0).standard_normal((shape[2],) * 2))[0].astype(np.float32) + 0.1
    for parameterization in (
        mx.pixels(),
        mx.fourier(decay=1.5),
        mx.bounded(mx.fourier(), 0, 1),
        mx.bounded(mx.recoloured(mx.fourier(), colours), np.zeros(shape[2]), 1),
        mx.masked(mx.pixels(), np.ones(shape[:2], bool), image),
    ):
        again = parameterization.image(parameterization.code(image), shape)
        np.testing.assert_allclose(again, image, atol=2e-5)


def test_a_range_is_kept_and_what_lies_outside_of_it_is_refused(key):
    low, high = np.array([-1.0, 0.0]), np.array([1.0, 0.5])
    parameterization = mx.bounded(mx.pixels(noise=100.0), low, high)
    image = np.asarray(parameterization.image(parameterization.init(key, (5, 4, 2)), (5, 4, 2)))
    assert np.all((image >= low) & (image <= high))
    np.testing.assert_allclose(parameterization.image(jnp.zeros((5, 4, 2)), (5, 4, 2))[0, 0], [0, 0.25])
    blank = np.zeros((3, 3, 1), np.float32)
    with pytest.raises(ValueError, match=r"strictly between 0\.0 and 1\.0, found 9 values of 9.*from 0\.0 to 0\.0"):
        mx.maximize_activation(jnp.sum, blank, key, steps=1, parameterization=mx.bounded(mx.pixels(), 0, 1))
    with pytest.raises(ValueError, match="low must be below high"):
        mx.bounded(mx.pixels(), 1, 1)


def test_behind_a_mask_nothing_moves(key):
    image = np.asarray(jax.random.uniform(key, (4, 5, 2)))
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2] = True
    found = mx.maximize_activation(jnp.sum, image, key, steps=4, parameterization=mx.masked(mx.pixels(), mask, image))
    np.testing.assert_array_equal(found.image[~mask], image[~mask])
    assert np.all(found.image[mask] > image[mask])


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.zeros((4, 5), bool), ValueError, "mask must leave something free, got 20 places and none of them True"),
        (np.ones((4, 5)), TypeError, "mask must be boolean, got float64"),
        (np.ones((5, 4), bool), ValueError, r"mask must be shaped like the image \(4, 5, 2\)"),
    ],
)
def test_a_mask_that_cannot_be_is_refused(mask, error, message):
    with pytest.raises(error, match=message):
        mx.masked(mx.pixels(), mask, np.zeros((4, 5, 2), np.float32))


def test_a_masked_image_has_one_shape(key):
    parameterization = mx.masked(mx.pixels(), np.ones((4, 5), bool), np.zeros((4, 5, 2), np.float32))
    with pytest.raises(ValueError, match=r"masked image has shape \(4, 5, 2\), got \(4, 5, 1\)"):
        mx.maximize_activation(jnp.sum, (4, 5, 1), key, steps=1, parameterization=parameterization)


def test_a_decoders_code_is_penalized_and_its_maximum_that_of_the_closed_form(key):
    """max_z w.(A z) - penalty ||z||^2 at z = A^T w / (2 penalty)."""
    matrix = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    weights = np.random.default_rng(1).standard_normal(12).astype(np.float32)
    parameterization = mx.decoder(lambda z: (jnp.asarray(matrix) @ z).reshape(3, 4, 1), (3,), penalty=2.0)
    found = mx.maximize_activation(
        lambda x: jnp.sum(jnp.asarray(weights) * x.reshape(-1)),
        (3, 4, 1),
        key,
        steps=300,
        parameterization=parameterization,
    )
    expected = matrix @ (matrix.T @ weights) / 4
    np.testing.assert_allclose(found.image.reshape(-1), expected, atol=1e-3)
    squared = np.sum(np.square(matrix.T @ weights)) / 4
    np.testing.assert_allclose(found.trace.objective[-1], squared / 2, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_magnitude_of_maco_is_the_fixed_one_before_and_after_the_ascent(shape, key):
    images = np.random.default_rng(0).random((5, *shape)).astype(np.float32)
    magnitude = mx.mean_magnitude(images)
    np.testing.assert_allclose(magnitude, np.mean(np.abs(np.fft.rfft2(images, axes=(1, 2))), axis=0), rtol=1e-5)
    parameterization = mx.maco(magnitude)
    weights = jax.random.normal(key, shape)
    found = mx.maximize_activation(
        lambda x: jnp.sum(weights * x), shape, key, steps=30, parameterization=parameterization
    )
    assert found.trace.score[-1] > found.trace.score[0] + 1
    first = parameterization.image(parameterization.init(key, shape), shape)
    for image in (found.image, first):
        image = np.asarray(image, np.float64)
        spectrum = np.abs(np.fft.rfft2(image, axes=(0, 1)))
        np.testing.assert_allclose(spectrum[0, 0], 0, atol=1e-4)
        ratio = spectrum.reshape(-1, shape[2])[1:] / magnitude.reshape(-1, shape[2])[1:]
        np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)
        np.testing.assert_allclose(image.mean((0, 1)), 0, atol=1e-6)
        np.testing.assert_allclose(np.mean(image**2), 1, rtol=1e-5)


def test_maco_keeps_the_phase_of_an_image_to_begin_with(key):
    image = np.asarray(jax.random.normal(key, (6, 8, 2)))
    parameterization = mx.maco(np.abs(np.fft.rfft2(image, axes=(0, 1))))
    again = parameterization.image(parameterization.code(jnp.asarray(image)), image.shape)
    centred = image - image.mean((0, 1), keepdims=True)
    np.testing.assert_allclose(again, centred / np.sqrt(np.mean(centred**2)), atol=1e-5)


@pytest.mark.parametrize(
    ("magnitude", "message"),
    [
        (np.ones((4, 3)), "magnitude must be"),
        (-np.ones((4, 3, 1)), "finite and not negative"),
        (np.pad(np.ones((1, 1, 1)), ((0, 3), (0, 2), (0, 0))), "above 0 for some frequency"),
    ],
)
def test_a_magnitude_that_cannot_be_is_refused(magnitude, message):
    with pytest.raises(ValueError, match=message):
        mx.maco(magnitude)


def test_a_magnitude_of_other_images_is_refused(key):
    for shape in ((4, 6, 1), (4, 4, 3), (4,)):
        with pytest.raises(ValueError, match=r"magnitude for images|a spectrum needs an image"):
            mx.maximize_activation(jnp.sum, shape, key, steps=1, parameterization=mx.maco(np.ones((4, 3, 1))))


def test_colours_come_back_and_have_no_correlation():
    random = np.random.default_rng(0)
    mixed = random.standard_normal((6, 9, 7, 3)) @ random.standard_normal((3, 3)).T + 0.4
    images = mixed.astype(np.float32)
    matrix = mx.colour_matrix(images)
    plain = np.asarray(mx.decorrelated(images, matrix))
    np.testing.assert_allclose(plain @ matrix.T, images, atol=1e-4)
    covariance = np.cov(plain.reshape(-1, 3), rowvar=False)
    np.testing.assert_allclose(covariance, covariance[0, 0] * np.eye(3), atol=1e-4 * covariance[0, 0])
    np.testing.assert_allclose(
        matrix @ matrix.T * covariance[0, 0], np.cov(images.reshape(-1, 3), rowvar=False), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(np.linalg.norm(matrix[:, 0]), 1, rtol=1e-6)


def test_one_channel_has_one_colour_and_channels_that_do_not_vary_are_refused():
    grey = np.random.default_rng(0).random((2, 4, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(mx.colour_matrix(grey), [[1]])
    with pytest.raises(ValueError, match=r"every direction of colour, found 1 of 3"):
        mx.colour_matrix(np.repeat(grey, 3, axis=-1))
    with pytest.raises(ValueError, match=r"found 0 of 1"):
        mx.colour_matrix(np.zeros_like(grey))
    with pytest.raises(ValueError, match="matrix is for 1 channels, got images of shape"):
        mx.decorrelated(np.zeros((2, 2, 3), np.float32), [[1.0]])
    for matrix in (np.ones((3, 3)), np.ones((3, 2)), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="matrix must be"):
            mx.recoloured(mx.pixels(), matrix)
