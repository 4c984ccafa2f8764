"""Prototypes begin at patches of different images of their class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.prototypes import ProtoPNet, drawn_patches, prototype_classes

MODEL = ProtoPNet(classes=3, prototypes=12, depth=4, distance="cosine")
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2])


@pytest.fixture(scope="module")
def begun():
    images = jax.random.normal(jax.random.key(1), (len(LABELS), 3, 5, 6))
    variables = MODEL.init(jax.random.key(0), images[:1])
    return images, variables, drawn_patches(MODEL, variables, images, LABELS, jax.random.key(2), batch_size=5)


def test_every_prototype_is_the_patch_that_its_source_names(begun):
    images, variables, found = begun
    patches = np.asarray(MODEL.apply(variables, images, method="patches"))
    sources = found.sources
    expected = patches[sources.image, sources.row, sources.column]
    np.testing.assert_allclose(found.variables["params"]["prototype_vectors"], expected, rtol=1e-6)
    assert np.isnan(sources.distance).all() and (LABELS[sources.image] == prototype_classes(MODEL)).all()


def test_prototypes_of_a_class_begin_in_as_many_images_as_it_has(begun):
    sources = begun[2].sources
    different = [len(set(sources.image[4 * c : 4 * c + 4].tolist())) for c in range(3)]
    assert different == [4, 4, 2]


def test_nothing_else_changes_and_the_same_key_draws_the_same(begun):
    images, variables, found = begun
    again = drawn_patches(MODEL, variables, images, LABELS, jax.random.key(2))
    # Another size of batch is another program: the same draws, values to rounding.
    np.testing.assert_array_equal(again.sources.image, found.sources.image)
    np.testing.assert_array_equal(again.sources.row, found.sources.row)
    for name in ("add_on", "last_layer"):
        held, before = (jax.tree.leaves(v["params"][name]) for v in (found.variables, variables))
        assert all(jnp.array_equal(a, b) for a, b in zip(held, before, strict=True))
    other = drawn_patches(MODEL, variables, images, LABELS, jax.random.key(3)).sources
    assert (other.image != found.sources.image).any()


def test_a_class_without_images_and_a_batch_of_none_are_refused(begun):
    images, variables, _ = begun
    with pytest.raises(ValueError, match=r"none is of \[2\]"):
        drawn_patches(MODEL, variables, images, np.minimum(LABELS, 1), jax.random.key(0))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        drawn_patches(MODEL, variables, images, LABELS, jax.random.key(0), batch_size=0)
