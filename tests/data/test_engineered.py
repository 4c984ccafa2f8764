"""Images of two objects: what they hold, that the two tasks are independent, and that the key alone decides."""

import jax
import numpy as np
import pytest
import scipy.stats

from saliency_jax.data import engineered, load
from saliency_jax.data.engineered import SHAPES, delete_half, digit_and_shape, digit_pairs, halves


@pytest.fixture(scope="module")
def digits():
    split = load("mnist", "test")
    return split.images, split.labels


@pytest.fixture(scope="module")
def found(digits):
    return digit_and_shape(*digits, jax.random.key(3))


def test_every_image_is_its_digit_in_one_half_and_a_shape_in_the_other(digits, found):
    images, labels = digits
    for i in range(0, 1000, 7):
        left, right = found.images[i, :, :28], found.images[i, :, 28:]
        digit, shape = (right, left) if found.digit_on_right[i] else (left, right)
        np.testing.assert_array_equal(digit, images[i])
        assert shape.max() == 1 and shape.min() == 0
    np.testing.assert_array_equal(found.digit_labels, labels)
    assert found.images.shape == (1000, 28, 56, 1) and found.images.dtype == np.float32


def test_the_masks_are_the_ink_and_share_no_pixel(digits, found):
    ink = found.images[..., 0] > 0
    np.testing.assert_array_equal(found.digit_mask | found.shape_mask, ink)
    assert not (found.digit_mask & found.shape_mask).any()
    np.testing.assert_array_equal(found.digit_mask.sum((1, 2)), (digits[0] > 0).sum((1, 2, 3)))
    assert found.shape_mask.any((1, 2)).all()


def test_the_halves_hold_the_objects_and_every_pixel_is_in_one(found):
    digit, shape = halves(found)
    np.testing.assert_array_equal(digit, ~shape)
    assert not (found.digit_mask & shape).any() and not (found.shape_mask & digit).any()
    assert (digit.sum((1, 2)) == 28 * 28).all()


def test_neither_label_nor_the_side_tells_anything_of_the_others(found):
    """Chi squared tests of independence; the draws are fixed, so that a p-value is either small or not."""
    for a, b in [
        (found.digit_labels, found.shape_labels),
        (found.digit_labels, found.digit_on_right),
        (found.shape_labels, found.digit_on_right),
    ]:
        table = scipy.stats.contingency.crosstab(a, b).count
        assert scipy.stats.chi2_contingency(table).pvalue > 0.01
    assert scipy.stats.chisquare(np.bincount(found.shape_labels, minlength=10)).pvalue > 0.01
    assert scipy.stats.binomtest(int(found.digit_on_right.sum()), 1000).pvalue > 0.01


@pytest.mark.parametrize(("height", "width"), [(28, 28), (14, 14), (20, 31)])
def test_shapes_stay_on_their_tile_with_a_blank_border(height, width):
    count = 2000
    made = digit_and_shape(np.zeros((count, height, width, 1), np.float32), np.zeros(count, int), jax.random.key(0))
    tiles = np.where(made.digit_on_right[:, None, None], made.images[:, :, :width, 0], made.images[:, :, width:, 0])
    assert (made.images.sum((1, 2, 3)) > 0).all() and set(made.shape_labels.tolist()) == set(range(10))
    for border in (tiles[:, 0], tiles[:, -1], tiles[:, :, 0], tiles[:, :, -1]):
        assert border.max() == 0


AREAS = {
    "disc": np.pi * 0.9**2,
    "square": 1.6**2,
    "diamond": 2 * 1.0**2,
    "triangle": 1.7 * 1.7 / 2,
    "plus": 2 * 1.9 * 0.5 - 0.5**2,
    "cross": 2 * 1.9 * 0.5 - 0.5**2,
    "ring": np.pi * (0.93**2 - 0.57**2),
    "frame": 1.76**2 - 1.04**2,
    "bars": 2 * 1.8 * 0.44,
    "columns": 2 * 1.8 * 0.44,
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_ink_of_a_large_shape_is_its_area_by_the_formula_of_its_figure(name):
    label, radius = SHAPES.index(name), 100.0
    drawn = engineered._drawn(np.array([label]), np.array([radius]), np.array([[3.0, -5.0]]), 260, 280)
    assert drawn.sum() == pytest.approx(AREAS[name] * radius**2, rel=0.01)


def test_the_shapes_of_different_names_can_be_told_apart_by_their_nearest_neighbours():
    """Otherwise the second task could not be learned: 1-NN on the tiles of drawn places and sizes."""
    made = digit_and_shape(np.zeros((3000, 28, 28, 1), np.float32), np.zeros(3000, int), jax.random.key(1))
    tiles = (made.images[:, :, :28] + made.images[:, :, 28:]).reshape(3000, -1)
    known, asked = tiles[:2000], tiles[2000:]
    distance = (known**2).sum(1) - 2 * asked @ known.T
    assert np.mean(made.shape_labels[:2000][distance.argmin(1)] == made.shape_labels[2000:]) > 0.97


def test_the_same_key_gives_the_same_images_and_another_one_others(digits):
    images, labels = digits[0][:50], digits[1][:50]
    first, again, other = (digit_and_shape(images, labels, jax.random.key(k)) for k in (5, 5, 6))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.images != other.images).any((1, 2, 3)).all()


