"""Nearest images against a sort of all distances; pruning and keeping by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.prototypes import ProtoPNet, Stage, fit, prune
from saliency_jax.prototypes.nearest import nearest_images, of_own_class
from saliency_jax.prototypes.pruning import keep
from saliency_jax.prototypes.schedule import Recipe

MODEL = ProtoPNet(classes=3, prototypes=6, depth=5, add_on="none")
LABELS = np.array([0, 1, 2, 2, 1, 0, 0])


def patches(seed=0):
    return np.random.RandomState(seed).rand(7, 3, 4, 5).astype(np.float32)


def distances_of(variables, images):
    prototypes = np.float64(variables["params"]["prototype_vectors"])
    return tiny.distances_by_hand(np.float64(images), prototypes).reshape(7, 12, -1)


@pytest.mark.parametrize(("count", "batch_size"), [(4, 3), (7, 80), (1, 1)])
def test_nearest_images_are_those_of_a_sort(count, batch_size):
    images = patches()
    images[5] = images[1]
    variables = tiny.drawn_variables(MODEL, images)
    found = nearest_images(MODEL, variables, images, count=count, batch_size=batch_size)
    all_distances = distances_of(variables, images)
    smallest = all_distances.min(axis=1)
    order = np.argsort(smallest, axis=0, kind="stable")[:count].T
    np.testing.assert_array_equal(found.image, order)
    np.testing.assert_allclose(found.distance, np.take_along_axis(smallest.T, order, axis=1), atol=1e-6)
    places = np.take_along_axis(all_distances.argmin(axis=1).T, order, axis=1)
    np.testing.assert_array_equal(found.row, places // 4)
    np.testing.assert_array_equal(found.column, places % 4)


def test_of_equally_near_images_the_first_come_first_and_fillers_never():
    images = np.zeros((7, 3, 4, 5), np.float32)
    found = nearest_images(MODEL, tiny.drawn_variables(MODEL, images), images, count=7, batch_size=3)
    np.testing.assert_array_equal(found.image, np.broadcast_to(np.arange(7), (6, 7)))
    np.testing.assert_array_equal(found.row, 0)


@pytest.mark.parametrize("batch_size", [80, 1])
def test_a_distance_that_is_no_number_is_refused_whatever_the_batches(batch_size):
    images = patches()
    images[6, 1, 1, 0] = np.nan
    with pytest.raises((FloatingPointError, ValueError), match="finite"):
        nearest_images(MODEL, tiny.drawn_variables(MODEL, images), images, count=2, batch_size=batch_size)


def pure_and_shared():
    """Prototype 0 is near images of its class alone, 1 near those of others, and so on: each class keeps some."""
    images = 5 + patches(1)
    variables = tiny.drawn_variables(MODEL, images)
    vectors = np.asarray(variables["params"]["prototype_vectors"]).copy()
    for j in range(6):
        vectors[j] = 10 * j
    owners = {0: (0, 5, 6), 1: (1, 2, 3), 2: (1, 4, 0), 3: (4, 2, 3), 4: (2, 3, 1), 5: (0, 1, 6)}
    for j, near in owners.items():
        for k, i in enumerate(near):
            images[i].reshape(12, 5)[2 * j] = vectors[j] + 0.01 * (k + 1)
    variables["params"]["prototype_vectors"] = jnp.asarray(vectors)
    return images, variables


@pytest.mark.slow
def test_pruning_keeps_what_has_enough_images_of_its_own_class_among_the_nearest():
    images, variables = pure_and_shared()
    # Classes of the three nearest, by `owners` and LABELS: 000 | 122 | 110 | 122 | 221 | 010, for classes 0 0 1 1 2 2.
    found = nearest_images(MODEL, variables, images, count=3)
    np.testing.assert_array_equal(of_own_class(MODEL, found, LABELS), [3, 0, 2, 1, 2, 0])
    pruned = prune(MODEL, variables, images, LABELS, neighbours=3, least=2, batch_size=4)
    np.testing.assert_array_equal(pruned.kept, [0, 2, 4])
    assert pruned.model.class_of == (0, 1, 2)
    whole = MODEL.apply(variables, images, method="compare")
    smaller = pruned.model.apply(pruned.variables, images, method="compare")
    np.testing.assert_array_equal(smaller.distances, whole.distances[:, pruned.kept])
    last = np.asarray(variables["params"]["last_layer"]["kernel"])[pruned.kept]
    np.testing.assert_allclose(smaller.logits, np.asarray(whole.similarities)[:, pruned.kept] @ last, rtol=1e-5)


def test_pruning_with_one_image_of_the_own_class_is_enough_where_least_is_1():
    images, variables = pure_and_shared()
    pruned = prune(MODEL, variables, images, LABELS, neighbours=3, least=1)
    np.testing.assert_array_equal(pruned.kept, [0, 2, 3, 4])


def test_a_network_that_keeps_all_is_the_same_and_keeping_twice_is_keeping_once():
    images, variables = pure_and_shared()
    same = keep(MODEL, variables, np.arange(6))
    np.testing.assert_array_equal(same.model.apply(same.variables, images), MODEL.apply(variables, images))
    first = keep(MODEL, variables, np.array([0, 2, 3, 5]))
    twice = keep(first.model, first.variables, np.array([1, 3]))
    once = keep(MODEL, variables, np.array([2, 5]))
    assert twice.model == once.model
    jax.tree.map(np.testing.assert_array_equal, twice.variables, once.variables)


def test_the_last_layer_of_a_network_whose_class_lost_all_prototypes_can_be_trained(key):
    images, variables = pure_and_shared()
    pruned = keep(MODEL, variables, np.array([0, 2, 3]))
    recipe = Recipe(batch_size=7, last_layer_rate=0.1)
    found = fit(pruned.model, pruned.variables, images, LABELS, key=key, stages=[Stage("last_layer", 2)], recipe=recipe)
    assert all(np.isfinite(epoch.loss) for epoch in found.history)
    assert found.history[1].loss < found.history[0].loss


def test_what_does_not_fit_is_named(as_a_user):
    images, variables = pure_and_shared()
    with pytest.raises(ValueError, match="count must be between 1 and the 7 images, got 8"):
        nearest_images(MODEL, variables, images, count=8)
    with pytest.raises(ValueError, match=r"count must be .* got 0"):
        nearest_images(MODEL, variables, images, count=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        nearest_images(MODEL, variables, images, count=1, batch_size=0)
    with pytest.raises(ValueError, match=r"neighbours must be .* 7 images, got 8"):
        prune(MODEL, variables, images, LABELS, neighbours=8)
    with pytest.raises(ValueError, match="least must be between 1 and the 3 neighbours, got 4"):
        prune(MODEL, variables, images, LABELS, neighbours=3, least=4)
    with pytest.raises(ValueError, match="least must be between 1"):
        prune(MODEL, variables, images, LABELS, neighbours=3, least=0)
    with pytest.raises(ValueError, match=r"labels must be classes in \[0, 3\), found \[9\]"):
        prune(MODEL, variables, images, np.array([0, 1, 2, 2, 1, 0, 9]), neighbours=3)
    with pytest.raises(TypeError, match="labels must be integer"):
        prune(MODEL, variables, images, np.float32(LABELS), neighbours=3)
    # Not one prototype is near images of class 2 alone once its labels are swapped.
    with pytest.raises(ValueError, match="least must leave a prototype"):
        prune(MODEL, variables, images, (LABELS + 1) % 3, neighbours=3, least=3)
