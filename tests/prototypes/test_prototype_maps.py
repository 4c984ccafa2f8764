"""ProtoPNet's own maps as explainers of this library, in batches and in the parameter test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax import batched, class_score, parameter_randomization
from saliency_jax.prototypes import ProtoPNet
from saliency_jax.prototypes.maps import class_evidence, nearest_prototype
from saliency_jax.prototypes.upsampling import upsampled

MODEL = ProtoPNet(classes=3, prototypes=6, depth=4, backbone=tiny.Normalized())
IMAGES = tiny.drawn_images(4)
TARGETS = np.array([2, 0, 1, 1])


@pytest.fixture(scope="module")
def variables():
    return tiny.drawn_variables(MODEL, IMAGES)


@pytest.fixture(scope="module")
def similarities(variables):
    """`[image, row, column, prototype]`, by NumPy from the distances."""
    return tiny.similarity_by_hand(np.float64(tiny.compared(MODEL, variables, IMAGES).distance_maps))


def test_class_evidence_is_the_weighted_sum_of_all_maps(variables, similarities):
    found = batched(class_evidence(MODEL), MODEL.apply, batch_size=3)(variables, IMAGES, TARGETS)
    kernel = np.float64(variables["params"]["last_layer"]["kernel"])
    for i, target in enumerate(TARGETS):
        expected = similarities[i] @ kernel[:, target]
        for channel in range(3):
            # The images are as large as the grid: nothing is enlarged.
            np.testing.assert_allclose(found[i, :, :, channel], expected, rtol=1e-3, atol=1e-3)


def test_the_nearest_prototype_is_the_most_similar_one_of_the_class_asked_about(variables, similarities):
    found = batched(nearest_prototype(MODEL), MODEL.apply, batch_size=2)(variables, IMAGES, TARGETS)
    for i, target in enumerate(TARGETS):
        own = similarities[i][:, :, 2 * target : 2 * target + 2]
        expected = own[:, :, own.max(axis=(0, 1)).argmax()]
        np.testing.assert_allclose(found[i, :, :, 1], expected, rtol=1e-3, atol=1e-3)


def test_maps_of_a_smaller_grid_are_enlarged_to_the_image():
    def halved(images):
        return jnp.asarray(images)[:, ::2, ::2]

    model = ProtoPNet(classes=2, prototypes=2, depth=3, add_on="none", backbone=halved)
    image = np.random.RandomState(1).rand(8, 10, 3).astype(np.float32)
    variables = tiny.drawn_variables(model, image[None])
    found = batched(nearest_prototype(model), model.apply)(variables, image[None], np.array([1]))[0]
    small = tiny.compared(model, variables, image[None]).distance_maps[0, :, :, 1]
    expected = upsampled(jnp.log((small + 1) / (small + 1e-4)), (8, 10))
    np.testing.assert_allclose(found, np.broadcast_to(np.asarray(expected)[:, :, None], (8, 10, 3)), rtol=1e-4)


def test_a_class_that_has_no_prototype_has_no_nearest_one():
    model = ProtoPNet(classes=3, class_of=(0, 1), depth=4, backbone=tiny.Normalized())
    variables = tiny.drawn_variables(model, IMAGES)
    found = batched(nearest_prototype(model), model.apply)(variables, IMAGES[:1], np.array([2]))
    assert np.isnan(found).all()


def test_what_is_no_score_of_the_network_is_refused(variables):
    for explain in (class_evidence(MODEL), nearest_prototype(MODEL)):
        with pytest.raises(TypeError, match="score must be a class_score of the ProtoPNet, got function"):
            explain(lambda image: image.sum(), IMAGES[0])
        with pytest.raises(ValueError, match="image must be finite"):
            explain(class_score(MODEL.apply, variables, 0), np.full((6, 7, 3), np.nan, np.float32))


def pearson(a, b):
    return jnp.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.mark.slow
def test_both_maps_go_through_the_parameter_test_and_one_does_not_see_the_last_layer(variables, key):
    found = parameter_randomization(
        MODEL.apply,
        variables,
        jax.jit(lambda key: MODEL.init(key, IMAGES[:1])),
        IMAGES,
        TARGETS,
        {"class_evidence": class_evidence(MODEL), "nearest_prototype": nearest_prototype(MODEL)},
        key=key,
        metrics={"pearson": pearson},
        seeds=1,
    )
    values = found.similarity.sel(metric="pearson").isel(seed=0)
    assert np.isfinite(values).all()
    assert "last_layer" in str(values.stage.values[0])
    # By its definition the map of one prototype has nothing of the last layer, and the evidence for a class has.
    np.testing.assert_allclose(values.sel(explainer="nearest_prototype").isel(stage=0), 1, atol=1e-5)
    assert (values.sel(explainer="class_evidence").isel(stage=0) < 0.999).any()
    assert (values.isel(stage=-1) < 0.999).all()