def test_what_an_image_gets_does_not_depend_on_how_many_there_are(digits, found):
    few = digit_and_shape(digits[0][:9], digits[1][:9], jax.random.key(3))
    for some, all_ in zip(few, found, strict=True):
        np.testing.assert_array_equal(some, all_[:9])


def test_a_raw_key_gives_what_the_typed_one_gives(digits):
    typed, raw = jax.random.key(8), jax.random.key_data(jax.random.key(8))
    one, other = (digit_and_shape(digits[0][:5], digits[1][:5], key) for key in (typed, raw))
    np.testing.assert_array_equal(one.images, other.images)


def test_fewer_classes_are_the_first_shapes(digits):
    made = digit_and_shape(*digits, jax.random.key(3), classes=3)
    assert set(made.shape_labels.tolist()) == {0, 1, 2}


def test_pairs_hold_each_digit_once_on_either_side(digits):
    images, labels = digits[0][:60], digits[1][:60]
    pairs = digit_pairs(images, labels, jax.random.key(0))
    np.testing.assert_array_equal(pairs.images[:, :, :28], images)
    np.testing.assert_array_equal(pairs.left_labels, labels)
    place = {image.tobytes(): i for i, image in enumerate(images)}
    partners = [place[np.ascontiguousarray(image).tobytes()] for image in pairs.images[:, :, 28:]]
    assert sorted(partners) == list(range(60)) and partners != list(range(60))
    np.testing.assert_array_equal(pairs.right_labels, labels[partners])
    np.testing.assert_array_equal(pairs.left_mask | pairs.right_mask, pairs.images[..., 0] > 0)
    assert not pairs.left_mask[:, :, 28:].any() and not pairs.right_mask[:, :, :28].any()


def test_a_deleted_half_is_blank_and_the_rest_is_untouched():
    images = np.arange(1, 41, dtype=np.float32).reshape(1, 5, 4, 2)
    before = images.copy()
    expected = {
        "top": np.repeat([0, 0, 1, 1, 1], 4).reshape(5, 4),
        "bottom": np.repeat([1, 1, 1, 0, 0], 4).reshape(5, 4),
        "left": np.tile([0, 0, 1, 1], (5, 1)),
        "right": np.tile([1, 1, 0, 0], (5, 1)),
    }
    for half, kept in expected.items():
        np.testing.assert_array_equal(delete_half(images, half=half), images * kept[None, :, :, None])
    np.testing.assert_array_equal(images, before)


GOOD = np.zeros((2, 28, 28, 1), np.float32)


@pytest.mark.parametrize(
    ("images", "labels", "options", "error", "message"),
    [
        (GOOD.astype(int), [0, 1], {}, TypeError, "images must be floating point in .* got int64"),
        (GOOD[..., 0], [0, 1], {}, ValueError, r"images must be \[n, height, width, 1\] .* got shape \(2, 28, 28\)"),
        (GOOD[:0], [], {}, ValueError, r"at least one image, got shape \(0, 28, 28, 1\)"),
        (GOOD[:, :13], [0, 1], {}, ValueError, r"at least 14 pixels high and wide, got shape \(2, 13, 28, 1\)"),
        (GOOD + 2, [0, 1], {}, ValueError, r"images must be in \[0, 1\], found values from 2.0 to 2.0"),
        (GOOD + np.float32(np.nan), [0, 1], {}, ValueError, r"images must be in \[0, 1\], found values from nan"),
        (GOOD, [0.0, 1.0], {}, TypeError, "labels must be integer classes, got float64"),
        (GOOD, [0], {}, ValueError, r"one class for each of the 2 images, got shape \(1,\)"),
        (GOOD, [0, 1], {"classes": 11}, ValueError, "classes must be between 2 and the 10 shapes, got 11"),
        (GOOD, [0, 1], {"classes": 1}, ValueError, "classes must be between 2 and the 10 shapes, got 1"),
    ],
)
def test_bad_input_is_named_with_its_rule(images, labels, options, error, message):
    with pytest.raises(error, match=message):
        digit_and_shape(images, np.asarray(labels), jax.random.key(0), **options)


def test_a_half_that_is_none_and_images_that_are_no_batch_are_refused(as_a_user):
    with pytest.raises(ValueError, match=r"half must be one of \['top', .* got 'middle'"):
        delete_half(GOOD, half="middle")
    with pytest.raises(ValueError, match=r"images must be \[n, height, width, channel\], got shape \(28, 28\)"):
        delete_half(GOOD[0, ..., 0], half="top")
