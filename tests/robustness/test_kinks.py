"""The nearest kinks of a network of one layer, whose distances can be written down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import relu_by_hand as hand

import saliency_jax as sj
from saliency_jax.robustness.kinks import Kinks, in_range, nearest_kinks


@pytest.mark.slow
def test_all_kinks_of_one_layer_are_found_at_their_distances_in_order_of_what_crossing_them_changes(key):
    params, image = hand.params(), hand.images()[0]
    score = sj.class_score(hand.apply, params, 1)
    found = nearest_kinks(score, image, key, 99)
    inputs, columns = hand.before(params, image), np.asarray(params["first"], np.float64)
    steep = np.linalg.norm(columns, axis=0)
    distances = np.abs(inputs) / steep
    assert found.distances.shape == (hand.HIDDEN,)
    np.testing.assert_allclose(np.sort(found.distances), np.sort(distances), rtol=1e-4)
    for distance, normal in zip(found.distances, found.normals, strict=True):
        ours = np.argmin(np.abs(distances - distance))
        towards = -np.sign(inputs[ours]) * columns[:, ours] / steep[ours]
        np.testing.assert_allclose(np.ravel(normal), towards, atol=1e-5)
        # Just across, this ReLU has changed its sign.
        beyond = image + 1.01 * distance * normal
        assert np.sign(hand.before(params, beyond)[ours]) == -np.sign(inputs[ours])


@pytest.mark.slow
def test_the_kink_that_matters_most_for_its_way_comes_first(key):
    # One ReLU near its kink that the score hardly reads, one farther away that it does.
    params = {
        "first": jnp.zeros((12, 2)).at[0, 0].set(1.0).at[1, 1].set(1.0),
        "bias": jnp.array([-0.45, -0.3]),
        "second": jnp.array([[1e-4], [1.0]]),
    }
    score = sj.class_score(hand.apply, params, 0)
    found = nearest_kinks(score, jnp.full(hand.SHAPE, 0.5), key, 1)
    np.testing.assert_allclose(found.distances, [0.2], rtol=1e-5)


def test_a_relu_that_does_not_look_at_the_image_is_infinitely_far_and_one_at_its_kink_is_near(key):
    params = {
        "first": jnp.zeros((12, 2)).at[0, 0].set(1.0),
        "bias": jnp.array([-0.5, 1.0]),
        "second": jnp.array([[1.0], [1.0]]),
    }
    # At its kink a ReLU has no gradient to go by but its own: relu'(0) is 0 in what is behind it alone.
    found = nearest_kinks(sj.class_score(hand.apply, params, 0), jnp.full(hand.SHAPE, 0.5), key, 2)
    np.testing.assert_array_equal(found.distances, [0, np.inf])
    assert np.isfinite(found.normals).all()


def test_a_network_without_relus_has_no_kinks(key):
    score = sj.class_score(lambda p, x: jnp.tanh(hand.linear(p, x)), hand.weights(), 0)
    assert nearest_kinks(score, hand.images()[0], key, 4).distances.shape == (0,)


@pytest.mark.slow
def test_kinks_inside_loops_and_rematerialized_blocks_are_found(key):
    params, image = hand.params(), hand.images()[0]

    def turning(p, images):
        def turn(x, w):
            return jax.checkpoint(lambda x: jax.nn.relu(x @ w))(x), None

        return jax.lax.scan(turn, images.reshape(len(images), -1), p["all"])[0] @ p["second"]

    square = {"all": jnp.stack([jnp.eye(12) - 0.3, jnp.eye(12) - 0.2]), "second": jnp.ones((12, 1))}
    del params
    found = nearest_kinks(sj.class_score(turning, square, 0), image, key, 24)
    first = np.abs(np.ravel(image) @ (np.eye(12) - 0.3)) / np.linalg.norm(np.eye(12) - 0.3, axis=0)
    for distance in first:
        assert np.isclose(found.distances, distance, rtol=1e-4).any()


def test_a_pixel_at_the_end_of_its_range_takes_no_part_in_the_way():
    kinks = Kinks(jnp.array([[[[0.6], [-0.8]]], [[[0.0], [-1.0]]]]), jnp.array([0.3, 0.2]))
    found = in_range(kinks, jnp.array([[[0.5], [0.0]]]), 0.0, 1.0)
    np.testing.assert_allclose(found.normals, [[[[1.0], [0.0]]], [[[0.0], [0.0]]]])
    # Along the first pixel alone a step counts for 0.6 of its length; the second kink cannot be reached.
    np.testing.assert_allclose(found.distances, [0.5, np.inf])
