"""What the figures of prototypes draw is read back and compared with the Datasets and pictures that they were given."""

import matplotlib

matplotlib.use("Agg")

import re

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_explanations import made_explanations
from matplotlib.colors import to_hex

from saliency_jax import plotting
from saliency_jax.plotting.prototype_pictures import overlay, picture
from saliency_jax.prototypes.upsampling import upsampled

SHAPE = (12, 10)
NAMES = ("wren", "red_kite", "owl")
CLASSES = np.array([0, 0, 1, 1, 2])


def random_boxes(random, *shape):
    top, left = random.integers(0, 6, size=shape), random.integers(0, 5, size=shape)
    return np.stack([top, top + random.integers(1, 7, size=shape), left, left + random.integers(1, 6, size=shape)], -1)


@pytest.fixture
def patches():
    random = np.random.default_rng(0)
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    image = np.array([[0, 3, 6], [3, 0, 6], [1, 4, 0], [4, 1, 2], [2, 5, 1]])
    return plotting.prototype_patches(
        CLASSES,
        image[:, 0],
        random_boxes(random, 5),
        image,
        random_boxes(random, 5, 3),
        np.sort(random.uniform(size=(5, 3)), axis=1),
        labels,
        shape=SHAPE,
    )


@pytest.fixture
def explained():
    random = np.random.default_rng(1)
    boxes = random_boxes(random, 2, 3)
    return made_explanations(random, CLASSES, boxes=boxes, map_side=4, shape=SHAPE, target=np.array([2, 1]))


@pytest.fixture
def shown():
    return np.random.default_rng(2).uniform(size=(2, *SHAPE, 3))


@pytest.fixture
def training():
    return np.random.default_rng(3).uniform(size=(7, *SHAPE, 1))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts(figure):
    return [text.get_text() for text in figure.texts]


def corners(rectangle):
    """top, bottom, left, right of a drawn box, where a pixel's picture reaches from -1/2 to 1/2 around its number."""
    x, y = rectangle.get_xy()
    return [y + 0.5, y + 0.5 + rectangle.get_height(), x + 0.5, x + 0.5 + rectangle.get_width()]


def test_points_and_others_that_are_written_sum_to_the_logit(explained, patches, shown, training):
    figure = plotting.points_table(explained, patches, shown, training, class_names=NAMES, image=1)
    numbers = [float(t.replace("= ", "")) for t in texts(figure) if re.fullmatch(r"= -?\d+\.\d+", t)]
    [others] = [float(t.replace(" ", "")) for t in texts(figure) if re.fullmatch(r"[+-] \d+\.\d+", t)]
    assert len(numbers) == 4
    assert sum(numbers[:3]) + others == pytest.approx(numbers[3], abs=0.003)
    assert numbers[3] == pytest.approx(float(explained.logit[1]), abs=0.0005)


def test_points_of_rows_left_out_go_to_the_others(explained, patches, shown, training):
    figure = plotting.points_table(explained, patches, shown, training, class_names=NAMES, rows=1)
    [others] = [float(t.replace(" ", "")) for t in texts(figure) if re.fullmatch(r"[+-] \d+\.\d+", t)]
    assert others == pytest.approx(float(explained.logit[0] - explained.points[0, 0]), abs=0.0006)
    assert "all 4 other prototypes" in texts(figure)


def test_each_row_multiplies_similarity_and_weight(explained, patches, shown, training):
    figure = plotting.points_table(explained, patches, shown, training, class_names=NAMES)
    one = explained.isel(image=0)
    for row in range(3):
        assert f"{one.similarity[row]:.3f}" in texts(figure)
        assert f"\N{MULTIPLICATION SIGN} {one.weight[row]:.3f}" in texts(figure)
        assert f"= {one.points[row]:.3f}" in texts(figure)


def test_a_row_shows_image_prototype_training_image_and_map_with_their_boxes(explained, patches, shown, training):
    figure = plotting.points_table(explained, patches, shown, training, class_names=NAMES, image=1)
    here = explained.isel(image=1, rank=2)
    origin = patches.isel(prototype=int(here.prototype))
    image, prototype, source, similarities = figure.axes[8:12]
    top, bottom, left, right = origin.source_box.values
    whole = training[int(origin.source)]
    np.testing.assert_array_equal(image.images[0].get_array(), shown[1])
    np.testing.assert_array_equal(source.images[0].get_array()[..., :1], whole)
    np.testing.assert_array_equal(prototype.images[0].get_array()[..., :1], whole[top:bottom, left:right])
    assert corners(image.patches[0]) == corners(similarities.patches[0]) == here.box.values.tolist()
    assert corners(source.patches[0]) == origin.source_box.values.tolist()
    assert not prototype.patches


