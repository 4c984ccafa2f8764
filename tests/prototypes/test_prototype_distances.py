"""Distances of patches to prototypes against loops in float64, and what they are where vectors are equal or zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.prototypes import distances
from saliency_jax.prototypes.distances import similarity

KINDS = ["l2", "cosine"]
distance_maps, nearest_patches, distances_between = (
    jax.jit(function, static_argnums=2)
    for function in (distances.distance_maps, distances.nearest_patches, distances.distances_between)
)


def drawn(seed=0, *, images=2, side=(3, 4), depth=5, count=4):
    random = np.random.RandomState(seed)
    return random.randn(images, *side, depth), random.randn(count, depth)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_maps_and_minima_are_those_by_hand(kind):
    features, prototypes = drawn()
    expected = tiny.distances_by_hand(features, prototypes, kind)
    with jax.enable_x64(True):
        maps = distance_maps(jnp.asarray(features), jnp.asarray(prototypes), kind)
        nearest = nearest_patches(jnp.asarray(features), jnp.asarray(prototypes), kind)
    np.testing.assert_allclose(maps, expected, atol=1e-12)
    flat = expected.reshape(2, 12, 4)
    np.testing.assert_allclose(nearest.distances, flat.min(axis=1), atol=1e-12)
    np.testing.assert_array_equal(nearest.places, flat.argmin(axis=1))
    single = distance_maps(jnp.float32(features), jnp.float32(prototypes), kind)
    np.testing.assert_allclose(single, expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prototype_that_is_a_patch_has_exactly_the_distance_0_and_a_similarity_of_9_2103(kind):
    random = np.random.RandomState(1)
    features = jnp.float32(10 * random.rand(3, 4, 4, 7))
    prototypes = features.reshape(-1, 7)[jnp.array([5, 20, 47])]
    found = nearest_patches(features, prototypes, kind)
    image, place = np.array([0, 1, 2]), np.array([5, 4, 15])
    np.testing.assert_array_equal(found.distances[image, np.arange(3)], 0)
    np.testing.assert_array_equal(found.places[image, np.arange(3)], place)
    np.testing.assert_allclose(similarity(found.distances, "log", kind)[image, np.arange(3)], 9.21034, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_of_equal_patches_the_first_counts(kind):
    features, prototypes = drawn(2, images=1)
    features[0, 1, 2] = features[0, 2, 1] = prototypes[3]
    found = nearest_patches(jnp.float32(features), jnp.float32(prototypes), kind)
    assert found.places[0, 3] == 1 * 4 + 2
    blank = nearest_patches(jnp.ones((2, 3, 4, 5)), jnp.float32(prototypes), kind)
    np.testing.assert_array_equal(blank.places, 0)


def test_a_patch_that_is_taken_for_the_nearest_is_farther_by_no_more_than_the_product_rounds():
    # Two patches that differ by 1e-4, where a product of vectors of length 60 errs by more.
    features = 10 * np.random.RandomState(3).rand(1, 6, 6, 100).astype(np.float32)
    features[0, 4, 4] = features[0, 1, 1]
    features[0, 1, 1, :4] += np.float32(0.005)
    prototypes = features[0, [4, 0, 2, 3], [4, 3, 2, 5]]
    found = nearest_patches(jnp.asarray(features), jnp.asarray(prototypes), "l2")
    largest = ((features - prototypes.mean(axis=0)) ** 2).sum(-1).max()
    assert found.distances[0, 0] <= 4e-7 * largest
    np.testing.assert_array_equal(found.distances[0, 1:], 0)


def test_distances_do_not_change_where_all_vectors_are_moved_far_away():
    features, prototypes = (np.float32(np.round(array * 64) / 64) for array in drawn(4))
    expected = tiny.distances_by_hand(np.float64(features), np.float64(prototypes))
    moved = distance_maps(jnp.asarray(features) + 1024, jnp.asarray(prototypes) + 1024, "l2")
    np.testing.assert_allclose(moved, expected, atol=1e-3)
    assert (moved >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_0_at_distance_0(kind):
    features, prototypes = (jnp.float32(array) for array in drawn(5, images=1, count=1))
    features = features.at[0, 1, 1].set(prototypes[0])

    def nearest(z, p):
        return similarity(nearest_patches(z, p, kind).distances, "log", kind).max()

    def largest_of_map(z, p):
        return similarity(distance_maps(z, p, kind), "log", kind).max()

    for gradient in jax.jit(jax.grad(nearest, argnums=(0, 1)))(features, prototypes):
        np.testing.assert_array_equal(gradient, 0)
    # In the map a product leaves 1e-7, and the slope at 0 is 1e4.
    for gradient in jax.jit(jax.grad(largest_of_map, argnums=(0, 1)))(features, prototypes):
        np.testing.assert_allclose(gradient, 0, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_nearest_patch_alone(kind):
    features, prototypes = drawn(6, images=1, count=1)
    with jax.enable_x64(True):
        nearest = nearest_patches(jnp.asarray(features), jnp.asarray(prototypes), kind)
        slope = jax.jit(jax.grad(lambda z: nearest_patches(z, jnp.asarray(prototypes), kind).distances.sum()))
        gradient = slope(jnp.asarray(features))
    patch = np.unravel_index(int(nearest.places[0, 0]), (3, 4))
    slopes = []
    for k in range(5):
        ends = [features[0][patch].copy() for _ in range(2)]
        ends[0][k] += 1e-6
        ends[1][k] -= 1e-6
        up, down = (tiny.distance_by_hand(end, prototypes[0], kind) for end in ends)
        slopes.append((up - down) / 2e-6)
    np.testing.assert_allclose(gradient[0][patch], slopes, atol=1e-8)
    assert np.count_nonzero(np.abs(gradient).sum(-1)) == 1


def test_a_vector_of_zeros_has_the_cosine_0_with_every_vector_and_no_gradient():
    features, prototypes = drawn(7, images=1, count=3)
    features[0, 0, 0] = prototypes[1] = 0
    features, prototypes = jnp.float32(features), jnp.float32(prototypes)
    maps = distance_maps(features, prototypes, "cosine")
    np.testing.assert_array_equal(maps[0, 0, 0], 1)
    np.testing.assert_array_equal(maps[..., 1], 1)
    pairs = distances_between(features[0, :1, 0], prototypes, "cosine")
    np.testing.assert_allclose(pairs, 1, atol=1e-6)
    dead = nearest_patches(jnp.zeros((1, 2, 2, 5)), prototypes, "cosine")
    np.testing.assert_array_equal(dead.distances, 1)
    gradients = jax.jit(jax.grad(lambda z, p: distance_maps(z, p, "cosine").sum(), argnums=(0, 1)))(
        features, prototypes
    )
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert not np.any(gradients[0][0, 0, 0])
    assert not np.any(gradients[1][1])


def test_similarities_are_the_papers_and_those_of_the_cosine():
    given = jnp.array([0.0, 8.0, 1e6])
    found = similarity(given, "log", "l2")
    np.testing.assert_allclose(found[:2], [9.210340, 0.117771], atol=1e-6)
    assert abs(found[2]) < 2e-6
    np.testing.assert_array_equal(similarity(given, "linear", "l2"), -given)
    np.testing.assert_array_equal(similarity(jnp.array([0.0, 0.5, 2.0]), "linear", "cosine"), [1.0, 0.5, -1.0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_nan_stays_in_its_image(kind):
    features, prototypes = drawn(8)
    features[1, 2, 3, 0] = np.nan
    found = nearest_patches(jnp.float32(features), jnp.float32(prototypes), kind)
    assert np.isfinite(found.distances[0]).all()
    assert np.isnan(found.distances[1]).all()
