"""Losses against loops, where masks decide and where they saturate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.prototypes import losses

CLASSES = (0, 0, 1, 1, 2, 2)
OWN = np.eye(3, dtype=np.float32)[list(CLASSES)]


def drawn(seed, *, scale=1.0):
    random = np.random.RandomState(seed)
    return random.randn(7, 3), scale * random.rand(7, 6), random.randint(0, 3, 7), random.randn(6, 3)


def found_terms(logits, nearest, labels, last, **options):
    return losses.terms(
        jnp.float32(logits), jnp.float32(nearest), jnp.asarray(labels), jnp.float32(last), OWN, **options
    )


@pytest.mark.parametrize("seed", range(3))
def test_terms_are_those_by_loops(seed):
    arrays = drawn(seed)
    expected = tiny.terms_by_hand(*arrays, CLASSES)
    found = found_terms(*arrays)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # Below the largest distance the original's masking product is the same minimum.
    np.testing.assert_allclose(found_terms(*arrays, max_distance=128.0), expected, atol=2e-5)
    total = losses.total(found, losses.Weights())
    np.testing.assert_allclose(total, expected @ [1, 0.8, -0.08, 1e-4], atol=1e-5)


def test_a_masked_minimum_goes_on_where_the_originals_cost_stands_still():
    # Both own distances are beyond the largest: the references' notes name a cost of 8 and no gradient.
    nearest, own = jnp.array([[9.0, 10.0, 1.0]]), jnp.array([[1.0, 1.0, 0.0]])

    def cost(max_distance):
        return jax.value_and_grad(lambda d: losses.cluster_cost(d, own, max_distance=max_distance))(nearest)

    value, slope = cost(None)
    assert value == 9
    np.testing.assert_array_equal(slope, [[1, 0, 0]])
    value, slope = cost(8.0)
    assert value == 8
    np.testing.assert_array_equal(slope, [[0, 0, 0]])


def test_masks_do_not_let_a_distance_of_others_through():
    nearest = jnp.array([[0.5, 0.7, 0.0, 0.2]])
    own = jnp.array([[1.0, 1.0, 0.0, 0.0]])
    assert losses.cluster_cost(nearest, own) == 0.5
    assert losses.separation_cost(nearest, own) == 0
    np.testing.assert_allclose(losses.mean_separation(nearest, own), 0.1, atol=1e-7)


def test_an_image_whose_class_has_no_prototype_costs_nothing_and_has_no_gradient():
    # After pruning a class may have none: an infinite cost would end the training of the last layer.
    nearest, own = jnp.array([[0.5, 0.7], [0.4, 0.9]]), jnp.array([[1.0, 0.0], [0.0, 0.0]])
    value, slope = jax.value_and_grad(lambda d: losses.cluster_cost(d, own))(nearest)
    assert value == 0.25
    np.testing.assert_array_equal(slope, [[0.5, 0], [0, 0]])


def test_a_nan_among_the_distances_that_count_is_a_nan_in_the_loss():
    arrays = drawn(4)
    arrays[1][0] = np.nan
    found = found_terms(*arrays)
    assert np.isnan(found.cluster) and np.isnan(found.separation)
    assert np.isnan(losses.total(found, losses.Weights()))


def test_the_l1_term_leaves_the_weights_of_the_own_class_alone():
    last = jnp.where(OWN > 0, 7.0, -0.5)
    assert losses.last_layer_l1(last, OWN) == 0.5 * 6 * 2
    slope = jax.grad(losses.last_layer_l1)(last, OWN)
    np.testing.assert_array_equal(slope, np.where(OWN > 0, 0, -1))
