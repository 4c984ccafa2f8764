"""Trunks: the activation that the model itself computes, from the same variables; and images that do not fit."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.models import CNN, ResNet
from saliency_jax.prototypes import ProtoPNet, Recipe, Stage, Trunk, fit
from saliency_jax.prototypes.backbone import last_spatial, trunk_activation
from saliency_jax.prototypes.batches import batch_places

SMALL = CNN(channels=(4, 6), kernel_size=(3, 3), units=8, classes=3)


class Head(nn.Module):
    """A backbone and what a classifier has after it."""

    @nn.compact
    def __call__(self, images):
        hidden = tiny.Normalized(name="body")(images)
        return nn.Dense(3, name="logits")(hidden.reshape(len(images), -1))


@pytest.fixture(scope="module")
def images():
    return np.random.RandomState(0).rand(2, 6, 6, 3).astype(np.float32)


def test_a_trunk_gives_what_the_part_of_the_model_before_its_head_gives(images):
    trunk = Trunk(Head())
    variables = tiny.drawn_variables(trunk, images)
    inner = {name: held["model"] for name, held in variables.items()}
    body = {name: held["body"] for name, held in inner.items()}
    expected = jax.jit(tiny.Normalized().apply)(body, images)
    np.testing.assert_allclose(jax.jit(trunk.apply)(variables, images), expected, rtol=1e-5, atol=1e-6)
    assert jax.tree.map(jnp.shape, inner) == jax.tree.map(jnp.shape, tiny.drawn_variables(Head(), images))


def test_what_comes_after_the_activation_has_a_gradient_of_0(images):
    trunk = Trunk(Head())
    variables = tiny.drawn_variables(trunk, images)
    gradient = jax.jit(jax.grad(lambda v: (trunk.apply(v, images) ** 2).sum()))(variables)
    params = gradient["params"]["model"]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(params["logits"]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(params["body"]))


def test_a_layer_is_taken_by_its_name_and_the_last_spatial_one_without(images):
    variables = tiny.drawn_variables(Head(), images)
    name = last_spatial(Head().apply, variables, images)
    found = trunk_activation(Head().apply, variables, images, name)
    np.testing.assert_array_equal(found, trunk_activation(Head().apply, variables, images))
    assert found.shape == (2, 6, 6, 5)
    before = trunk_activation(Head().apply, variables, images, "body/conv")
    kernel = jax.tree.map(np.float64, variables["params"]["body"]["conv"])
    np.testing.assert_allclose(before, tiny.convolved(np.float64(images), kernel), atol=1e-5)


def test_layers_that_do_not_exist_or_have_no_places_are_named(images, as_a_user):
    variables = tiny.drawn_variables(Head(), images)
    with pytest.raises(ValueError, match="nowhere"):
        trunk_activation(Head().apply, variables, images, "nowhere")
    with pytest.raises(ValueError, match=r"layer must be \[batch, height, width, channel\], got 'logits'"):
        trunk_activation(Head().apply, variables, images, "logits")
    with pytest.raises(ValueError, match=r"layer must be given: .* more than one place"):
        last_spatial(lambda p, x: x.mean((1, 2)) @ p, jnp.ones((3, 2)), images)


@pytest.mark.parametrize("layer", [None, "conv1/relu"])
def test_an_image_size_that_the_backbone_cannot_take_is_named_by_fit_and_by_the_network(layer, as_a_user):
    fitting = np.ones((4, 12, 12, 1), np.float32)
    model = ProtoPNet(classes=2, prototypes=2, depth=3, backbone=Trunk(SMALL, layer))
    variables = tiny.drawn_variables(model, fitting)
    other = np.ones((4, 17, 17, 1), np.float32)
    with pytest.raises(ValueError, match=r"images must have a size that the backbone can take, got \(4, 17, 17, 1\)"):
        model.apply(variables, other)
    with pytest.raises(ValueError, match="images must have a size that the backbone can take"):
        labels, recipe = np.array([0, 1, 0, 1]), Recipe(batch_size=4)
        fit(model, variables, other, labels, key=jax.random.key(0), stages=[Stage("project")], recipe=recipe)


def test_images_too_small_for_any_place_or_of_other_channels_are_named(as_a_user):
    model = ProtoPNet(
        classes=2, prototypes=2, depth=3, backbone=Trunk(ResNet(depths=(1, 1), bottleneck=False, classes=2))
    )
    variables = tiny.drawn_variables(model, np.ones((1, 32, 32, 3), np.float32))
    with pytest.raises(ValueError, match="images must have a size that the backbone can take"):
        model.apply(variables, jnp.ones((1, 32, 32, 1)))
    with pytest.raises(ValueError, match="more than one place"):
        model.apply(variables, jnp.ones((1, 2, 2, 3)))


# Batches


@pytest.mark.parametrize(("count", "size", "shape"), [(10, 4, (3, 4)), (9, 4, (3, 3)), (3, 80, (1, 3)), (5, 1, (5, 1))])
def test_batches_are_as_equal_as_can_be_and_end_with_the_last_entry(count, size, shape):
    found = batch_places(count, size)
    assert found.shape == shape
    np.testing.assert_array_equal(found.ravel(), np.minimum(np.arange(found.size), count - 1))


def test_no_images_and_no_batch_are_refused():
    with pytest.raises(ValueError, match="images must hold at least one"):
        batch_places(0, 3)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        batch_places(2, 0)
