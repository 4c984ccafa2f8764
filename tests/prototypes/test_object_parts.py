"""Consistency and stability by hand, from images whose parts are put where prototypes look."""

import jax
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.prototypes import ProtoPNet
from saliency_jax.prototypes.parts import Parts, consistency, part_hits, stability, with_noise

MODEL = ProtoPNet(classes=3, class_of=(0, 0, 1), depth=3, add_on="none")
PEAKS = np.array([[[1, 2], [7, 7], [4, 0]], [[0, 0], [3, 6], [5, 5]], [[6, 1], [2, 2], [7, 0]]])
"""Row and column of the patch that is prototype j, of three images of 8x8: nothing is enlarged."""


@pytest.fixture(scope="module")
def seen():
    images = 5 + np.random.RandomState(0).rand(3, 8, 8, 3).astype(np.float32)
    variables = tiny.drawn_variables(MODEL, images)
    vectors = np.asarray(variables["params"]["prototype_vectors"])
    for i, j in np.ndindex(3, 3):
        images[(i, *PEAKS[i, j])] = vectors[j]
    return variables, images


def test_a_visible_part_within_the_square_around_the_most_similar_place_is_a_hit(seen):
    variables, images = seen
    random = np.random.RandomState(1)
    rows, columns = (random.randint(0, 8, (3, 10)).astype(np.float32) for _ in range(2))
    visible = random.rand(3, 10) < 0.7
    found = part_hits(MODEL, variables, images, Parts(rows, columns, visible), half_size=2, batch_size=2)
    for i, j, p in np.ndindex(3, 3, 10):
        row, column = PEAKS[i, j]
        near = abs(rows[i, p] - row) <= 2 and abs(columns[i, p] - column) <= 2
        assert found[i, j, p] == (near and visible[i, p])
    assert found.any() and not found.all()


def test_a_part_that_cannot_be_seen_is_never_hit_wherever_its_point_is(seen):
    variables, images = seen
    points = np.full((3, 2), np.nan, np.float32)
    found = part_hits(MODEL, variables, images, Parts(points, points, np.zeros((3, 2), bool)), half_size=8)
    assert not found.any()


# Five images of classes 0, 0, 0, 1, 1, and two parts.
LABELS = np.array([0, 0, 0, 1, 1])
VISIBLE = np.array([[1, 1], [1, 0], [1, 1], [1, 1], [0, 1]], bool)
HITS = np.zeros((5, 3, 2), bool)
HITS[[0, 1, 2], 0, 0] = True
"""Prototype 0: part 0 in 3 of 3 images of class 0."""
HITS[0, 1, 1] = True
"""Prototype 1: part 1 in 1 of the 2 images that show it."""
HITS[[3, 4], 2, 1] = True
"""Prototype 2, of class 1: part 1 in 2 of 2."""


def test_consistency_is_the_share_of_prototypes_that_stay_on_one_part():
    found = consistency(MODEL, HITS, VISIBLE, LABELS)
    np.testing.assert_array_equal(found.prototypes, [1, 0, 1])
    assert found.value == pytest.approx(2 / 3)
    half = consistency(MODEL, HITS, VISIBLE, LABELS, threshold=0.5)
    np.testing.assert_array_equal(half.prototypes, [1, 1, 1])
    # Hits in images of other classes count for nothing.
    others = HITS.copy()
    others[3:, 1] = True
    assert consistency(MODEL, others, VISIBLE, LABELS).value == found.value


def test_stability_is_the_share_of_images_whose_hits_stay_the_same():
    moved = HITS.copy()
    moved[0, 0, 0] = False
    moved[1, 0, 1] = True
    moved[3, 2, 0] = True
    # Of class 0 as seen by the prototype of class 1: it does not count.
    moved[2, 2, 0] = True
    found = stability(MODEL, HITS, moved, LABELS)
    np.testing.assert_allclose(found.prototypes, [1 / 3, 1, 1 / 2])
    assert found.value == pytest.approx((1 / 3 + 1 + 1 / 2) / 3)
    assert stability(MODEL, HITS, HITS, LABELS).value == 1


def test_a_prototype_whose_class_has_no_image_is_left_out():
    for found in (
        consistency(MODEL, HITS[:3], VISIBLE[:3], LABELS[:3]),
        stability(MODEL, HITS[:3], HITS[:3], LABELS[:3]),
    ):
        assert np.isnan(found.prototypes[2])
        assert found.value == np.nanmean(found.prototypes)


def test_noise_has_the_deviation_asked_for_is_cut_off_and_is_drawn_by_the_key(key):
    images = np.zeros((2, 60, 60, 3), np.float32)
    found = np.asarray(with_noise(images, key))
    assert np.abs(found).max() == np.float32(0.25)
    # A normal of deviation 0.2 lies within 0.25 in 78.87 percent of draws.
    assert np.mean(np.abs(found) < 0.25) == pytest.approx(0.7887, abs=0.01)
    np.testing.assert_array_equal(found, with_noise(images, key))
    assert np.any(found != np.asarray(with_noise(images, jax.random.key(1))))


def test_what_does_not_fit_is_named(seen, as_a_user):
    variables, images = seen
    points, visible = np.zeros((3, 2), np.float32), np.ones((3, 2), bool)
    with pytest.raises(ValueError, match="half_size must be at least 1 pixel, got 0"):
        part_hits(MODEL, variables, images, Parts(points, points, visible), half_size=0)
    with pytest.raises(ValueError, match="parts must be of the 2 images, got 3"):
        part_hits(MODEL, variables, images[:2], Parts(points, points, visible), half_size=2)
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\], got 0.0"):
        consistency(MODEL, HITS, VISIBLE, LABELS, threshold=0.0)
    with pytest.raises(ValueError, match="perturbed must have the shape of hits"):
        stability(MODEL, HITS, HITS[:3], LABELS)
