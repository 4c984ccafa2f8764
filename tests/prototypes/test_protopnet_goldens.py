"""The original class in PyTorch with a stub as backbone, and training steps by PyTorch's own gradients and Adam."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.prototypes import ProtoPNet, Recipe, Stage, fit, losses, own_class, project
from saliency_jax.prototypes.distances import similarity
from saliency_jax.prototypes.upsampling import high_activation_box, upsampled

MODEL = tiny.GOLDEN_MODEL
LONGEST = 8.0
"""The original's max_dist: the depth of a prototype."""


@pytest.fixture(scope="module")
def arrays():
    return tiny.golden()


@pytest.fixture(scope="module")
def variables(arrays):
    return tiny.golden_variables(arrays)


@pytest.fixture(scope="module")
def images(arrays):
    return np.transpose(arrays["x"], (0, 2, 3, 1))


@pytest.fixture(scope="module")
def compared(variables, images):
    return tiny.compared(MODEL, variables, images)


def test_parameters_have_the_originals_shapes(variables, images):
    made = jax.eval_shape(MODEL.init, jax.random.key(0), images)
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(np.shape, variables)


@pytest.mark.slow
def test_patches_distances_similarities_and_logits_are_the_originals(arrays, variables, images, compared):
    patches = MODEL.apply(variables, images, method="patches")
    np.testing.assert_allclose(np.transpose(patches, (0, 3, 1, 2)), arrays["z"], atol=1e-6)
    np.testing.assert_allclose(np.transpose(compared.distance_maps, (0, 3, 1, 2)), arrays["dist"], atol=1e-5)
    np.testing.assert_allclose(compared.distances, arrays["mind"], atol=1e-5)
    np.testing.assert_allclose(compared.similarities, arrays["act"], atol=1e-5)
    np.testing.assert_allclose(compared.logits, arrays["logits"], atol=1e-5)
    np.testing.assert_allclose(MODEL.apply(variables, images), compared.logits, atol=1e-6)


@pytest.mark.parametrize("max_distance", [None, LONGEST])
def test_losses_and_gradients_are_the_originals(arrays, variables, images, max_distance):
    own, labels = own_class(MODEL), jnp.asarray(arrays["y"])

    @jax.jit
    def objective(params):
        found = MODEL.apply({"params": params}, images, method="compare")
        terms = losses.terms(
            found.logits, found.distances, labels, params["last_layer"]["kernel"], own, max_distance=max_distance
        )
        mean = losses.mean_separation(found.distances, jnp.asarray(own).T[labels])
        return losses.total(terms, losses.Weights()), (*terms[:3], mean, terms.l1)

    (loss, found), gradient = jax.value_and_grad(objective, has_aux=True)(variables["params"])
    np.testing.assert_allclose([*found, loss], arrays["losses"], atol=1e-5)
    np.testing.assert_allclose(gradient["prototype_vectors"], arrays["grad_prototypes"][:, :, 0, 0], atol=1e-5)
    np.testing.assert_allclose(gradient["last_layer"]["kernel"].T, arrays["grad_last"], atol=1e-5)


@pytest.mark.parametrize("batch_size", [80, 2])
def test_projection_goes_to_the_originals_patches(arrays, variables, images, batch_size):
    found = project(MODEL, variables, images, arrays["y"], batch_size=batch_size)
    places = np.stack([found.sources.image, found.sources.row, found.sources.column], axis=1)
    np.testing.assert_array_equal(places, arrays["push"][:, :3])
    np.testing.assert_allclose(found.sources.distance, arrays["push"][:, 3], atol=1e-5)
    vectors = np.asarray(found.variables["params"]["prototype_vectors"])
    np.testing.assert_allclose(vectors, arrays["push_vectors"], atol=1e-6)
    patches = np.asarray(MODEL.apply(variables, images, method="patches"))
    np.testing.assert_allclose(vectors, patches[tuple(places.T)], atol=1e-6)


def test_an_enlarged_map_and_its_box_are_the_originals(arrays, compared):
    enlarged = upsampled(similarity(compared.distance_maps[0, :, :, 0], "log", "l2"), (224, 224))
    np.testing.assert_allclose(enlarged, arrays["up0"], atol=1e-5)
    np.testing.assert_array_equal(high_activation_box(enlarged), arrays["crop0"])


# Other random networks, by tools/make_protopnet_goldens.py.

KINDS = {
    "regular": {"depth": 4},
    "bottleneck": {"depth": 5, "add_on": "bottleneck", "similarity": "linear"},
    "cosine": {"depth": 4, "distance": "cosine"},
}


@cache
def trained_by_torch():
    with np.load(tiny.HERE / "goldens" / "torch_training.npz") as file:
        return dict(file)


def part(kind, prefix):
    """The arrays of a kind whose names begin so, as a tree of parameters."""
    tree = {}
    for name, array in trained_by_torch().items():
        if name.startswith(f"{kind}/{prefix}/"):
            *groups, last = name.removeprefix(f"{kind}/{prefix}/").split("/")
            level = tree
            for group in groups:
                level = level.setdefault(group, {})
            level[last] = tiny.channels_last(array) if array.ndim == 4 else array
    return tree


def model_of(kind):
    return ProtoPNet(classes=3, prototypes=6, backbone=tiny.Convolution(12), **KINDS[kind])


def batch_of(kind):
    arrays = trained_by_torch()
    return np.transpose(arrays[f"{kind}/images"], (0, 2, 3, 1)), arrays[f"{kind}/labels"]


def assert_trees_close(found, expected, **bounds):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **bounds), found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_logits_losses_and_all_gradients_are_those_of_torch(kind):
    model, (images, labels) = model_of(kind), batch_of(kind)

    @jax.jit
    def objective(params):
        found = model.apply({"params": params}, images, method="compare")
        terms = losses.terms(found.logits, found.distances, labels, params["last_layer"]["kernel"], own_class(model))
        return losses.total(terms, losses.Weights()), (jnp.stack(terms), found.logits)

    (_, (terms, logits)), gradient = jax.value_and_grad(objective, has_aux=True)(part(kind, "before"))
    np.testing.assert_allclose(logits, trained_by_torch()[f"{kind}/logits"], atol=1e-5)
    np.testing.assert_allclose(terms, trained_by_torch()[f"{kind}/terms"], atol=1e-5)
    assert_trees_close(gradient, part(kind, "gradient"), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["regular", "cosine"])
def test_joint_epochs_are_those_of_torchs_adam_with_its_weight_decay_and_lowered_rates(kind, key):
    model, (images, labels) = model_of(kind), batch_of(kind)
    recipe = Recipe(batch_size=len(images), backbone_rate=1e-3, decay_every=2)
    before = {"params": part(kind, "before")}
    found = fit(model, before, images, labels, key=key, stages=[Stage("joint", 5)], recipe=recipe)
    course = np.array([epoch.terms for epoch in found.history])
    np.testing.assert_allclose(course, trained_by_torch()[f"{kind}/course"], atol=2e-5)
    # Rates sum to 7e-3: what differs is a hundredth of one step at most.
    assert_trees_close(found.variables["params"], part(kind, "after"), atol=3e-5)
