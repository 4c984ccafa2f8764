"""The attack on pixels elsewhere: nothing to a network that sees one patch, and much to one that looks there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.prototypes import ProtoPNet, prototype_classes
from saliency_jax.prototypes.misalignment import misalignment

LABELS = np.array([0, 1, 2, 1, 0])


def patchwise(images):
    """What each patch of 4x4 pixels is, by itself: its mean."""
    grid = images.reshape(len(images), 4, 4, 4, 4, -1)
    return grid.mean((2, 4))


def elsewhere(images):
    """Each patch shows the mean of the whole image beside its own."""
    own = patchwise(images)
    return jnp.concatenate([own, 4 * jnp.broadcast_to(images.mean((1, 2), keepdims=True), own.shape)], axis=-1)


@pytest.fixture(scope="module")
def images():
    return np.random.RandomState(0).rand(5, 16, 16, 3).astype(np.float32)


def model_of(backbone, depth):
    return ProtoPNet(classes=3, prototypes=6, depth=depth, add_on="none", backbone=backbone)


def drawn(model, images, seed=0):
    return tiny.drawn_variables(model, images, seed)


def test_a_network_that_sees_one_patch_is_perfectly_aligned_where_the_margin_covers_the_patch(images):
    model = model_of(patchwise, 3)
    found = misalignment(model, drawn(model, images), images, LABELS, margin=4, steps=5, radius=0.5, batch_size=2)
    for name in ("location", "activation", "rank"):
        np.testing.assert_array_equal(getattr(found, name), 0, err_msg=name)
    assert found.accuracy_before == found.accuracy_after


def test_a_network_that_looks_elsewhere_is_not(images):
    model = model_of(elsewhere, 6)
    variables = drawn(model, images)
    found = misalignment(model, variables, images, LABELS, margin=0, steps=8, step=0.05, radius=0.3, batch_size=2)
    assert (found.activation > 0.01).all()
    assert found.location.shape == found.rank.shape == (5,)
    assert ((found.location >= 0) & (found.location <= 1)).all()
    similarities = np.asarray(model.apply(variables, images, method="compare").similarities)
    own = np.where(np.array(prototype_classes(model)) == LABELS[:, None], similarities, -np.inf)
    np.testing.assert_array_equal(found.prototype, own.argmax(axis=1))
    right = np.argmax(model.apply(variables, images), axis=1) == LABELS
    assert found.accuracy_before == pytest.approx(right.mean())


@pytest.mark.slow
def test_results_do_not_depend_on_the_batches(images):
    model = model_of(elsewhere, 6)
    variables = drawn(model, images)
    one, other = (
        misalignment(model, variables, images, LABELS, margin=0, steps=3, step=0.05, radius=0.2, batch_size=size)
        for size in (5, 2)
    )
    np.testing.assert_allclose(one.activation, other.activation, atol=1e-5)
    np.testing.assert_array_equal(one.rank, other.rank)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 0.0}, "radius must be positive, got 0.0"),
        ({"step": -0.1}, "step must be positive, got -0.1"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"radius": float("nan")}, "radius must be positive, got nan"),
        ({"margin": -1}, "margin must not be negative, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_options_out_of_their_range_are_named(options, message, images):
    model = model_of(patchwise, 3)
    with pytest.raises(ValueError, match=message):
        misalignment(model, drawn(model, images), images, LABELS, **options)


def test_a_class_without_prototypes_and_images_that_are_none_are_named(images, as_a_user):
    model = ProtoPNet(classes=3, class_of=(0, 1), depth=3, add_on="none", backbone=patchwise)
    variables = drawn(model, images)
    with pytest.raises(ValueError, match=r"labels must be of classes that have prototypes, none has \[2\]"):
        misalignment(model, variables, images, LABELS)
    with pytest.raises(ValueError, match="images must be finite"):
        misalignment(model, variables, jnp.where(images > 0.9, jnp.nan, images), LABELS % 2)
    with pytest.raises(TypeError, match="labels must be integer"):
        misalignment(model, variables, images, jax.nn.relu(jnp.float32(LABELS)))