def test_the_title_says_what_was_predicted_and_what_it_is(explained, patches, shown, training):
    figure = plotting.points_table(explained, patches, shown, training, class_names=NAMES, image=1, true_class=0)
    predicted = ("wren", "red kite", "owl")[int(explained.logits.values[1].argmax())]
    assert "Evidence for class red kite" in texts(figure)
    assert f"predicted: {predicted};  true class: wren" in texts(figure)


def test_pictures_may_be_a_mapping_of_those_that_are_needed(explained, patches, shown, training):
    used = np.unique(patches.source.values[explained.prototype.values[0]])
    some = {int(i): training[i] for i in used}
    plotting.points_table(explained, patches, {0: shown[0]}, some, class_names=NAMES)
    del some[int(used[0])]
    with pytest.raises(ValueError, match=f"training_pictures must have picture {used[0]}"):
        plotting.points_table(explained, patches, {0: shown[0]}, some, class_names=NAMES)


def test_a_map_is_dark_violet_at_its_lowest_and_yellow_at_its_highest_pixel():
    similarities = np.random.default_rng(4).normal(size=(3, 3)).astype("float32")
    drawn = overlay(np.zeros((9, 9, 3)), similarities)
    enlarged = np.asarray(upsampled(jnp.asarray(similarities), (9, 9))).ravel()
    # The ends of viridis, by their published values, over black.
    for place, colour in ((enlarged.argmin(), (0.267, 0.005, 0.329)), (enlarged.argmax(), (0.993, 0.906, 0.144))):
        np.testing.assert_allclose(drawn.reshape(-1, 3)[place], 0.65 * np.array(colour), atol=1e-3)


def test_a_constant_map_is_the_lowest_colour_throughout():
    """Enlarged in float32 it is uneven by a rounding error, which must not be stretched over all colours."""
    drawn = overlay(np.zeros((6, 6, 3)), np.full((2, 2), 3.0, "float32"))
    assert np.ptp(drawn, axis=(0, 1)).max() == 0
    np.testing.assert_allclose(drawn[0, 0], 0.65 * np.array([0.267, 0.005, 0.329]), atol=1e-3)


def test_a_map_leaves_nothing_of_the_colours_of_the_picture():
    whole = np.random.default_rng(5).uniform(size=(6, 6, 3))
    similarities = np.eye(2, dtype="float32")
    grey = np.broadcast_to((whole @ [0.299, 0.587, 0.114])[..., None], whole.shape)
    np.testing.assert_allclose(overlay(whole, similarities), overlay(grey, similarities), atol=1e-7)


def dashed(axes):
    return [patch for patch in axes.patches if patch.get_linestyle() == "--"]


def test_a_gallery_draws_every_prototype_and_its_nearest_images(patches, training):
    [axes] = plotting.prototype_gallery(patches, training, class_names=NAMES).axes
    assert len(axes.images) == 5 * 4
    drawn = iter(axes.images)
    for number in range(5):
        top, bottom, left, right = patches.source_box.values[number]
        whole = training[int(patches.source[number])]
        np.testing.assert_array_equal(next(drawn).get_array()[..., :1], whole[top:bottom, left:right])
        for k in range(3):
            np.testing.assert_array_equal(next(drawn).get_array()[..., :1], training[int(patches.image[number, k])])


def test_a_gallery_marks_exactly_the_images_of_other_classes_and_names_them(patches, training):
    [axes] = plotting.prototype_gallery(patches, training, class_names=NAMES).axes
    wrong = patches.image_class.values[patches.image_class.values != patches.prototype_class.values[:, None]]
    assert len(wrong) == 3
    assert len(dashed(axes)) == 3
    named = [t.get_text() for t in axes.texts if to_hex(t.get_color()) == plotting.COLOURS[1].lower()]
    assert named == [f"of class {('wren', 'red kite', 'owl')[c]}" for c in wrong]


def test_boxes_of_a_gallery_lie_where_the_patch_is(patches, training):
    [axes] = plotting.prototype_gallery(patches, training, class_names=NAMES, prototypes=[2]).axes
    boxes = [patch for patch in axes.patches if patch.get_linestyle() != "--"]
    for k, (image, box) in enumerate(zip(axes.images[1:], boxes, strict=True)):
        left, right, bottom, top = image.get_extent()
        scale = (right - left) / SHAPE[1]
        assert (bottom - top) / SHAPE[0] == pytest.approx(scale)
        x, y = box.get_xy()
        found = np.array([y - top, y - top + box.get_height(), x - left, x - left + box.get_width()]) / scale
        np.testing.assert_allclose(found, patches.box.values[2, k], atol=1e-9)


