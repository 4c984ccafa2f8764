"""The table behind a logit: points sum to it, and each row is what the network computes."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.prototypes import ProtoPNet
from saliency_jax.prototypes.analysis import explain, patch_boxes
from saliency_jax.prototypes.nearest import nearest_images
from saliency_jax.prototypes.upsampling import high_activation_box, upsampled

MODEL = ProtoPNet(classes=3, prototypes=6, depth=4, backbone=tiny.Convolution(5))
IMAGES = tiny.drawn_images(5)
SHOWN = 4


@pytest.fixture(scope="module")
def variables():
    return tiny.drawn_variables(MODEL, IMAGES)


@pytest.fixture(scope="module")
def table(variables):
    # The last batch is not full.
    return explain(MODEL, variables, IMAGES, shown=SHOWN, batch_size=3, image_shape=(20, 30))


@pytest.fixture(scope="module")
def compared(variables):
    return tiny.compared(MODEL, variables, IMAGES)


def test_points_and_the_others_sum_to_the_logit_of_the_predicted_class(table, compared):
    logits = np.asarray(compared.logits)
    np.testing.assert_allclose(table.logits, logits, rtol=1e-5)
    np.testing.assert_array_equal(table.target, logits.argmax(axis=1))
    np.testing.assert_allclose(table.points.sum("rank") + table.others, table.logit, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(table.logit, logits.max(axis=1), rtol=1e-5)


def test_rows_are_the_prototypes_of_most_points_first(table, variables, compared):
    similarities, kernel = np.asarray(compared.similarities), np.asarray(variables["params"]["last_layer"]["kernel"])
    for i in range(5):
        points = similarities[i] * kernel[:, int(table.target[i])]
        order = np.argsort(-points, kind="stable")[:SHOWN]
        np.testing.assert_array_equal(table.prototype[i], order)
        np.testing.assert_allclose(table.points[i], points[order], rtol=1e-5)
        np.testing.assert_allclose(table.similarity[i], similarities[i][order], rtol=1e-5)
        np.testing.assert_array_equal(table.weight[i], kernel[order, int(table.target[i])])
        np.testing.assert_array_equal(table.prototype_class[i], order // 2)
        np.testing.assert_allclose(table.others[i], np.delete(points, order).sum(), atol=1e-4)


def test_maps_places_and_boxes_are_those_of_the_shown_prototypes(table, compared):
    assert table.sizes == {"image": 5, "rank": SHOWN, "side": 4, "row": 6, "column": 7, "class": 3}
    for i, r in np.ndindex(5, SHOWN):
        j = int(table.prototype[i, r])
        one = tiny.similarity_by_hand(np.asarray(compared.distance_maps)[i, :, :, j])
        np.testing.assert_allclose(table["map"][i, r], one, rtol=1e-4)
        place = (int(table.patch_row[i, r]), int(table.patch_column[i, r]))
        assert place == np.unravel_index(int(compared.places[i, j]), (6, 7))
        box = high_activation_box(upsampled(jnp.asarray(table["map"].values[i, r]), (20, 30)))
        np.testing.assert_array_equal(table.box[i, r], box)
    assert (table.attrs["height"], table.attrs["width"]) == (20, 30)


def test_boxes_of_nearest_images_are_those_of_their_maps(variables, compared):
    found = nearest_images(MODEL, variables, IMAGES, count=2)
    boxes = patch_boxes(MODEL, variables, IMAGES, found, image_shape=(20, 30))
    assert boxes.shape == (6, 2, 4)
    for j, k in np.ndindex(6, 2):
        distances = compared.distance_maps[found.image[j, k], :, :, j]
        one = upsampled(jnp.log((distances + 1) / (distances + 1e-4)), (20, 30))
        np.testing.assert_array_equal(boxes[j, k], high_activation_box(one))


def test_other_classes_can_be_asked_about_and_all_prototypes_shown(variables, compared):
    asked = np.array([2, 0, 1, 1, 2])
    table = explain(MODEL, variables, IMAGES, targets=asked, shown=6, batch_size=5)
    np.testing.assert_array_equal(table.target, asked)
    np.testing.assert_allclose(table.logit, np.asarray(compared.logits)[np.arange(5), asked], rtol=1e-5)
    np.testing.assert_allclose(table.others, 0, atol=1e-5)
    assert (np.sort(table.prototype, axis=1) == np.arange(6)).all()
    assert (table.attrs["height"], table.attrs["width"]) == (6, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shown": 0}, "shown must be between 1 and the 6 prototypes, got 0"),
        ({"shown": 7}, "shown must be .* got 7"),
        ({"percentile": 101.0}, "percentile must be between 0 and 100, got 101"),
        ({"percentile": float("nan")}, "percentile must be .* got nan"),
        ({"targets": np.array([0, 1, 2, 3, 0])}, r"targets must be classes in \[0, 3\), found \[3\]"),
        ({"targets": np.array([0, 1, 2, -1, 0])}, r"targets must be classes in \[0, 3\), found \[-1\]"),
        ({"targets": np.array([0])}, "targets must hold one class for each of the 5"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": -3}, "batch_size must be at least 1, got -3"),
        ({"image_shape": (0, 3)}, "image_shape|shape must be a height and a width"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message, variables, as_a_user):
    with pytest.raises(ValueError, match=message):
        explain(MODEL, variables, IMAGES, **{"shown": 4, **options})


def test_images_that_are_none_are_named(variables, as_a_user):
    with pytest.raises(ValueError, match="images must be finite"):
        explain(MODEL, variables, np.where(IMAGES > 0.9, np.nan, IMAGES), shown=2)
    with pytest.raises(TypeError, match="targets must be integer"):
        explain(MODEL, variables, IMAGES, targets=np.zeros(5), shown=2)
