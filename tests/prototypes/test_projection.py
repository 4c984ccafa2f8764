"""Projection against loops over images, rows and columns; and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.plotting import patches_of_network
from saliency_jax.prototypes import ProtoPNet, project
from saliency_jax.prototypes.duplicates import duplicates

CLASS_OF = (2, 0, 0, 1, 2, 2)
LABELS = np.array([0, 1, 2, 2, 1, 0, 0])


def model_of(distance="l2"):
    """Without backbone and add-on layers: the images are the patches."""
    return ProtoPNet(classes=3, class_of=CLASS_OF, depth=5, add_on="none", distance=distance)


def patches(seed=0):
    return np.random.RandomState(seed).rand(7, 3, 4, 5).astype(np.float32)


def places(sources):
    return np.stack([sources.image, sources.row, sources.column], axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("distance", ["l2", "cosine"])
@pytest.mark.parametrize("batch_size", [80, 3])
def test_every_prototype_goes_to_the_nearest_patch_of_its_class(distance, batch_size):
    model, images = model_of(distance), patches()
    variables = tiny.drawn_variables(model, images)
    before = np.asarray(variables["params"]["prototype_vectors"])
    expected = tiny.projected_by_hand(
        tiny.distances_by_hand(np.float64(images), np.float64(before), distance), LABELS, CLASS_OF
    )
    found = project(model, variables, images, LABELS, batch_size=batch_size)
    np.testing.assert_array_equal(places(found.sources), expected[:, :3])
    np.testing.assert_allclose(found.sources.distance, expected[:, 3], atol=1e-6)
    vectors = np.asarray(found.variables["params"]["prototype_vectors"])
    np.testing.assert_array_equal(vectors, images[tuple(places(found.sources).T)])
    np.testing.assert_array_equal(variables["params"]["prototype_vectors"], before)
    kernels = (tree["params"]["last_layer"]["kernel"] for tree in (found.variables, variables))
    np.testing.assert_array_equal(*kernels)
    # Each is a patch now: exactly 0 from it, log(1e4), and nothing is nearer; projected again it stays.
    compared = model.apply(found.variables, images, method="compare")
    own = np.asarray(compared.distances)[found.sources.image, np.arange(6)]
    np.testing.assert_array_equal(own, 0)
    similar = np.asarray(compared.similarities)[found.sources.image, np.arange(6)]
    np.testing.assert_allclose(similar, 9.21034, atol=1e-5)
    again = project(model, found.variables, images, LABELS, batch_size=batch_size)
    np.testing.assert_array_equal(places(again.sources), places(found.sources))
    np.testing.assert_array_equal(again.sources.distance, 0)


def test_a_prototype_that_is_a_patch_is_nearest_to_that_one_and_all_of_it_is_told_for_the_figures():
    model, images = model_of(), patches()
    found = project(model, tiny.drawn_variables(model, images), images, LABELS)
    told = patches_of_network(model, found.variables, images, LABELS, found.sources, count=99, image_shape=(30, 40))
    assert told.sizes == {"prototype": 6, "neighbour": 7, "side": 4}
    np.testing.assert_array_equal(told.prototype_class, CLASS_OF)
    np.testing.assert_array_equal(told.source, found.sources.image)
    np.testing.assert_array_equal(told.image[:, 0], found.sources.image)
    np.testing.assert_array_equal(told.distance[:, 0], 0)
    np.testing.assert_array_equal(told.box[:, 0], told.source_box)
    np.testing.assert_array_equal(told.image_class, LABELS[told.image])
    # A patch of the grid of 3 x 4 has its middle in its tenth of the 30 x 40 pixels.
    top, bottom, left, right = told.source_box.values.T
    row, column = 10 * found.sources.row + 5, 10 * found.sources.column + 5
    assert np.all((top <= row) & (row < bottom) & (left <= column) & (column < right))
    with pytest.raises(TypeError, match="sources must be those of a network that ends in a projection"):
        patches_of_network(model, found.variables, images, LABELS, None)
    with pytest.raises(ValueError, match="sources must give each prototype one of the 2 images"):
        patches_of_network(model, found.variables, images[:2], LABELS[:2], found.sources)


@pytest.mark.parametrize("batch_size", [80, 2])
def test_of_equally_near_patches_the_first_image_and_then_the_first_row_counts(batch_size):
    model, images = model_of(), patches(1)
    variables = tiny.drawn_variables(model, images)
    copy = np.asarray(variables["params"]["prototype_vectors"])[0]
    # Class 2 is of images 2 and 3; image 0 has it as well but is of another class.
    for place in [(0, 0, 0), (2, 2, 1), (2, 1, 3), (3, 0, 0)]:
        images[place] = copy
    found = project(model, variables, images, LABELS, batch_size=batch_size)
    assert tuple(places(found.sources)[0]) == (2, 1, 3)
    assert found.sources.distance[0] == 0


def test_blank_images_give_one_vector_from_the_first_image_of_each_class():
    model = model_of("cosine")
    images = np.zeros((7, 3, 4, 5), np.float32)
    found = project(model, tiny.drawn_variables(model, images), images, LABELS)
    np.testing.assert_array_equal(places(found.sources), [[{2: 2, 0: 0, 1: 1}[c], 0, 0] for c in CLASS_OF])
    # A vector of zeros has the cosine 0 with all, itself included.
    np.testing.assert_allclose(found.sources.distance, 1, atol=1e-6)
    counted = duplicates(found.sources, found.variables["params"]["prototype_vectors"])
    assert (counted.prototypes, counted.patches, counted.images, counted.vectors) == (6, 3, 3, 1)
    assert counted.unique == 0.5


def test_copies_are_counted_by_place_and_by_vector_and_must_be_of_these_prototypes():
    model, images = model_of(), patches(2)
    images[3] = images[2]
    variables = tiny.drawn_variables(model, images)
    vectors = np.asarray(variables["params"]["prototype_vectors"]).copy()
    vectors[[0, 4, 5]] = images[2, 1, 1]
    vectors[5] = images[3, 0, 2]
    variables["params"]["prototype_vectors"] = jnp.asarray(vectors)
    found = project(model, variables, images, LABELS)
    counted = duplicates(found.sources, found.variables["params"]["prototype_vectors"])
    chosen = {tuple(row) for row in places(found.sources).tolist()}
    assert (2, 1, 1) in chosen and (2, 0, 2) in chosen
    assert counted.patches == len(chosen) == counted.vectors == 5
    assert counted.unique == 5 / 6
    with pytest.raises(ValueError, match="vectors must be one for each of 6 prototypes, got 5"):
        duplicates(found.sources, vectors[:5])


@pytest.mark.parametrize("batch_size", [80, 1])
@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_a_patch_that_is_no_number_is_refused_whatever_the_batches(distance, batch_size):
    images = patches(3)
    images[6, 1, 1, 0] = np.nan
    model = model_of(distance)
    with pytest.raises((FloatingPointError, ValueError), match="finite"):
        project(model, tiny.drawn_variables(model, images), images, LABELS, batch_size=batch_size)


def test_a_prototype_that_is_no_number_is_named():
    model, images = model_of(), patches(3)
    variables = tiny.drawn_variables(model, images)
    variables["params"]["prototype_vectors"] = variables["params"]["prototype_vectors"].at[4, 2].set(jnp.nan)
    with pytest.raises(FloatingPointError, match="prototype 4"):
        project(model, variables, images, LABELS)


def test_what_does_not_fit_is_named(as_a_user):
    model, images = model_of(), patches()
    variables = tiny.drawn_variables(model, images)
    with pytest.raises(ValueError, match=r"labels must name an image of every class .* none is of \[1\]"):
        project(model, variables, images, np.where(LABELS == 1, 0, LABELS))
    with pytest.raises(ValueError, match=r"labels must be classes in \[0, 3\), found \[3\]"):
        project(model, variables, images, np.array([3, 1, 2, 2, 1, 0, 0]))
    with pytest.raises(ValueError, match="labels must hold one class for each of the 7 images"):
        project(model, variables, images, LABELS[:6])
    with pytest.raises(TypeError, match="labels must be integer"):
        project(model, variables, images, np.float32(LABELS))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        project(model, variables, images, LABELS, batch_size=0)
    with pytest.raises(TypeError, match="images must be floating point"):
        project(model, variables, np.int32(images), LABELS)
    with pytest.raises(ValueError, match=r"images must be .*3 axes"):
        project(model, variables, images[:, 0], LABELS)


def test_a_class_without_prototypes_needs_no_image():
    model = ProtoPNet(classes=4, class_of=CLASS_OF, depth=5, add_on="none")
    images = patches()
    found = project(model, tiny.drawn_variables(model, images), images, LABELS)
    assert (found.sources.image >= 0).all()


@pytest.mark.slow
def test_projection_in_float64_is_exact():
    model = model_of()
    with jax.enable_x64(True):
        images = np.float64(patches())
        variables = jax.tree.map(jnp.float64, tiny.drawn_variables(model, images))
        found = project(model, variables, images, LABELS)
        compared = model.apply(found.variables, images, method="compare")
    vectors = np.asarray(variables["params"]["prototype_vectors"])
    expected = tiny.projected_by_hand(tiny.distances_by_hand(images, vectors), LABELS, CLASS_OF)
    np.testing.assert_allclose(found.sources.distance, expected[:, 3], rtol=1e-14)
    np.testing.assert_array_equal(np.asarray(compared.distances)[found.sources.image, np.arange(6)], 0)