def test_a_gallery_of_a_selection_has_those_alone(patches, training):
    [axes] = plotting.prototype_gallery(patches, training, class_names=NAMES, prototypes=[4, 2]).axes
    labels = [t.get_text() for t in axes.texts if re.match(r"prototype \d", t.get_text())]
    assert labels == ["prototype 4\nof class owl", "prototype 2\nof class red\nkite"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": 2}, "image must be one of the 2"),
        ({"image": -1}, "image must be one of the 2"),
        ({"rows": 4}, "rows must be between 1 and the 3"),
        ({"rows": 0}, "rows must be between 1 and the 3"),
        ({"true_class": 3}, "true_class must be one of the 3"),
        ({"class_names": ("wren", "kite")}, "class_names must name all 3"),
        ({"pictures": np.full((2, *SHAPE, 3), 2.0)}, r"pictures must be floating point in \[0, 1\]"),
        ({"pictures": np.full((2, *SHAPE, 3), np.nan)}, r"pictures must be floating point in \[0, 1\]"),
        ({"pictures": np.full((2, *SHAPE, 3), 1, np.uint8)}, "pictures must be floating point"),
        ({"pictures": np.zeros((2, 12, 12, 3))}, r"pictures must be .* of \(12, 10\) pixels, got \(12, 12, 3\)"),
        ({"pictures": np.zeros((2, *SHAPE, 2))}, "1 or 3 channels"),
        ({"pictures": np.zeros((0, *SHAPE, 3))}, "pictures must have picture 0"),
    ],
)
def test_a_table_says_what_is_wrong_with_its_input(explained, patches, shown, training, change, message):
    given = {"pictures": shown, "class_names": NAMES, **change}
    with pytest.raises(ValueError, match=message):
        plotting.points_table(explained, patches, given.pop("pictures"), training, **given)


def test_datasets_of_two_networks_are_refused(explained, patches, shown, training):
    other = patches.assign(prototype_class=("prototype", CLASSES[::-1].copy()))
    with pytest.raises(ValueError, match="of one network"):
        plotting.points_table(explained, other, shown, training, class_names=NAMES)
    with pytest.raises(ValueError, match="speak of the 2 prototypes"):
        plotting.points_table(explained, patches.isel(prototype=[0, 1]), shown, training, class_names=NAMES)
    with pytest.raises(ValueError, match=r"explained must have the variables .* lacks \['points'\]"):
        plotting.points_table(explained.drop_vars("points"), patches, shown, training, class_names=NAMES)


@pytest.mark.parametrize("prototypes", [[], [5], [-1, 2]])
def test_a_gallery_of_prototypes_that_are_not_there_is_refused(patches, training, prototypes):
    with pytest.raises(ValueError, match="prototypes must be some of the 5"):
        plotting.prototype_gallery(patches, training, class_names=NAMES, prototypes=prototypes)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (1, np.array([0, 1, 2]), r"source must have shape \(2,\)"),
        (1, np.array([0, 3]), "source must be among the 3 labelled images, got 0 to 3"),
        (2, np.array([[0, 2, 0, 2], [2, 2, 0, 1]]), r"source_box must be top < bottom .* found \[2, 2, 0, 1\]"),
        (3, np.array([[0], [-1]]), "image must be among the 3"),
        (4, np.array([[[0, 2, 0, 2]], [[0, 13, 0, 1]]]), r"box must be .* within \(12, 10\) pixels"),
        (5, np.zeros((2, 2)), r"distance must have shape \(2, 1\)"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_patches_say_what_does_not_fit(place, value, message):
    boxes = np.array([[0, 2, 0, 2], [1, 2, 0, 1]])
    given = [np.array([0, 1]), np.array([0, 1]), boxes, np.array([[0], [1]]), boxes[:, None], np.zeros((2, 1))]
    given[place] = value
    with pytest.raises(ValueError, match=message):
        plotting.prototype_patches(*given, np.array([0, 1, 1]), shape=SHAPE)


def test_a_grey_picture_is_shown_in_equal_channels(patches, training):
    shown = picture(training, 3, patches, "training_pictures")
    np.testing.assert_array_equal(shown, np.repeat(training[3], 3, axis=-1))
