"""Pictures as torchvision sizes and crops them, bit for bit; every kind of picture; and the way back."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliency_jax.data.preprocessing import Preprocessing, as_rgb, displayed, normalized, preprocess, standardized

# By torchvision 0.28 and Pillow 13: CenterCrop(size)(Resize(side, interpolation=filter)(picture)), pictures of
# np.random.default_rng(i).integers(0, 256, (height, width, 3)) for the i-th of the names "57x41_to_27_to_24_bicubic".
GOLDENS = Path(__file__).with_name("goldens") / "preprocessing_torchvision.npz"
PLAIN = Preprocessing(16, crop=1.0, scale=(1.0, 1.0, 1.0), shift=(0.0, 0.0, 0.0))
"""Pixels as they are."""


def stored(picture, **options):
    """A Pillow image written to a file and read back."""
    file = io.BytesIO()
    picture.save(file, **options)
    return Image.open(file)


@pytest.mark.parametrize("seed, name", enumerate(np.load(GOLDENS).files))
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_size_and_crop_are_torchvisions(seed, name, order):
    shape, side, rest = name.split("_to_")
    size, resample = rest.split("_")
    pixels = np.random.default_rng(seed).integers(0, 256, (*map(int, shape.split("x")), 3), dtype=np.uint8)
    settings = PLAIN._replace(size=int(size), crop=int(size) / int(side), resample=resample, order=order)
    expected = np.load(GOLDENS)[name]
    found = preprocess(pixels, settings)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected if order == "rgb" else expected[..., ::-1])
    np.testing.assert_array_equal(preprocess(Image.fromarray(pixels), settings), found)


def test_values_are_scaled_and_shifted_in_the_networks_order():
    pixels = np.full((16, 16, 3), [10, 20, 30], np.uint8)
    caffe = PLAIN._replace(order="bgr", scale=(1.0, 2.0, 3.0), shift=(-100.0, -200.0, -300.0))
    assert preprocess(pixels, caffe)[5, 5].tolist() == [30 - 100, 2 * 20 - 200, 3 * 10 - 300]
    np.testing.assert_allclose(
        preprocess(pixels, Preprocessing(16))[0, 0], np.array([10, 20, 30]) / 127.5 - 1, rtol=1e-6
    )
    expected = (np.array([10, 20, 30]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(normalized(pixels, standardized(16))[0, 0], expected, rtol=1e-6)


def test_grey_is_repeated():
    grey = np.random.default_rng(0).integers(0, 256, (16, 16, 1), dtype=np.uint8)
    np.testing.assert_array_equal(preprocess(grey, PLAIN), np.repeat(grey, 3, axis=2))
    np.testing.assert_array_equal(preprocess(Image.fromarray(grey[..., 0]), PLAIN), np.repeat(grey, 3, axis=2))


def test_transparent_pixels_are_laid_on_white():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    share = pixels[..., 3:] / 255
    expected = share * pixels[..., :3] + (1 - share) * 255
    found = preprocess(pixels, PLAIN)
    assert (found[0] == 255).all() and (found[1] == pixels[1, :, :3]).all()
    # Pillow rounds the two products apart.
    np.testing.assert_allclose(found, expected, atol=1.01)

    # A palette and a grey image say in another way which pixels cannot be seen.
    grey = np.tile(np.arange(16, dtype=np.uint8), (16, 1))
    for picture in (Image.fromarray(grey), Image.fromarray(grey.astype(np.uint16) * 257)):
        transparent = stored(picture, format="PNG", transparency=3 * (257 if picture.mode == "I;16" else 1))
        assert preprocess(transparent, PLAIN)[0, :5, 1].tolist() == [0, 1, 2, 255, 4]
    palette = Image.fromarray(grey).convert("P")
    palette.putpalette([0, 0, 0, 200, 0, 0] + [9] * 42)
    assert preprocess(stored(palette, format="PNG", transparency=0), PLAIN)[0, :2].tolist() == [[255] * 3, [200, 0, 0]]


def test_sixteen_bits_of_grey_become_eight():
    wide = np.tile(np.array([0, 128, 129, 257, 32768, 65535, 65406, 65407], np.uint16), (8, 1))
    found = preprocess(stored(Image.fromarray(wide), format="PNG"), PLAIN._replace(size=8))
    assert found[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255, 254, 255]
    assert found[0, :, 0].tolist() == np.rint(wide[0] / 257).tolist()


def test_cmyk_becomes_rgb():
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:, :8] = [255, 0, 0, 0]
    found = preprocess(stored(Image.fromarray(ink, mode="CMYK"), format="JPEG", quality=95), PLAIN)
    # No ink is white, cyan ink takes the red away.
    np.testing.assert_allclose(found[8, 15], [255, 255, 255], atol=4)
    np.testing.assert_allclose(found[8, 0], [0, 255, 255], atol=4)


@pytest.mark.parametrize("orientation, corner", [(1, (0, 0)), (3, (15, 15)), (6, (0, 15)), (8, (15, 0))])
def test_a_picture_is_turned_as_its_camera_says(orientation, corner):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = preprocess(stored(Image.fromarray(pixels), format="PNG", exif=exif), PLAIN)
    assert np.argwhere(found[..., 0] == 255).tolist() == [list(corner)]


def test_huge_pictures_are_shrunk_and_tiny_ones_enlarged():
    huge = np.zeros((4000, 6000, 3), np.uint8)
    huge[:, ::2] = 255
    # Filtered: a skipped column of stripes would show as black or white.
    np.testing.assert_allclose(preprocess(huge, PLAIN), 127.5, atol=1)
    tiny = np.tile(np.arange(8, dtype=np.uint8)[:, None, None] * 20, (1, 8, 3))
    found = preprocess(tiny, PLAIN._replace(size=80, resample="bilinear"))
    # In the middle of a ramp a linear filter gives the ramp: pixel i has its centre at (i + 0.5) / 10.
    np.testing.assert_allclose(found[10:70, 40, 0], (np.arange(10, 70) + 0.5) / 10 * 20 - 10, atol=0.51)


@pytest.mark.parametrize("shape", [(7, 20), (20, 1), (1, 1)])
def test_a_picture_of_too_few_pixels_is_refused(shape):
    with pytest.raises(ValueError, match=rf"at least 8 pixels high and wide, got {shape[0]} x {shape[1]} pixels"):
        preprocess(np.zeros((*shape, 3), np.uint8), PLAIN)


def test_a_strip_is_refused():
    with pytest.raises(ValueError, match="20 times as long as wide, got 8 x 161 pixels"):
        preprocess(np.zeros((8, 161, 3), np.uint8), PLAIN)
    assert preprocess(np.zeros((8, 160, 3), np.uint8), PLAIN).shape == (16, 16, 3)


@pytest.mark.parametrize(
    "image, error, message",
    [
        (np.zeros((9, 9, 3)), TypeError, "uint8 array or a Pillow image, got float64"),
        ("picture.png", TypeError, "uint8 array or a Pillow image, got str"),
        (np.zeros((9, 9), np.uint8), ValueError, r"1, 3 or 4 channels, got shape \(9, 9\)"),
        (np.zeros((9, 9, 2), np.uint8), ValueError, r"1, 3 or 4 channels, got shape \(9, 9, 2\)"),
        (np.zeros((0, 9, 3), np.uint8), ValueError, r"must have pixels, got shape \(0, 9, 3\)"),
        (Image.fromarray(np.zeros((9, 9), np.float32)), TypeError, "mode 'F', whose values have no fixed range"),
        (Image.fromarray(np.zeros((9, 9), np.int32)), TypeError, "mode 'I', whose values have no fixed range"),
    ],
)
def test_what_is_no_picture_is_refused(image, error, message):
    with pytest.raises(error, match=message):
        as_rgb(image)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_every_pixel_comes_back(order):
    pixels = np.stack([np.arange(256), np.arange(256)[::-1], np.roll(np.arange(256), 7)], axis=-1).astype(np.uint8)
    pixels = pixels.reshape(2, 8, 16, 3)
    for settings in (Preprocessing(16, order=order), standardized(16)._replace(order=order)):
        np.testing.assert_array_equal(displayed(normalized(pixels, settings), settings), pixels)


def test_what_is_no_pixel_is_not_displayed():
    images = np.zeros((1, 2, 2, 3), np.float32)
    for value in (1.01, -1.01, np.nan, np.inf):
        images[0, 0, 0, 0] = value
        with pytest.raises(ValueError, match="found 1 outside of 12"):
            displayed(images, Preprocessing(16))
    with pytest.raises(ValueError, match=r"\[..., height, width, 3\], got shape \(2, 2\)"):
        displayed(np.zeros((2, 2)), Preprocessing(16))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"size": 0}, "size must be at least 1 pixel, got 0"),
        ({"crop": 1.1}, r"crop must be a fraction in \(0, 1\], got 1.1"),
        ({"crop": float("nan")}, "crop must be a fraction"),
        ({"resample": "lanczos"}, "resample must be .*, got 'lanczos'"),
        ({"scale": (1.0, 0.0, 1.0)}, "scale must be three finite numbers and not 0"),
        ({"shift": (0.0, 0.0)}, "shift must be three finite numbers"),
        ({"order": "grb"}, "order must be .*, got 'grb'"),
    ],
)
def test_a_preprocessing_out_of_range_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        preprocess(np.zeros((16, 16, 3), np.uint8), PLAIN._replace(**change))
